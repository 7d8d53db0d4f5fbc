package engine

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"strings"
)

// guarded are the beginnings of paths that need a key, if there are keys:
// those of vLLM.
var guarded = []string{"/v1", "/v2", "/inference"}

// admitted tells whether a request may pass: no keys are set, its path needs
// none, or it carries one of them as a bearer token.
func (s *server) admitted(r *http.Request) bool {
	if len(s.options.APIKeys) == 0 || r.Method == http.MethodOptions {
		return true
	}
	needs := false
	for _, prefix := range guarded {
		needs = needs || strings.HasPrefix(r.URL.Path, prefix)
	}
	if !needs {
		return true
	}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "bearer") {
		return false
	}
	got, ok := sha256.Sum256([]byte(token)), false
	for _, key := range s.options.APIKeys {
		want := sha256.Sum256([]byte(key))
		ok = ok || subtle.ConstantTimeCompare(got[:], want[:]) == 1
	}
	return ok
}
