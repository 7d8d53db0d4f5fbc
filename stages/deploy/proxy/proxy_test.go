package proxy

import (
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
)

// call is one request that a fake instance received.
type call struct {
	instance string
	method   string
	target   string // path and query
	header   http.Header
	body     string
}

// fakes are instances on real sockets that keep what they received, in the
// order in which it came over all of them.
type fakes struct {
	t     *testing.T
	mu    sync.Mutex
	calls []call
}

// start starts one; handle answers it after the call is kept. The URL is
// returned.
func (f *fakes) start(name string, handle func(w http.ResponseWriter, r *http.Request, body string)) string {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			f.t.Errorf("%s: reading a request: %v", name, err)
		}
		f.mu.Lock()
		f.calls = append(f.calls, call{name, r.Method, r.URL.RequestURI(), r.Header.Clone(), string(b)})
		f.mu.Unlock()
		handle(w, r, string(b))
	}))
	f.t.Cleanup(srv.Close)
	return srv.URL
}

// seen is what was received so far.
func (f *fakes) seen() []call {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.calls)
}

// order is the names of the instances in the order of their calls.
func (f *fakes) order() string {
	var names []string
	for _, c := range f.seen() {
		names = append(names, c.instance)
	}
	return strings.Join(names, " ")
}

// says is a handler that answers with a status and a JSON body.
func says(status int, body string) func(http.ResponseWriter, *http.Request, string) {
	return func(w http.ResponseWriter, _ *http.Request, _ string) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		io.WriteString(w, body)
	}
}

// prefillAnswer is a prefill answer with transfer parameters that hold what a
// proxy that understood them would spoil: unknown nested fields, an integer
// that no float64 holds, a float in an unusual form, escapes.
const (
	prefillAnswer = `{"id":"cmpl-1","choices":[{"text":"x","finish_reason":"length"}], "kv_transfer_params" : ` + opaque + ` ,"usage":null}`
	opaque        = `{"do_remote_prefill":true, "remote_block_ids":[[1,2],[1152921504606846977]],"remote_engine_id":"a\u003cb<c>","new":{"deep":[1.50,1e2,{"x":null}]},"tp_size":1}`
)

// serve puts a proxy on a socket.
func serve(t *testing.T, o Options) (*Proxy, string) {
	t.Helper()
	p, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	p.newID = func() string { return "made-here" }
	srv := httptest.NewServer(p)
	srv.Config.ErrorLog = nil
	t.Cleanup(func() { srv.Close(); p.Close() })
	return p, srv.URL
}

// one serves one prefill and one decode instance.
func one(t *testing.T, prefill, decode func(http.ResponseWriter, *http.Request, string)) (*fakes, *Proxy, string) {
	t.Helper()
	f := &fakes{t: t}
	p, url := serve(t, Options{
		Prefill: []string{f.start("prefill", prefill)},
		Decode:  []string{f.start("decode", decode)},
	})
	return f, p, url
}

// post sends a body and reads the whole answer.
func post(t *testing.T, url, body string, header ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	return do(t, req)
}

func get(t *testing.T, url string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	return do(t, req)
}

func do(t *testing.T, req *http.Request) (*http.Response, string) {
	t.Helper()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("reading the answer: %v, after %q", err, b)
	}
	return resp, string(b)
}

func wantHeaders(t *testing.T, h http.Header, pairs ...string) {
	t.Helper()
	for i := 0; i < len(pairs); i += 2 {
		if got := h.Get(pairs[i]); got != pairs[i+1] {
			t.Errorf("header %s is %q, want %q", pairs[i], got, pairs[i+1])
		}
	}
}

func TestUnknownPathAndMethod(t *testing.T) {
	f, _, url := one(t, says(200, "{}"), says(200, "{}"))
	resp, body := get(t, url+"/v1/embeddings")
	if resp.StatusCode != 404 || !strings.Contains(body, `"error":{"code":404`) || !strings.Contains(body, "/v1/completions") {
		t.Errorf("unknown path: %d %s", resp.StatusCode, body)
	}
	resp, body = get(t, url+"/v1/completions")
	if resp.StatusCode != 405 || resp.Header.Get("Allow") != "POST" || !strings.Contains(body, `"error"`) {
		t.Errorf("GET of completions: %d, Allow %q, %s", resp.StatusCode, resp.Header.Get("Allow"), body)
	}
	if got := f.seen(); len(got) != 0 {
		t.Errorf("instances were asked: %v", got)
	}
}

func TestRoundRobin(t *testing.T) {
	const requests = 60 // ten rounds over 2 x 3, so every pair and every instance has an exact share
	f := &fakes{t: t}
	o := Options{}
	for _, name := range []string{"a", "b"} {
		o.Prefill = append(o.Prefill, f.start(name, says(200, prefillAnswer)))
	}
	for _, name := range []string{"x", "y", "z"} {
		o.Decode = append(o.Decode, f.start(name, says(200, `{}`)))
	}
	p, url := serve(t, o)
	told := make([]string, requests)
	var wg sync.WaitGroup
	for i := range requests {
		wg.Go(func() {
			resp, err := http.Post(url+"/v1/completions", "application/json", strings.NewReader(`{"prompt":"p"}`))
			if err != nil {
				t.Error(err)
				return
			}
			io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			told[i] = resp.Header.Get(HeaderPrefill) + "/" + resp.Header.Get(HeaderDecode)
		})
	}
	wg.Wait()
	got := map[string]int{}
	for _, c := range f.seen() {
		got[c.instance]++
	}
	for name, want := range map[string]int{"a": 30, "b": 30, "x": 20, "y": 20, "z": 20} {
		if got[name] != want {
			t.Errorf("instance %s received %d, want %d", name, got[name], want)
		}
	}
	headers := map[string]int{}
	for _, pair := range told {
		a, b, _ := strings.Cut(pair, "/")
		headers[a]++
		headers[b]++
	}
	c := p.Counts()
	for name, want := range map[string]int{"prefill-0": 30, "prefill-1": 30, "decode-0": 20, "decode-1": 20, "decode-2": 20} {
		if headers[name] != want || c.Instances[name] != int64(want) {
			t.Errorf("%s: headers tell %d, counts %d, want %d", name, headers[name], c.Instances[name], want)
		}
	}
	if c.Requests != requests || c.Fallbacks != 0 {
		t.Errorf("counts %+v", c)
	}
}
