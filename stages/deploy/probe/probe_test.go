package probe

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestErrorsShowTheAnswer(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Host != "other.example" || r.Header.Get("X-Key") != "k" {
			t.Errorf("host %q, headers %v", r.Host, r.Header)
		}
		w.WriteHeader(http.StatusBadGateway)
		_, _ = w.Write([]byte("<html>\n\n  bad \xff gateway" + strings.Repeat("é", 9999)))
	}))
	defer s.Close()
	server := Server{URL: s.URL, Headers: map[string]string{"host": "other.example", "X-Key": "k"}, HTTP: s.Client()}
	err := server.Health(t.Context())
	if err == nil || Status(err) != 502 || Missing(err) {
		t.Fatalf("error %v", err)
	}
	want := "GET " + s.URL + "/health: answered 502 Bad Gateway: <html> bad ? gateway" + "é"
	if !strings.HasPrefix(err.Error(), want) || !strings.HasSuffix(err.Error(), "é...") || len(err.Error()) > 1000 {
		t.Errorf("error %q", err)
	}
	if could, err := server.ResetPrefixCache(t.Context()); could || err == nil {
		t.Errorf("a failed reset: %v, %v", could, err)
	}
	if Status(nil) != 0 || Missing(nil) {
		t.Error("no error has a status")
	}
}

func TestErrorsNameTheHeader(t *testing.T) {
	for _, c := range []struct {
		status    int
		challenge string
		headers   map[string]string
		want      string
	}{
		{401, "", nil, `set headers of the mode, such as headers: {Authorization: "Bearer ${secret:API_KEY}"}`},
		{403, `Basic realm="x"`, nil, `{Authorization: "Basic ${secret:CREDENTIALS}"}`},
		{401, "Bearer", map[string]string{"X-Other": "1"}, `{Authorization: "Bearer ${secret:API_KEY}"}`},
		{403, "", map[string]string{"authorization": "Bearer wrong"}, "it does not accept the header authorization that was sent"},
	} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("WWW-Authenticate", c.challenge)
			w.WriteHeader(c.status)
		}))
		server := Server{URL: s.URL, Headers: c.headers, HTTP: s.Client()}
		_, err := server.Models(t.Context())
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "wrong") {
			t.Errorf("error %v, want %q", err, c.want)
		}
		s.Close()
	}
}
