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
