package proxy

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

const ask = `{"do_remote_decode":true,"do_remote_prefill":false,"remote_engine_id":null,"remote_block_ids":null,"remote_host":null,"remote_port":null}`

// The bodies of both legs, byte for byte. What the proxy does not edit leaves
// it as it came; what it sets stands at the end.
func TestLegBodies(t *testing.T) {
	tests := []struct {
		name, connector, path, answer string
		body, prefill, decode         string
	}{
		{
			name: "streamed completion", connector: NIXL, path: "/v1/completions", answer: prefillAnswer,
			body:    `{"model":"m", "prompt":[1,2,1152921504606846977],"max_tokens":64,"stream":true,"stream_options":{"include_usage":true},"min_tokens":8,"temperature":0.0,"vllm_new":{"a":[1e400]}}`,
			prefill: `{"model":"m","prompt":[1,2,1152921504606846977],"temperature":0.0,"vllm_new":{"a":[1e400]},"stream":false,"max_tokens":1,"kv_transfer_params":` + ask + `}`,
			decode:  `{"model":"m","prompt":[1,2,1152921504606846977],"max_tokens":64,"stream":true,"stream_options":{"include_usage":true},"min_tokens":8,"temperature":0.0,"vllm_new":{"a":[1e400]},"kv_transfer_params":` + opaque + `}`,
		},
		{
			name: "chat", connector: NIXL, path: "/v1/chat/completions", answer: prefillAnswer,
			body:    `{"messages":[{"role":"user","content":"a \"b\" \\ }] é \u00e9 <"}],"max_completion_tokens":64,"min_completion_tokens":2}`,
			prefill: `{"messages":[{"role":"user","content":"a \"b\" \\ }] é \u00e9 <"}],"stream":false,"max_tokens":1,"max_completion_tokens":1,"kv_transfer_params":` + ask + `}`,
			decode:  `{"messages":[{"role":"user","content":"a \"b\" \\ }] é \u00e9 <"}],"max_completion_tokens":64,"min_completion_tokens":2,"kv_transfer_params":` + opaque + `}`,
		},
		{
			name: "parameters of the client are replaced", connector: NIXL, path: "/v1/completions", answer: prefillAnswer,
			body:    `{"kv_transfer_params":{"mine":1},"prompt":"p"}`,
			prefill: `{"prompt":"p","stream":false,"max_tokens":1,"kv_transfer_params":` + ask + `}`,
			decode:  `{"prompt":"p","kv_transfer_params":` + opaque + `}`,
		},
		{
			name: "lmcache", connector: LMCache, path: "/v1/completions", answer: `not even JSON`,
			body:    ` {"prompt" : "p", "max_tokens":9,"stream_options":null} `,
			prefill: `{"prompt":"p","stream":false,"max_tokens":1}`,
			decode:  ` {"prompt" : "p", "max_tokens":9,"stream_options":null} `,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := &fakes{t: t}
			p, url := serve(t, Options{
				Connector: tt.connector,
				Prefill:   []string{f.start("prefill", says(200, tt.answer))},
				Decode:    []string{f.start("decode", says(200, `{"choices":[]}`))},
			})
			clock := time.Unix(1000, 0)
			p.now = func() time.Time { clock = clock.Add(1250 * time.Millisecond); return clock }
			resp, body := post(t, url+tt.path+"?x=1", tt.body, "X-Request-Id", "client-7", "Authorization", "Bearer k",
				"Connection", "X-Hop", "X-Hop", "1", "Te", "trailers", "X-Custom", "2")
			if resp.StatusCode != 200 || body != `{"choices":[]}` {
				t.Fatalf("answer %d %s", resp.StatusCode, body)
			}
			fallback := "0"
			if tt.connector == LMCache {
				fallback = ""
			}
			wantHeaders(t, resp.Header, HeaderPrefill, "prefill-0", HeaderDecode, "decode-0", HeaderFallback, fallback,
				HeaderPrefillTime, "1.250000", HeaderRequestID, "client-7", "Content-Type", "application/json")

			calls := f.seen()
			if got := f.order(); got != "prefill decode" {
				t.Fatalf("order of the legs is %q", got)
			}
			for i, want := range []string{tt.prefill, tt.decode} {
				if calls[i].body != want {
					t.Errorf("%s received\n%s\nwant\n%s", calls[i].instance, calls[i].body, want)
				}
				if calls[i].target != tt.path+"?x=1" || calls[i].method != "POST" {
					t.Errorf("%s received %s %s", calls[i].instance, calls[i].method, calls[i].target)
				}
				wantHeaders(t, calls[i].header, "X-Request-Id", "client-7", "Authorization", "Bearer k", "X-Custom", "2",
					"Content-Type", "application/json", "X-Hop", "", "Te", "", "Connection", "", "Content-Length", fmt.Sprint(len(want)))
			}
		})
	}
}

func TestRequestIDIsMade(t *testing.T) {
	f, _, url := one(t, says(200, prefillAnswer), says(200, `{}`))
	resp, _ := post(t, url+"/v1/completions", `{}`)
	wantHeaders(t, resp.Header, HeaderRequestID, "made-here")
	for _, c := range f.seen() {
		wantHeaders(t, c.header, HeaderRequestID, "made-here")
	}
	if a, b := randomID(), randomID(); a == b || len(a) != 32 {
		t.Errorf("made ids %q and %q", a, b)
	}
}

// A prefill that gives no parameters back leaves decode to do it: told in a
// header and counted.
func TestFallback(t *testing.T) {
	for _, answer := range []string{`{"choices":[]}`, `{"kv_transfer_params":null}`, `{"kv_transfer_params":{ }}`} {
		f, p, url := one(t, says(200, answer), says(200, `{"ok":1}`))
		const body = `{"prompt":"p", "stream":false}`
		resp, _ := post(t, url+"/v1/completions", body)
		wantHeaders(t, resp.Header, HeaderFallback, "1", HeaderDecode, "decode-0")
		if calls := f.seen(); calls[1].body != body {
			t.Errorf("decode received %s, want the client's bytes", calls[1].body)
		}
		post(t, url+"/v1/completions", `{"kv_transfer_params":{"do_remote_decode":true},"prompt":"p"}`)
		if calls := f.seen(); calls[3].body != `{"prompt":"p"}` {
			t.Errorf("decode received %s, with the client's own parameters", calls[3].body)
		}
		if c := p.Counts(); c.Fallbacks != 2 || c.Requests != 2 {
			t.Errorf("counts %+v", c)
		}
	}
}

// What goes wrong before decode has answered is a status.
func TestErrorsAreStatuses(t *testing.T) {
	closed := httptest.NewServer(nil)
	closed.Close()
	breaks := func(w http.ResponseWriter, _ *http.Request, _ string) { panic(http.ErrAbortHandler) }
	limited := func(w http.ResponseWriter, r *http.Request, body string) {
		w.Header().Set("Retry-After", "3")
		says(429, `{"error":{"message":"slow down"}}`)(w, r, body)
	}
	half := func(w http.ResponseWriter, _ *http.Request, _ string) {
		w.Header().Set("Content-Length", "100")
		io.WriteString(w, `{"a":`)
	}
	good := says(200, prefillAnswer)
	tests := []struct {
		name            string
		prefill, decode func(http.ResponseWriter, *http.Request, string) // nil: nobody listens
		status          int
		body            string // the answer holds this
		exact           bool   // the answer is this
		asked           string
		prefillErrors   int64
		decodeErrors    int64
	}{
		{"prefill refuses", nil, good, 502, "prefill-0 (http://127.0.0.1", false, "", 1, 0},
		{"prefill breaks", breaks, good, 502, "prefill-0", false, "prefill", 1, 0},
		{"prefill breaks in its answer", half, good, 502, "prefill-0", false, "prefill", 1, 0},
		{"prefill 500", says(500, `{"error":"boom"}`), good, 500, `{"error":"boom"}`, true, "prefill", 1, 0},
		{"prefill 429", limited, good, 429, `{"error":{"message":"slow down"}}`, true, "prefill", 1, 0},
		{"prefill redirects", says(302, ``), good, 502, "302 Found where 200 was due", false, "prefill", 1, 0},
		{"prefill is no JSON", says(200, `<html>`), good, 502, "not JSON", false, "prefill", 1, 0},
		{"decode refuses", good, nil, 502, "decode-0 (http://127.0.0.1", false, "prefill", 0, 1},
		{"decode breaks", good, breaks, 502, "decode-0", false, "prefill decode", 0, 1},
		{"decode 500", good, says(500, `{"error":"later"}`), 500, `{"error":"later"}`, true, "prefill decode", 0, 1},
		{"decode 400", good, says(400, `{"error":"too long"}`), 400, `{"error":"too long"}`, true, "prefill decode", 0, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := &fakes{t: t}
			o := Options{Prefill: []string{closed.URL}, Decode: []string{closed.URL}}
			if tt.prefill != nil {
				o.Prefill[0] = f.start("prefill", tt.prefill)
			}
			if tt.decode != nil {
				o.Decode[0] = f.start("decode", tt.decode)
			}
			p, url := serve(t, o)
			resp, body := post(t, url+"/v1/completions", `{"stream":true}`, "X-Request-Id", "r1")
			if resp.StatusCode != tt.status || !strings.Contains(body, tt.body) || tt.exact && body != tt.body {
				t.Errorf("answer %d %s, want %d %s", resp.StatusCode, body, tt.status, tt.body)
			}
			if !strings.Contains(body, `"error"`) || resp.Header.Get("Content-Type") != "application/json" {
				t.Errorf("the answer is no OpenAI error: %s", body)
			}
			if tt.name == "prefill 429" {
				wantHeaders(t, resp.Header, "Retry-After", "3")
			}
			decode := ""
			if tt.decodeErrors > 0 {
				decode = "decode-0"
			}
			wantHeaders(t, resp.Header, HeaderRequestID, "r1", HeaderPrefill, "prefill-0", HeaderDecode, decode)
			if got := f.order(); got != tt.asked {
				t.Errorf("asked %q, want %q", got, tt.asked)
			}
			if c := p.Counts(); c.PrefillErrors != tt.prefillErrors || c.DecodeErrors != tt.decodeErrors || c.Requests != 1 {
				t.Errorf("counts %+v", c)
			}
		})
	}
}

func TestPrefillTimeout(t *testing.T) {
	f := &fakes{t: t}
	_, url := serve(t, Options{
		Prefill:        []string{f.start("prefill", func(_ http.ResponseWriter, r *http.Request, _ string) { <-r.Context().Done() })},
		Decode:         []string{f.start("decode", says(200, `{}`))},
		PrefillTimeout: 10 * time.Millisecond,
	})
	resp, body := post(t, url+"/v1/completions", `{}`)
	if resp.StatusCode != 504 || !strings.Contains(body, "prefill-0") {
		t.Errorf("answer %d %s", resp.StatusCode, body)
	}
}

func TestBadBodies(t *testing.T) {
	f, p, url := one(t, says(200, prefillAnswer), says(200, `{}`))
	for body, want := range map[string]string{
		``:            "not JSON",
		`{"a":1`:      "not JSON",
		`{"a":1} x`:   "not JSON",
		`[{"a":1}]`:   "not a JSON object",
		`{"a":1,}`:    "byte 8 of 8",
		`{"a":NaN}`:   "not JSON",
		"{\"a\":\x00": "not JSON",
	} {
		resp, got := post(t, url+"/v1/completions", body)
		if resp.StatusCode != 400 || !strings.Contains(got, want) {
			t.Errorf("%q: %d %s, want 400 and %q", body, resp.StatusCode, got, want)
		}
	}
	if resp, got := post(t, url+"/v1/completions", "x", "Content-Encoding", "gzip"); resp.StatusCode != 415 {
		t.Errorf("gzip: %d %s", resp.StatusCode, got)
	}
	if c := p.Counts(); c.Rejected != 8 {
		t.Errorf("counts %+v", c)
	}
	if got := f.order(); got != "" {
		t.Errorf("asked %q", got)
	}
}

// A body over 64 MiB is refused: by its declared length without reading it,
// and by its real length where none is declared.
func TestHugeBody(t *testing.T) {
	p, url := serve(t, Options{Prefill: []string{"http://127.0.0.1:9"}, Decode: []string{"http://127.0.0.1:9"}})
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", 64<<20+1)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != 413 {
		t.Errorf("declared: %d", resp.StatusCode)
	}
	p.maxBody = 1000
	req, _ := http.NewRequest(http.MethodPost, url+"/tokenize", io.MultiReader(strings.NewReader(strings.Repeat(" ", 1001))))
	if resp, body := do(t, req); resp.StatusCode != 413 || !strings.Contains(body, "1000 bytes") {
		t.Errorf("chunked: %d %s", resp.StatusCode, body)
	}
}

// Each piece of a stream is at the client before decode sends the next: decode
// waits for the test to have read it. The status waits for the first piece.
func TestStreamIsNotBuffered(t *testing.T) {
	next := make(chan struct{}, 1)
	next <- struct{}{}
	_, _, url := one(t, says(200, prefillAnswer), func(w http.ResponseWriter, _ *http.Request, _ string) {
		w.Header().Set("Content-Type", "text/event-stream")
		w.(http.Flusher).Flush() // the status alone
		for i := range 3 {
			<-next
			fmt.Fprintf(w, "data: %d\n\n", i)
			w.(http.Flusher).Flush()
		}
	})
	resp, err := http.Post(url+"/v1/completions", "application/json", strings.NewReader(`{"stream":true}`))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	wantHeaders(t, resp.Header, "Content-Type", "text/event-stream", HeaderFallback, "0")
	for i := range 3 {
		if i > 0 {
			next <- struct{}{}
		}
		want := fmt.Sprintf("data: %d\n\n", i)
		buf := make([]byte, len(want))
		if _, err := io.ReadFull(resp.Body, buf); err != nil || string(buf) != want {
			t.Fatalf("piece %d: %q %v", i, buf, err)
		}
	}
	if rest, err := io.ReadAll(resp.Body); err != nil || len(rest) > 0 {
		t.Errorf("after the stream: %q %v", rest, err)
	}
}

// Decode dying in mid-stream must not look like an answer that ended.
func TestDecodeDiesInMidStream(t *testing.T) {
	_, p, url := one(t, says(200, prefillAnswer), func(w http.ResponseWriter, _ *http.Request, _ string) {
		io.WriteString(w, "data: 1\n\n")
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	})
	resp, err := http.Post(url+"/v1/completions", "application/json", strings.NewReader(`{"stream":true}`))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err == nil || string(got) != "data: 1\n\n" {
		t.Errorf("read %q and %v, want the first event and an error", got, err)
	}
	if c := p.Counts(); c.DecodeErrors != 1 {
		t.Errorf("counts %+v", c)
	}
}

// A client that goes takes the leg under way with it.
func TestClientGoes(t *testing.T) {
	for _, leg := range []string{"prefill", "decode"} {
		t.Run(leg, func(t *testing.T) {
			reached, cancelled := make(chan struct{}), make(chan struct{})
			hang := func(w http.ResponseWriter, r *http.Request, _ string) {
				if leg == "decode" {
					io.WriteString(w, "data: 1\n\n")
					w.(http.Flusher).Flush()
				}
				close(reached)
				<-r.Context().Done()
				close(cancelled)
			}
			handlers := map[string]func(http.ResponseWriter, *http.Request, string){
				"prefill": says(200, prefillAnswer), "decode": says(200, `{}`), leg: hang,
			}
			f := &fakes{t: t}
			p, err := New(Options{
				Prefill: []string{f.start("prefill", handlers["prefill"])},
				Decode:  []string{f.start("decode", handlers["decode"])},
			})
			if err != nil {
				t.Fatal(err)
			}
			ended := make(chan struct{})
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				defer close(ended)
				p.ServeHTTP(w, r)
			}))
			defer srv.Close()

			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			req, _ := http.NewRequestWithContext(ctx, http.MethodPost, srv.URL+"/v1/completions", strings.NewReader(`{"stream":true}`))
			answered := make(chan error, 1)
			go func() {
				resp, err := http.DefaultClient.Do(req)
				if err == nil {
					_, err = io.ReadAll(resp.Body)
					resp.Body.Close()
				}
				answered <- err
			}()
			<-reached
			cancel()
			<-cancelled // else the test hangs here until its deadline
			<-ended
			if err := <-answered; !errors.Is(err, context.Canceled) {
				t.Errorf("client got %v", err)
			}
			if c := p.Counts(); c.Cancelled != 1 || c.PrefillErrors+c.DecodeErrors != 0 {
				t.Errorf("counts %+v", c)
			}
			if leg == "prefill" && f.order() != "prefill" {
				t.Errorf("asked %q", f.order())
			}
		})
	}
}
