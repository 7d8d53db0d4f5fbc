package proxy

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
)

func TestHealth(t *testing.T) {
	closed := httptest.NewServer(nil)
	closed.Close()
	tests := []struct {
		name            string
		prefill, decode []int // status of each instance's /health; 0: nobody listens
		status          int
		failed          []string
	}{
		{"all well", []int{200, 200}, []int{200}, 200, nil},
		{"one prefill gone", []int{200, 0}, []int{200}, 503, []string{"prefill-1"}},
		{"one decode unwell", []int{200}, []int{503, 200}, 503, []string{"decode-0"}},
		{"none", []int{0}, []int{500}, 503, []string{"prefill-0", "decode-0"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := &fakes{t: t}
			urls := func(statuses []int) (out []string) {
				for _, s := range statuses {
					if s == 0 {
						out = append(out, closed.URL)
						continue
					}
					out = append(out, f.start("x", says(s, "")))
				}
				return out
			}
			_, url := serve(t, Options{Prefill: urls(tt.prefill), Decode: urls(tt.decode)})
			resp, body := get(t, url+"/health")
			var v struct {
				Status    string
				Instances map[string]string
				Failed    []struct {
					Instance, URL, Error string
					Status               int
				}
			}
			if err := json.Unmarshal([]byte(body), &v); err != nil {
				t.Fatalf("%v in %s", err, body)
			}
			var failed []string
			for _, x := range v.Failed {
				failed = append(failed, x.Instance)
				if x.Error == "" || x.URL == "" || v.Instances[x.Instance] != x.Error {
					t.Errorf("%s is not told well: %s", x.Instance, body)
				}
			}
			if resp.StatusCode != tt.status || !slices.Equal(failed, tt.failed) || (v.Status == "ok") != (tt.status == 200) {
				t.Errorf("%d %s, want %d and %v failed", resp.StatusCode, body, tt.status, tt.failed)
			}
			if len(v.Instances) != len(tt.prefill)+len(tt.decode) {
				t.Errorf("instances told: %v", v.Instances)
			}
			for _, c := range f.seen() {
				if c.method != "GET" || c.target != "/health" {
					t.Errorf("asked %s %s", c.method, c.target)
				}
			}
		})
	}
}

func TestResetPrefixCache(t *testing.T) {
	f := &fakes{t: t}
	able, unable := f.start("able", says(200, "")), f.start("unable", says(404, `{"detail":"Not Found"}`))
	_, url := serve(t, Options{Prefill: []string{able}, Decode: []string{able}})
	if resp, body := post(t, url+"/reset_prefix_cache?x=1", "", "Authorization", "Bearer k"); resp.StatusCode != 200 {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	if f.order() != "able able" {
		t.Errorf("asked %q", f.order())
	}
	for _, c := range f.seen() {
		if c.method != "POST" || c.target != "/reset_prefix_cache?x=1" || c.header.Get("Authorization") != "Bearer k" {
			t.Errorf("asked %+v", c)
		}
	}
	_, url = serve(t, Options{Prefill: []string{able}, Decode: []string{able, unable}})
	resp, body := post(t, url+"/reset_prefix_cache", "")
	if resp.StatusCode != 502 || !strings.Contains(body, `"failed":[{"instance":"decode-1"`) || !strings.Contains(body, "404 Not Found") {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	// vLLM answers 200 in any case, and tells in the body.
	done, held := f.start("done", says(200, `{"success":true}`)), f.start("held", says(200, `{"success":false}`))
	_, url = serve(t, Options{Prefill: []string{held}, Decode: []string{done}})
	resp, body = post(t, url+"/reset_prefix_cache", "")
	if resp.StatusCode != 409 || !strings.Contains(body, `"failed":[{"instance":"prefill-0"`) || !strings.Contains(body, "waits to be fetched") {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
}

func TestForward(t *testing.T) {
	f := &fakes{t: t}
	echo := func(w http.ResponseWriter, r *http.Request, body string) {
		w.Header().Set("X-From", "decode-a")
		says(201, r.Method+" "+r.URL.RequestURI()+" "+body)(w, r, body)
	}
	p, url := serve(t, Options{
		Prefill: []string{f.start("prefill", says(200, ""))},
		Decode:  []string{f.start("a", echo), f.start("b", says(200, ""))},
	})
	for _, path := range []string{"/v1/models", "/version?v=1", "/server_info?config_format=json"} {
		if resp, body := get(t, url+path); resp.StatusCode != 201 || body != "GET "+path+" " || resp.Header.Get("X-From") != "decode-a" {
			t.Errorf("%s: %d %s", path, resp.StatusCode, body)
		}
	}
	for _, path := range []string{"/tokenize", "/detokenize"} {
		if _, body := post(t, url+path, ` {"tokens":[1]}`); body != "POST "+path+`  {"tokens":[1]}` {
			t.Errorf("%s: %s", path, body)
		}
	}
	if f.order() != "a a a a a" {
		t.Errorf("asked %q", f.order())
	}
	if c := p.Counts(); c.Requests != 0 || c.Instances["decode-0"] != 0 {
		t.Errorf("forwarded requests are counted as completions: %+v", c)
	}
}
