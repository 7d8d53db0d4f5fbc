package loop

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"vbp/stages/load"
)

// Requests are read by net/http as they were meant, one after the other.
func TestRequests(t *testing.T) {
	for _, c := range []struct {
		url          string
		header       http.Header
		host, target string
	}{
		{"http://h:8000/v1/completions", nil, "h:8000", "/v1/completions"},
		{"http://h/a%20b/v1/completions?x=1", nil, "h", "/a%20b/v1/completions?x=1"},
		{"http://[::1]:8000/v1/completions", nil, "[::1]:8000", "/v1/completions"},
		{"http://[fe80::1%25eth0]:8000/", nil, "[fe80::1]:8000", "/"},
		{"http://h:8000/v1/completions", http.Header{"Host": {"model.example"}, "Authorization": {"Bearer k "}, "X-Many": {"a", "b"}, "User-Agent": {"me"}}, "model.example", "/v1/completions"},
	} {
		u, err := url.Parse(c.url)
		if err != nil {
			t.Fatal(err)
		}
		w, err := newWire(u, c.header)
		if err != nil {
			t.Fatal(err)
		}
		bodies := []string{`{"prompt": "a\r\n"}`, "", strings.Repeat("x", 100_000)}
		var b []byte
		for _, body := range bodies {
			b = w.render(b, load.Request{ID: "p-1", Body: []byte(body)})
		}
		sent := bufio.NewReader(bytes.NewReader(b))
		for _, body := range bodies {
			r, err := http.ReadRequest(sent)
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(r.Body)
			if err != nil || string(got) != body || r.Method != http.MethodPost || r.Host != c.host || r.RequestURI != c.target || r.Header.Get("X-Request-Id") != "p-1" || r.Close {
				t.Errorf("%s: %+v with %d bytes, error %v", c.url, r, len(got), err)
			}
			for name, values := range c.header {
				if got := strings.Join(r.Header[name], ","); name != "Host" && got != strings.TrimSpace(strings.Join(values, ",")) {
					t.Errorf("%s: %s is %q", c.url, name, got)
				}
			}
			if got := r.Header["User-Agent"]; len(got) != 1 {
				t.Errorf("user agents %q", got)
			}
		}
		if n := sent.Buffered(); n > 0 {
			t.Errorf("%d bytes are left", n)
		}
	}
}

// A plan that nobody validated cannot smuggle a field in.
func TestRequestsRefuseFieldsOfSeveralLines(t *testing.T) {
	u, _ := url.Parse("http://h/")
	for name, value := range map[string]string{"X-A": "b\r\nX-C: d", "X-A: b\r\nX": "c"} {
		if w, err := newWire(u, http.Header{name: {value}}); err == nil {
			t.Errorf("%q", w.begin)
		}
	}
}
