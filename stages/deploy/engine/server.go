package engine

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"
)

// maxBody is the largest request body that is read: a million token ids of
// any length fit.
const maxBody = 64 << 20

// handler routes all paths.
func (s *server) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health", s.health)
	mux.HandleFunc("/ping", s.health) // vLLM has it for GET and POST
	mux.HandleFunc("GET /version", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, map[string]string{"version": s.options.Version()})
	})
	mux.HandleFunc("GET /load", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, map[string]int64{"server_load": s.load.Load()})
	})
	mux.HandleFunc("GET /v1/models", s.models)
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		_ = s.writeMetrics(w) // a reader that went away is no loss
	})
	mux.HandleFunc("POST /tokenize", s.tokenize)
	if o := s.options; !o.Strict || o.DevMode {
		mux.HandleFunc("POST /reset_prefix_cache", s.resetPrefixCache)
		mux.HandleFunc("GET /server_info", s.serverInfo)
	}
	if len(s.options.SideChannel) == 0 {
		mux.HandleFunc("POST "+releasePath, s.kvRelease)
	}
	mux.HandleFunc("POST /v1/completions", func(w http.ResponseWriter, r *http.Request) { s.complete(w, r, false) })
	mux.HandleFunc("POST /v1/chat/completions", func(w http.ResponseWriter, r *http.Request) { s.complete(w, r, true) })
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if s.options.Strict {
			answer(w, http.StatusNotFound, map[string]string{"detail": "Not Found"})
			return
		}
		refuse(w, http.StatusNotFound, "NotFoundError", fmt.Sprintf("%s %s is not served here", r.Method, r.URL.Path))
	})
	side := http.NewServeMux()
	side.HandleFunc("POST "+releasePath, s.kvRelease)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if id := r.Header.Get("X-Request-Id"); id != "" {
			w.Header().Set("X-Request-Id", id)
		}
		if left := time.Until(s.ready); left > 0 {
			refuse(w, http.StatusServiceUnavailable, "ServiceUnavailable", fmt.Sprintf("not ready for another %v", left.Round(time.Millisecond)))
			return
		}
		switch {
		case onSideChannel(r):
			side.ServeHTTP(w, r)
		case !s.admitted(r):
			answer(w, http.StatusUnauthorized, map[string]string{"error": "Unauthorized"})
		default:
			mux.ServeHTTP(w, r)
		}
	})
}

func (s *server) health(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) }

func (s *server) models(w http.ResponseWriter, _ *http.Request) {
	type card struct {
		ID          string `json:"id"`
		Object      string `json:"object"`
		Created     int64  `json:"created"`
		OwnedBy     string `json:"owned_by"`
		Root        string `json:"root"`
		MaxModelLen int    `json:"max_model_len"`
	}
	list := struct {
		Object string `json:"object"`
		Data   []card `json:"data"`
	}{Object: "list"}
	for _, name := range s.names {
		list.Data = append(list.Data, card{name, "model", s.ready.Unix(), "vbp", s.options.model(), s.settings.Scheduler.MaxModelLen})
	}
	answer(w, http.StatusOK, list)
}

func (s *server) tokenize(w http.ResponseWriter, r *http.Request) {
	var body requestBody
	if !s.decode(w, r, &body) {
		return
	}
	prompt, err := body.tokens(len(body.Messages) > 0, s.settings.Vocab)
	if err != nil {
		refuse(w, http.StatusBadRequest, "BadRequestError", err.Error())
		return
	}
	answer(w, http.StatusOK, struct {
		Count       int      `json:"count"`
		MaxModelLen int      `json:"max_model_len"`
		Tokens      []uint32 `json:"tokens"`
		Strings     any      `json:"token_strs"`
	}{len(prompt), s.settings.Scheduler.MaxModelLen, prompt, nil})
}

// resetPrefixCache empties the prefix caches of all replicas. A refusal is
// status 409, but for vLLM, which answers 200 in any case.
func (s *server) resetPrefixCache(w http.ResponseWriter, _ *http.Request) {
	done := s.replicas.resetPrefixCache()
	if !done && !s.options.Strict {
		refuse(w, http.StatusConflict, "Conflict", "the prefix cache is in use; reset it when no request is under way or holds KV to be fetched")
		return
	}
	answer(w, http.StatusOK, map[string]bool{"success": done})
}

// decode reads a JSON body; if it cannot, it has answered and returns false.
func (s *server) decode(w http.ResponseWriter, r *http.Request, to *requestBody) bool {
	raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err == nil {
		err = json.Unmarshal(raw, to)
	}
	if err != nil {
		refuse(w, http.StatusBadRequest, "BadRequestError", "reading the request body: "+err.Error())
		return false
	}
	if to.Model != "" && !slices.Contains(s.names, to.Model) {
		refuse(w, http.StatusNotFound, "NotFoundError", fmt.Sprintf("The model `%s` does not exist; this server has %q.", to.Model, s.names))
		return false
	}
	return true
}

// answer writes a JSON answer.
func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // a reader that went away is no loss
}

// refuse writes an error in OpenAI's shape.
func refuse(w http.ResponseWriter, status int, kind, message string) {
	type inner struct {
		Message string  `json:"message"`
		Type    string  `json:"type"`
		Param   *string `json:"param"`
		Code    int     `json:"code"`
	}
	answer(w, status, struct {
		Error inner `json:"error"`
	}{inner{Message: message, Type: kind, Code: status}})
}
