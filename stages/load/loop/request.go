package loop

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"vbp/stages/load"
)

// wire renders requests as they are sent.
type wire struct {
	begin []byte // to the value of X-Request-Id
}

// newWire makes the part that all requests have in common, from an address that
// is http://host[:port]/path and header fields. The field Host, if there is
// one, takes the place of the address's. It refuses a field that load.CheckHeader
// does.
func newWire(u *url.URL, header http.Header) (wire, error) {
	host := header.Get("Host")
	if host == "" {
		host = u.Host
		if i := strings.IndexByte(host, '%'); i >= 0 { // the zone of an IPv6 address says something to this machine only
			host = host[:i] + host[strings.IndexByte(host, ']'):]
		}
	}
	b := []byte("POST " + u.RequestURI() + " HTTP/1.1\r\nHost: " + host + "\r\n")
	if header.Get("User-Agent") == "" {
		b = append(b, "User-Agent: vbp\r\n"...)
	}
	for _, name := range slices.Sorted(maps.Keys(header)) {
		for _, value := range header[name] {
			if err := load.CheckHeader(name, value); err != nil {
				return wire{}, err
			}
			switch http.CanonicalHeaderKey(name) {
			case "Host", "Content-Length", "X-Request-Id", "Transfer-Encoding", "Connection":
				continue
			}
			b = append(b, name+": "+strings.TrimSpace(value)+"\r\n"...)
		}
	}
	return wire{begin: append(b, "X-Request-Id: "...)}, nil
}

// render appends request q to b.
func (w wire) render(b []byte, q load.Request) []byte {
	b = append(append(b, w.begin...), q.ID...)
	b = append(b, "\r\nContent-Length: "...)
	b = strconv.AppendInt(b, int64(len(q.Body)), 10)
	b = append(b, "\r\n\r\n"...)
	return append(b, q.Body...)
}
