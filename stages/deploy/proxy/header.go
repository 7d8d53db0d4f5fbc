package proxy

import (
	"net/http"
	"strings"
)

// hopByHop are the headers that speak of one connection only (RFC 9110 7.6.1
// and the older ones still seen).
var hopByHop = []string{
	"Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization",
	"Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade",
}

// endToEnd is a copy of h without the headers that are not to be passed on,
// those that its Connection header names included.
func endToEnd(h http.Header) http.Header {
	out := h.Clone()
	if out == nil {
		out = http.Header{}
	}
	for _, line := range h["Connection"] {
		for name := range strings.SplitSeq(line, ",") {
			out.Del(strings.TrimSpace(name))
		}
	}
	for _, name := range hopByHop {
		out.Del(name)
	}
	return out
}

// legHeader is the header of a request to an instance that carries a body of
// its own: the client's, less what described the body the client sent.
func legHeader(client http.Header, id string) http.Header {
	h := endToEnd(client)
	h.Del("Content-Length")
	h.Del("Expect") // answered here, the body has been read
	h.Set(HeaderRequestID, id)
	if h.Get("Content-Type") == "" {
		h.Set("Content-Type", "application/json")
	}
	if _, ok := h["User-Agent"]; !ok {
		h.Set("User-Agent", "") // none, rather than net/http's own
	}
	return h
}
