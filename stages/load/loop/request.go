package loop

import (
	"fmt"
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
// one, takes the place of the address's. It refuses a field that would be more
// than one line of the header.
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
		if name == "" || strings.ContainsFunc(name, notToken) {
			return wire{}, fmt.Errorf("header %q is not a name that HTTP knows: letters, digits and hyphens", name)
		}
		for _, value := range header[name] {
			if strings.ContainsFunc(value, control) {
				return wire{}, fmt.Errorf("the value of header %s has a line end or another control character", name)
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

// notToken reports whether r may not stand in a name (RFC 9110, section 5.6.2).
func notToken(r rune) bool {
	return r <= ' ' || r >= 0x7f || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r)
}

// control reports whether r may not stand in a value.
func control(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }

// render appends request q to b.
func (w wire) render(b []byte, q load.Request) []byte {
	b = append(append(b, w.begin...), q.ID...)
	b = append(b, "\r\nContent-Length: "...)
	b = strconv.AppendInt(b, int64(len(q.Body)), 10)
	b = append(b, "\r\n\r\n"...)
	return append(b, q.Body...)
}
