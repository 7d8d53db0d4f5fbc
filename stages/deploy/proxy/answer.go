package proxy

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
)

// writeError answers with an error in OpenAI's shape.
func writeError(w http.ResponseWriter, status int, message string) {
	kind := "server_error"
	switch {
	case status == http.StatusBadGateway || status == http.StatusGatewayTimeout:
		kind = "bad_gateway"
	case status == http.StatusNotFound:
		kind = "not_found_error"
	case status < 500:
		kind = "invalid_request_error"
	}
	writeJSON(w, status, map[string]any{"error": map[string]any{
		"message": message, "type": kind, "param": nil, "code": status,
	}})
}

// writeJSON answers with v.
func writeJSON(w http.ResponseWriter, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil { // no value given to it holds a channel or a NaN
		status, b = http.StatusInternalServerError, []byte(`{"error":{"message":"answer cannot be written as JSON"}}`)
	}
	writeRaw(w, status, b)
}

// writeRaw answers with JSON.
func writeRaw(w http.ResponseWriter, status int, b []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", fmt.Sprint(len(b)+1))
	w.WriteHeader(status)
	_, _ = w.Write(append(b, '\n')) // if the client is gone there is nobody to tell
}

// relay passes an instance's answer on: its status, its end-to-end headers
// and its body, each piece as it arrives. extra are headers added to it. The
// error is that of reading the answer; that of writing to the client is
// clientGone.
func (p *Proxy) relay(w http.ResponseWriter, resp *http.Response, extra http.Header) error {
	h := w.Header()
	maps.Copy(h, endToEnd(resp.Header))
	maps.Copy(h, extra)
	w.WriteHeader(resp.StatusCode)
	flush := http.NewResponseController(w).Flush
	if resp.ContentLength < 0 {
		// A stream: its status is news of its own, and the first token may be
		// a while.
		if err := flush(); err != nil {
			return clientGone{err}
		}
	}
	buf := p.buffers.Get().(*[]byte)
	defer p.buffers.Put(buf)
	for {
		n, err := resp.Body.Read(*buf)
		if n > 0 {
			if _, err := w.Write((*buf)[:n]); err != nil {
				return clientGone{err}
			}
			if err := flush(); err != nil {
				return clientGone{err}
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// clientGone is an error of writing to the client.
type clientGone struct{ error }

func (c clientGone) Unwrap() error { return c.error }
