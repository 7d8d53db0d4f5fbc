package workload

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// shareGPTFile writes a file of about size bytes, of conversations as long as
// those of ShareGPT: some turns of some hundred bytes to some kilobytes, with
// quotes, line ends and other scripts.
func shareGPTFile(tb testing.TB, size int) string {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "ShareGPT.json")
	f, err := os.Create(path)
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	w := bufio.NewWriterSize(f, 1<<20)
	words := strings.Fields("the quick \"brown\" fox jumps\n over für größere 日本語 {x[i]} \\alpha lazy dogs, again and again")
	r := newMersenne(1)
	turn := func(from string) map[string]string {
		var s strings.Builder
		fmt.Fprint(&s, r.word(), " ")
		for range 5 + r.below(200)*r.below(4) {
			s.WriteString(words[r.below(uint32(len(words)))])
			s.WriteByte(" \n"[r.below(20)/19])
		}
		return map[string]string{"from": from, "value": s.String()}
	}
	for n, i := 0, 0; n < size; i++ {
		turns := []map[string]string{}
		for range 1 + r.below(3) {
			turns = append(turns, turn("human"), turn("gpt"))
		}
		b, err := json.Marshal(map[string]any{"id": fmt.Sprintf("e%d", i), "conversations": turns})
		if err != nil {
			tb.Fatal(err)
		}
		n += len(b) + 1
		w.WriteByte(",["[map[bool]int{true: 1}[i == 0]])
		w.Write(b)
	}
	w.WriteString("]\n")
	if err := w.Flush(); err != nil {
		tb.Fatal(err)
	}
	return path
}

// peak is the most memory that the process has had at a time, in MB; 0 where
// the system does not tell.
func peak() float64 {
	status, _ := os.ReadFile("/proc/self/status")
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	kb, _ := strconv.ParseFloat(strings.Fields(rest + " 0")[0], 64)
	return kb * 1024 / 1e6 // the kernel's kB are of 1024 bytes
}

// BenchmarkShareGPT200MB opens a file of 200 MB and draws the prompts of a
// point, and of one that needs them all. It must take less than 5 s and
// 500 MB. Peak memory is that of the process, the making of the file counted.
func BenchmarkShareGPT200MB(b *testing.B) {
	path := shareGPTFile(b, 200e6)
	var open, draw, all time.Duration
	for b.Loop() {
		start := time.Now()
		s, err := Open(Dataset{Kind: ShareGPT, Path: path})
		if err != nil {
			b.Fatal(err)
		}
		open = time.Since(start)
		for _, c := range []struct {
			n  int
			in *time.Duration
		}{{300, &draw}, {1_000_000, &all}} {
			start = time.Now()
			if _, err := s.Draw(context.Background(), c.n, 0, 0, nil); err != nil {
				b.Fatal(err)
			}
			*c.in = time.Since(start)
		}
	}
	b.ReportMetric(open.Seconds(), "s-open")
	b.ReportMetric(draw.Seconds(), "s-draw-300")
	b.ReportMetric(all.Seconds(), "s-draw-1000000")
	b.ReportMetric(peak(), "MB-peak")
}
