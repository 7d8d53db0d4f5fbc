package answer

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// scan feeds the pieces one after the other and lists the events.
func scan(pieces ...[]byte) []string {
	var s scanner
	var out []string
	for _, p := range pieces {
		b := bytes.Clone(p) // data must not be needed once the next piece is read
		for {
			data, rest, ok := s.next(b)
			if !ok {
				break
			}
			event := string(data)
			if s.isError {
				event = "error:" + event
			}
			out = append(out, event)
			b = rest
		}
		clear(p)
	}
	return out
}

func TestScannerCutAnywhere(t *testing.T) {
	for name, c := range map[string]struct {
		stream string
		want   []string
	}{
		"plain":            {"data: a\n\ndata: b\n\n", []string{"a", "b"}},
		"no space":         {"data:a\n\n", []string{"a"}},
		"one space only":   {"data:  a\n\n", []string{" a"}},
		"crlf":             {"data: a\r\n\r\ndata: b\r\n\r\n", []string{"a", "b"}},
		"mixed ends":       {"data: a\r\n\ndata: b\n\r\n", []string{"a", "b"}},
		"several lines":    {"data: a\ndata: b\ndata:\ndata: c\n\n", []string{"a\nb\n\nc"}},
		"comments":         {": ping\n\ndata: a\n: in between\ndata: b\n\n:\n\n", []string{"a\nb"}},
		"other fields":     {"id: 1\nretry: 5\nevent: delta\ndata: a\n\nid: 2\n\n", []string{"a"}},
		"field alone":      {"data\n\ndatum: x\n\n", []string{""}},
		"named error":      {"event: error\ndata: a\n\ndata: b\n\nevent: error\n\ndata: c\n\n", []string{"error:a", "b", "error:", "c"}},
		"error in comment": {": ping\n\nevent: error\n: broken\n: pipe\n\n: x\ndata: a\n\nevent: error\n\n", []string{"error:broken", "a", "error:"}},
		"JSON in a line":   {"data: a\n{\"error\": 1}\n\ndata: b\n\n", []string{"a", "b"}},
		"colons in data":   {"data: a: b\n\n", []string{"a: b"}},
		"many empty lines": {"\n\n\ndata: a\n\n\n\n", []string{"a"}},
		"end is missing":   {"data: a\n\ndata: b\n", []string{"a"}},
		"carriage inside":  {"data: a\rb\n\n", []string{"a\rb"}},
	} {
		t.Run(name, func(t *testing.T) {
			whole := []byte(c.stream)
			for i := range len(whole) + 1 {
				for j := i; j <= len(whole); j++ {
					if got := scan(bytes.Clone(whole[:i]), bytes.Clone(whole[i:j]), bytes.Clone(whole[j:])); !slices.Equal(got, c.want) {
						t.Fatalf("cut at %d and %d: got %q, want %q", i, j, got, c.want)
					}
				}
			}
		})
	}
}

func TestScannerBoundsWhatItKeeps(t *testing.T) {
	var s scanner
	piece := bytes.Repeat([]byte("x"), 1<<18)
	for i := range 20 {
		s.next(piece)
		if s.over {
			if i < 8 {
				t.Errorf("gave up after %d x 256 KiB", i+1)
			}
			return
		}
	}
	t.Error("5 MiB without a line end were kept")
}

// FuzzScanner holds the scanner, cut at two places, against a reading of the
// whole stream that splits lines with the standard library.
func FuzzScanner(f *testing.F) {
	f.Add([]byte("data: a\r\n\r\ndata: b\ndata: c\n\n: x\n\n"), uint(3), uint(9))
	f.Add([]byte("event: error\ndata:\n\n"), uint(0), uint(1))
	f.Fuzz(func(t *testing.T, stream []byte, i, j uint) {
		var want []string
		var data []string
		isError, comment := false, ""
		lines := strings.Split(string(stream), "\n")
		for _, line := range lines[:len(lines)-1] {
			line = strings.TrimSuffix(line, "\r")
			field, value, _ := strings.Cut(line, ":")
			value = strings.TrimPrefix(value, " ")
			switch {
			case line == "":
				event := strings.Join(data, "\n")
				if data == nil {
					event = comment
				}
				if isError {
					event = "error:" + event
				}
				if data != nil || isError {
					want = append(want, event)
				}
				data, isError, comment = nil, false, ""
			case line[0] == '{':
			case field == "data":
				data = append(data, value)
			case field == "event":
				isError = value == "error"
			case field == "" && comment == "":
				comment = value[:min(len(value), mostAside)]
			}
		}
		n := uint(len(stream)) + 1
		i, j = i%n, j%n
		if got := scan(bytes.Clone(stream[:min(i, j)]), bytes.Clone(stream[min(i, j):max(i, j)]), bytes.Clone(stream[max(i, j):])); !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

// BenchmarkAnswer is the cost of the hot path for an event, without network:
// events that come sixteen in a read, and one by one.
func BenchmarkAnswer(b *testing.B) {
	var events [][]byte
	for i := range 1024 {
		events = append(events, fmt.Appendf(nil, `data: {"id":"cmpl-6c1b0a6f","object":"text_completion","created":1760000000,"model":"Qwen/Qwen3-0.6B","choices":[{"index":0,"text":" word%d\n","logprobs":null,"finish_reason":null,"stop_reason":null}],"usage":null}`+"\n\n", i))
	}
	for _, batch := range []int{1, 16} {
		var reads [][]byte
		for group := range slices.Chunk(events, batch) {
			reads = append(reads, bytes.Join(group, nil))
		}
		b.Run(fmt.Sprintf("events_a_read=%d", batch), func(b *testing.B) {
			var a Answer
			b.ReportAllocs()
			n := 0
			for n < b.N {
				b.StopTimer()
				a.Start(0, len(events))
				b.StartTimer()
				for i, r := range reads {
					a.Feed(r, int64(i))
				}
				n += len(events)
			}
			b.ReportMetric(float64(n)/b.Elapsed().Seconds()/1e6, "Mevents/s")
		})
	}
}
