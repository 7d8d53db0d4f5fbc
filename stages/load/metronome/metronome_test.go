package metronome

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestMain makes this test binary a child of itself.
func TestMain(m *testing.M) {
	if os.Getenv("METRONOME_CHILD") != "" {
		if err := RunChild(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// servers are what must behave alike.
var servers = map[string]func(net.Listener, Config) (server, error){"here": serve, "plain": servePlain}

// each runs a test with every server.
func each(t *testing.T, c Config, test func(t *testing.T, s *Server)) {
	for name, kind := range servers {
		t.Run(name, func(t *testing.T) {
			s, err := start(c, kind)
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			}()
			test(t, s)
		})
	}
}

// answer is what a plain client makes of a stream.
type answer struct {
	texts  int
	finish []string
	usage  int // completion_tokens
	done   bool
	chat   bool
}

func ask(t *testing.T, c *http.Client, url, id, body string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Request-Id", id)
	resp, err := c.Do(req)
	if err != nil {
		t.Error(err)
		return answer{}
	}
	defer resp.Body.Close()
	if ct := resp.Header.Get("Content-Type"); resp.StatusCode != 200 || !strings.HasPrefix(ct, "text/event-stream") {
		t.Errorf("status %d, content type %q", resp.StatusCode, ct)
	}
	var a answer
	lines := bufio.NewScanner(resp.Body)
	for lines.Scan() {
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok {
			continue
		}
		if data == "[DONE]" {
			a.done = true
			continue
		}
		var e struct {
			Choices []struct {
				Text   string
				Delta  struct{ Content string }
				Finish string `json:"finish_reason"`
			}
			Usage *struct {
				Completion int `json:"completion_tokens"`
			}
		}
		if err := json.Unmarshal([]byte(data), &e); err != nil {
			t.Errorf("event %q: %v", data, err)
		}
		for _, c := range e.Choices {
			if c.Text != "" {
				a.texts++
			}
			if c.Delta.Content != "" {
				a.texts++
				a.chat = true
			}
			if c.Finish != "" {
				a.finish = append(a.finish, c.Finish)
			}
		}
		if e.Usage != nil {
			if len(e.Choices) > 0 {
				t.Errorf("usage came with choices: %s", data)
			}
			a.usage = e.Usage.Completion
		}
	}
	if err := lines.Err(); err != nil {
		t.Error(err)
	}
	return a
}

func TestAnswersAreWhatAClientExpects(t *testing.T) {
	for _, pace := range []Pace{
		{Tokens: 1, Events: 1},
		{Tokens: 1, Events: 16},
		{Tokens: 2, Events: 1, Gap: time.Millisecond},
		{Tokens: 16, Events: 16},
		{Tokens: 17, Events: 16, First: time.Millisecond},
		{Tokens: 40, Events: 16, First: time.Millisecond, Gap: 2 * time.Millisecond, Aligned: true},
	} {
		t.Run(fmt.Sprintf("%d by %d", pace.Tokens, pace.Events), func(t *testing.T) {
			each(t, Config{Pace: pace, Requests: 8, Instants: 1000}, func(t *testing.T, s *Server) {
				client := &http.Client{Transport: &http.Transport{}}
				defer client.CloseIdleConnections()
				for i, path := range []string{"/v1/completions", "/v1/chat/completions", "/v1/completions"} {
					a := ask(t, client, s.URL()+path, fmt.Sprint("r", i), strings.Repeat("x", 5000*i))
					if a.texts != pace.Tokens || a.usage != pace.Tokens || !a.done || !slices.Equal(a.finish, []string{"length"}) || a.chat != (i == 1) {
						t.Errorf("request %d: %+v", i, a)
					}
				}
				records := s.Records()
				if len(records) != 3 {
					t.Fatalf("%d records", len(records))
				}
				for i, r := range records {
					check(t, pace, r)
					if r.ID != fmt.Sprint("r", i) {
						t.Errorf("record %d is of %q", i, r.ID)
					}
				}
			})
		})
	}
}

// check holds a record against the arithmetic of its pace. Nothing here is
// about how late a machine may be.
func check(t *testing.T, p Pace, r Record) {
	t.Helper()
	segments := (p.Tokens + p.Events - 1) / p.Events
	if len(r.Written) != segments || r.First != r.Written[0] || r.Last != r.Written[segments-1] {
		t.Fatalf("%d segments: %+v", segments, r)
	}
	if r.Due < r.Arrived+int64(p.First) {
		t.Errorf("due %v after it arrived, first token after %v", time.Duration(r.Due-r.Arrived), p.First)
	}
	if p.Aligned && r.Due%int64(p.Gap) != 0 {
		t.Errorf("due at %d, which is no beat of %v", r.Due, p.Gap)
	}
	if p.Aligned && r.Due >= r.Arrived+int64(p.First+p.Gap) {
		t.Errorf("due a beat too late: %v after it arrived", time.Duration(r.Due-r.Arrived))
	}
	late := int64(0)
	for i, at := range r.Written {
		due := r.Due + int64(i)*int64(p.Gap)
		if at < due {
			t.Errorf("segment %d was written %v early", i, time.Duration(due-at))
		}
		if p.Gap > 0 || i == 0 {
			late = max(late, at-due)
		}
	}
	if r.Late != late {
		t.Errorf("late by %d, says %d", late, r.Late)
	}
	if want := time.Duration(r.Written[0] - r.Arrived); r.TTFT() != want {
		t.Errorf("TTFT %v, want %v", r.TTFT(), want)
	}
}

// Many at once, each on its own clock: every answer has all its tokens.
func TestManyStreams(t *testing.T) {
	const n = 200
	pace := Pace{First: 3 * time.Millisecond, Gap: 2 * time.Millisecond, Tokens: 20, Events: 1}
	each(t, Config{Pace: pace, Requests: n, Instants: n * 20}, func(t *testing.T, s *Server) {
		client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: n}}
		defer client.CloseIdleConnections()
		for range 2 { // the second time on kept connections
			if err := s.Reset(pace); err != nil {
				t.Fatal(err)
			}
			var streams sync.WaitGroup
			for i := range n {
				streams.Go(func() {
					if a := ask(t, client, s.URL()+"/v1/completions", fmt.Sprint(i), "{}"); a.texts != 20 || !a.done {
						t.Errorf("request %d: %+v", i, a)
					}
				})
			}
			streams.Wait()
			records := s.Records()
			seen := map[string]bool{}
			for _, r := range records {
				check(t, pace, r)
				seen[r.ID] = true
			}
			if len(seen) != n || len(records) != n {
				t.Errorf("%d records of %d requests", len(records), len(seen))
			}
		}
	})
}

// A client that reads late gets everything, byte for byte: the server waits
// for room.
func TestASlowReaderLosesNothing(t *testing.T) {
	pace := Pace{Tokens: 100_000, Events: 16} // some 24 MB, more than buffers hold
	each(t, Config{Pace: pace, Requests: 1}, func(t *testing.T, s *Server) {
		conn, err := net.Dial("tcp", strings.TrimPrefix(s.URL(), "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		// Ends of a connection on one machine hold some megabytes; this one
		// less, so that the server must wait for its reader again and again.
		if err := conn.(*net.TCPConn).SetReadBuffer(256 << 10); err != nil {
			t.Fatal(err)
		}
		io.WriteString(conn, "POST /v1/completions HTTP/1.1\r\nHost: x\r\nX-Request-Id: slow\r\nContent-Length: 2\r\n\r\n{}")
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		if n := bytes.Count(body, []byte(`" tick"`)); n != pace.Tokens {
			t.Errorf("%d tokens", n)
		}
		if !bytes.HasSuffix(body, []byte("data: [DONE]\n\n")) {
			t.Errorf("ends with %q", body[len(body)-40:])
		}
		if r := s.Records()[0]; r.Last == 0 || r.Written != nil || r.Late > int64(time.Minute) {
			t.Errorf("%+v", r)
		}
	})
}

// A client that goes away in the middle harms nobody.
func TestAClientThatGoes(t *testing.T) {
	pace := Pace{Gap: time.Millisecond, Tokens: 30, Events: 1}
	each(t, Config{Pace: pace, Requests: 1}, func(t *testing.T, s *Server) {
		for range 5 {
			conn, err := net.Dial("tcp", strings.TrimPrefix(s.URL(), "http://"))
			if err != nil {
				t.Fatal(err)
			}
			io.WriteString(conn, "POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}")
			conn.Read(make([]byte, 10))
			conn.Close()
		}
		if a := ask(t, http.DefaultClient, s.URL()+"/v1/completions", "last", "{}"); a.texts != 30 || !a.done {
			t.Errorf("%+v", a)
		}
		http.DefaultClient.CloseIdleConnections()
	})
}

func TestOtherRequests(t *testing.T) {
	each(t, Config{Pace: Pace{Tokens: 1, Events: 1}}, func(t *testing.T, s *Server) {
		resp, err := http.Get(s.URL() + "/v1/models")
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != 404 {
			t.Errorf("status %d", resp.StatusCode)
		}
		for _, junk := range []string{
			"POST /v1/completions HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
			"POST /v1/completions HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n",
			"POST /v1/completions HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
			"GET /\r\n\r\n", "\r\n\r\n", strings.Repeat("x", 200<<10),
		} {
			conn, err := net.Dial("tcp", strings.TrimPrefix(s.URL(), "http://"))
			if err != nil {
				t.Fatal(err)
			}
			io.WriteString(conn, junk)
			if n, _ := io.Copy(io.Discard, conn); n != 0 {
				t.Errorf("%.40q was answered with %d bytes", junk, n)
			}
			conn.Close()
		}
		http.DefaultClient.CloseIdleConnections()
	})
}

func TestPacesThatAreNone(t *testing.T) {
	for _, p := range []Pace{
		{},
		{Tokens: 1},
		{Events: 1},
		{Tokens: -1, Events: 1},
		{Tokens: 1, Events: 1, First: -1},
		{Tokens: 1, Events: 1, Gap: -1},
		{Tokens: 1, Events: 1, Aligned: true},
	} {
		if s, err := Start(Config{Pace: p}); err == nil {
			s.Close()
			t.Errorf("%+v was accepted", p)
		}
	}
}

func TestChild(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), "METRONOME_CHILD=1")
	cmd.Stderr = t.Output()
	pace := Pace{Gap: time.Millisecond, Tokens: 3, Events: 1}
	core := 0
	if cores := Cores(); len(cores) > 0 {
		core = cores[len(cores)-1]
	}
	c, err := StartChild(cmd, Config{Pace: pace, Requests: 2, Instants: 6, Core: core})
	if err != nil {
		t.Fatal(err)
	}
	for round, p := range []Pace{pace, {Tokens: 2, Events: 1}} {
		if err := c.Reset(p); err != nil {
			t.Fatal(err)
		}
		ask(t, http.DefaultClient, c.URL()+"/v1/completions", "a", "{}")
		records, err := c.Records()
		if err != nil || len(records) != 1 {
			t.Fatalf("round %d: %d records, %v", round, len(records), err)
		}
		check(t, p, records[0])
	}
	if cpu, err := c.CPU(); err != nil || cpu <= 0 {
		t.Errorf("CPU %v, %v", cpu, err)
	}
	if err := c.Reset(Pace{}); err == nil {
		t.Error("a pace that is none was accepted")
	}
	http.DefaultClient.CloseIdleConnections()
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

func TestAChildThatIsNone(t *testing.T) {
	if _, err := exec.LookPath("true"); err != nil {
		t.Skip("there is no program true to stand for a child that answers nothing")
	}
	if _, err := StartChild(exec.Command("true"), Config{Pace: Pace{Tokens: 1, Events: 1}}); err == nil {
		t.Error("true was taken for a metronome")
	}
}
