package proxy

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
)

// lines is a writer that the proxy logs to while the test reads it.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// A proxy that is stopped in mid-stream breaks the stream off, cancels the
// leg, and has nothing running when Serve returns.
func TestServeStops(t *testing.T) {
	legEnded := make(chan struct{})
	f := &fakes{t: t}
	o := Options{
		Prefill: []string{f.start("prefill", says(200, `{}`))},
		Decode: []string{f.start("decode", func(w http.ResponseWriter, r *http.Request, _ string) {
			io.WriteString(w, "data: 1\n\n")
			w.(http.Flusher).Flush()
			<-r.Context().Done()
			close(legEnded)
		})},
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var out lines
	served := make(chan error, 1)
	go func() { served <- Serve(ctx, o, ln, &out) }()

	resp, err := http.Post("http://"+ln.Addr().String()+"/v1/completions", "application/json", strings.NewReader(`{"stream":true}`))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	first := make([]byte, len("data: 1\n\n"))
	if _, err := io.ReadFull(resp.Body, first); err != nil {
		t.Fatal(err)
	}
	stop()
	if rest, err := io.ReadAll(resp.Body); err == nil {
		t.Errorf("the stream ended cleanly, with %q", rest)
	}
	<-legEnded
	if err := <-served; err != nil {
		t.Errorf("Serve returns %v", err)
	}
	if _, err := net.Dial("tcp", ln.Addr().String()); err == nil {
		t.Error("the port is still open")
	}
	for _, want := range []string{
		"proxy listens on http://" + ln.Addr().String() + ", connector nixl, prefill-0 " + o.Prefill[0] + ", decode-0 ",
		"without kv_transfer_params",
		"1 requests, 1 fell back to local prefill, 0 prefill errors, 0 decode errors, 1 cancelled",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("log lacks %q:\n%s", want, out.String())
		}
	}
}

func TestServePortTaken(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	o := Options{Port: ln.Addr().(*net.TCPAddr).Port, Prefill: []string{"http://a:1"}, Decode: []string{"http://b:1"}}
	err = Serve(t.Context(), o, nil, io.Discard)
	if err == nil || !strings.Contains(err.Error(), ln.Addr().String()) || !strings.Contains(err.Error(), "--port") {
		t.Errorf("error is %v", err)
	}
}
