package loop

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Bounds of what is kept of a response whose parts have no end, in bytes.
const (
	mostHead    = 256 << 10 // of status line and header; net/http allows 10 MiB
	mostInterim = 100       // responses with status 1xx before the one that is waited for
	mostLine    = 4 << 10   // of a chunk's size line or a trailer line
)

// part is what next found.
type part int

const (
	nothing part = iota // all of the bytes were taken in; more are needed
	head                // status and header are complete
	data                // a piece of the body
	end                 // the response is complete
)

// response reads one HTTP/1.x response (RFC 9112) as it comes, cut anywhere.
// It is pulled, like the scanner of answer: next returns one part after the
// other, pieces of the body as they lie in the bytes that it was given, so
// that nothing is copied or allocated once the header is there.
//
// It is strict where a mistake would look like an answer (lengths, chunk sizes,
// line ends of chunks), and takes bare \n for a line's end in the header. What
// net/http reads too, it reads to the same end, so that transports do not differ.
type response struct {
	Status int
	Keep   bool // the connection can be used again after the end

	at      place
	head    []byte // of status line and header, while they are not complete
	header  []field
	left    int64 // bytes of the body or of the chunk under way; -1: until the connection ends
	digits  int   // of the chunk size under way
	line    int   // length of the line under way
	seen    bool  // a byte has come
	interim int   // responses with status 1xx so far
	space   bool  // of the size line: white space has followed the digits
	extra   bool  // of the size line: an extension has begun
	colon   bool  // of the trailer line: it has one
	cr      bool  // the byte before was \r
}

// field is a header line.
type field struct{ name, value string }

// place is where in a response the next byte lies.
type place int

const (
	inHead place = iota
	inBody
	inSize    // size line of a chunk
	inChunk   // its data
	afterData // line end after it
	inTrailer // lines after the last chunk
	atEnd
)

// start makes r ready for the response to another request.
func (r *response) start() {
	*r = response{head: r.head[:0], header: r.header[:0]}
	if cap(r.head) > 16<<10 {
		r.head = nil
	}
}

// value returns the first value of a header field, "" if there is none.
func (r *response) value(name string) string {
	for _, f := range r.header {
		if strings.EqualFold(f.name, name) {
			return f.value
		}
	}
	return ""
}

// next takes b, what was read, and returns what it found first in it, the
// piece of the body if that is data, and what of b comes after. After an error
// the connection is of no use.
func (r *response) next(b []byte) (found part, piece, rest []byte, err error) {
	r.seen = r.seen || len(b) > 0
	for {
		switch r.at {
		case inHead:
			if len(b) == 0 {
				return nothing, nil, nil, nil
			}
			var done bool
			if b, done, err = r.takeHead(b); err != nil || !done {
				return nothing, nil, nil, err
			}
			if r.Status < 200 && r.Status != 101 { // informational: the response is still to come
				if r.interim++; r.interim > mostInterim {
					return nothing, nil, nil, fmt.Errorf("the response is still to come after %d interim ones", mostInterim)
				}
				*r = response{head: r.head[:0], header: r.header[:0], seen: true, interim: r.interim}
				continue
			}
			if err := r.frame(); err != nil {
				return nothing, nil, nil, err
			}
			return head, nil, b, nil
		case inBody:
			if r.left == 0 {
				r.at = atEnd
				continue
			}
			if len(b) == 0 {
				return nothing, nil, nil, nil
			}
			n := len(b)
			if r.left > 0 {
				n = int(min(int64(n), r.left))
				r.left -= int64(n)
			}
			return data, b[:n], b[n:], nil
		case inChunk:
			if r.left == 0 {
				r.at, r.cr = afterData, false
				continue
			}
			if len(b) == 0 {
				return nothing, nil, nil, nil
			}
			n := int(min(int64(len(b)), r.left))
			r.left -= int64(n)
			return data, b[:n], b[n:], nil
		case atEnd:
			if len(b) > 0 {
				r.Keep = false // nobody asked for more
			}
			return end, nil, nil, nil
		default:
			if len(b) == 0 {
				return nothing, nil, nil, nil
			}
			c := b[0]
			b = b[1:]
			if err := r.framing(c); err != nil {
				return nothing, nil, nil, err
			}
		}
	}
}

// takeHead takes from b what belongs to the head, and reports whether that is
// complete.
func (r *response) takeHead(b []byte) (rest []byte, done bool, err error) {
	kept := len(r.head)
	all := b
	if kept > 0 {
		r.head = append(r.head, b...)
		all = r.head
	}
	// A status line can be judged before the rest is there: what speaks
	// another protocol may wait for an answer.
	if !begins(all) {
		line, _ := cutLine(all)
		return nil, false, fmt.Errorf("malformed HTTP response %q", cutText(line))
	}
	n := headEnd(all, kept)
	if n < 0 {
		if len(all) > mostHead {
			return nil, false, fmt.Errorf("the response's header has no end within %d KiB", mostHead>>10)
		}
		if kept == 0 {
			r.head = append(r.head, b...)
		}
		return nil, false, nil
	}
	if err := r.parse(all[:n]); err != nil {
		return nil, false, err
	}
	r.head = r.head[:0]
	return b[n-kept:], true, nil
}

// begins reports whether b may be the begin of a status line.
func begins(b []byte) bool {
	const version = "HTTP/1."
	n := min(len(b), len(version))
	return string(b[:n]) == version[:n]
}

// headEnd is the length of the head with its empty line, -1 if that has not
// come; what lies before from was looked at already.
func headEnd(b []byte, from int) int {
	for i := max(0, from-3); ; {
		j := bytes.IndexByte(b[i:], '\n')
		if j < 0 {
			return -1
		}
		i += j + 1
		if i < len(b) && b[i] == '\n' {
			return i + 1
		}
		if i+1 < len(b) && b[i] == '\r' && b[i+1] == '\n' {
			return i + 2
		}
	}
}

// parse reads the whole head.
func (r *response) parse(b []byte) error {
	line, b := cutLine(b)
	version, status, _ := strings.Cut(string(line), " ")
	code, _, _ := strings.Cut(strings.TrimLeft(status, " "), " ")
	n, err := strconv.Atoi(code)
	if version != "HTTP/1.1" && version != "HTTP/1.0" || len(code) != 3 || err != nil || n < 100 {
		return fmt.Errorf("malformed HTTP response %q", cutText(line))
	}
	r.Status = n
	r.Keep = version == "HTTP/1.1"
	r.header = r.header[:0]
	for {
		if line, b = cutLine(b); len(line) == 0 {
			return nil
		}
		if line[0] == ' ' || line[0] == '\t' { // a folded line, which RFC 9112 lets be refused or unfolded
			if len(r.header) == 0 {
				return fmt.Errorf("malformed HTTP header line %q", cutText(line))
			}
			last := &r.header[len(r.header)-1]
			last.value = strings.TrimSpace(last.value + " " + string(bytes.TrimSpace(line)))
			continue
		}
		i := bytes.IndexByte(line, ':')
		if i <= 0 || bytes.ContainsAny(line[:i], " \t") {
			return fmt.Errorf("malformed HTTP header line %q", cutText(line))
		}
		r.header = append(r.header, field{string(line[:i]), string(bytes.TrimSpace(line[i+1:]))})
	}
}

// cutLine cuts the first line off b, without its end.
func cutLine(b []byte) (line, rest []byte) {
	line, rest, _ = bytes.Cut(b, []byte("\n"))
	return bytes.TrimSuffix(line, []byte("\r")), rest
}

func cutText(b []byte) []byte { return b[:min(len(b), 80)] }

// frame finds out how long the body is (RFC 9112, section 6.3).
func (r *response) frame() error {
	chunked, closes, told, length := false, false, false, int64(0)
	encodes := r.Keep // HTTP/1.0 has no transfer encodings: net/http ignores the field there
	for _, f := range r.header {
		switch {
		case strings.EqualFold(f.name, "Transfer-Encoding") && encodes:
			if !strings.EqualFold(f.value, "chunked") || chunked {
				return fmt.Errorf("the response has transfer encoding %q, of which vbp knows chunked only", cutText([]byte(f.value)))
			}
			chunked = true
		case strings.EqualFold(f.name, "Content-Length"):
			n, err := strconv.ParseUint(f.value, 10, 63)
			if err != nil || told && int64(n) != length {
				return fmt.Errorf("the response has a bad Content-Length: %q", cutText([]byte(f.value)))
			}
			length, told = int64(n), true
		case strings.EqualFold(f.name, "Connection"):
			for option := range strings.SplitSeq(f.value, ",") {
				option = strings.TrimSpace(option)
				closes = closes || strings.EqualFold(option, "close")
				r.Keep = r.Keep || strings.EqualFold(option, "keep-alive")
			}
		}
	}
	r.Keep = r.Keep && !closes
	r.at = inBody
	switch {
	case r.Status == 101: // what follows is another protocol's
		r.left, r.Keep = 0, false
	case r.Status == 204 || r.Status == 304:
		r.left = 0
	case chunked:
		r.at, r.left = inSize, 0
	case told:
		r.left = length
	default:
		r.left, r.Keep = -1, false
	}
	return nil
}

// framing takes one byte of what lies around the data of chunks.
func (r *response) framing(c byte) error {
	switch r.at {
	case afterData:
		switch {
		case c == '\r' && !r.cr:
			r.cr = true
			return nil
		case c == '\n' && r.cr:
			r.at, r.left, r.digits, r.line = inSize, 0, 0, 0
			r.space, r.extra, r.cr = false, false, false
			return nil
		}
		return errors.New("malformed chunked encoding: the data of a chunk is longer than its size")
	case inSize:
		return r.size(c)
	}
	// Trailer lines say nothing that is asked for; an empty one is the end.
	switch {
	case c == '\n' && (r.line == 0 || r.line == 1 && r.cr):
		r.at = atEnd
	case c == '\n' && !r.colon:
		return errors.New("malformed chunked encoding: a trailer line is no header field")
	case c == '\n':
		r.line, r.colon, r.cr = 0, false, false
	default:
		if r.line++; r.line > mostLine {
			return errors.New("malformed chunked encoding: a trailer line has no end")
		}
		r.colon = r.colon || c == ':'
		r.cr = c == '\r'
	}
	return nil
}

// size takes one byte of a chunk's size line: digits, and perhaps extensions
// after a semicolon, which say nothing that is asked for.
func (r *response) size(c byte) error {
	if r.line++; r.line > mostLine {
		return errors.New("malformed chunked encoding: the size line of a chunk has no end")
	}
	n, hex := digit(c)
	switch {
	case c == '\n' && r.cr:
		switch {
		case r.digits == 0:
			return errors.New("malformed chunked encoding: a chunk has no size")
		case r.left == 0:
			r.at, r.line, r.colon, r.cr = inTrailer, 0, false, false
		default:
			r.at = inChunk
		}
	case c == '\n' || r.cr:
		return errors.New("malformed chunked encoding: the size line of a chunk does not end with \\r\\n")
	case c == '\r':
		r.cr = true
	case r.extra:
	case c == ';':
		r.extra = true
	case c == ' ' || c == '\t':
		r.space = true
	case hex && !r.space:
		if r.digits++; r.digits > 15 {
			return errors.New("malformed chunked encoding: the size of a chunk is too large")
		}
		r.left = r.left<<4 | n
	default:
		return errors.New("malformed chunked encoding: the size of a chunk is not a hexadecimal number")
	}
	return nil
}

// digit is the value of a hexadecimal digit.
func digit(c byte) (int64, bool) {
	switch {
	case c >= '0' && c <= '9':
		return int64(c - '0'), true
	case c >= 'a' && c <= 'f':
		return int64(c-'a') + 10, true
	case c >= 'A' && c <= 'F':
		return int64(c-'A') + 10, true
	}
	return 0, false
}

// closed is what it means that the connection ended here, without an error of
// its own: nil if the response is complete by it.
func (r *response) closed() error {
	switch {
	case r.at == atEnd, r.at == inBody && r.left == -1, r.at == inBody && r.left == 0:
		return nil
	case !r.seen:
		return io.EOF
	}
	return io.ErrUnexpectedEOF
}

// answered reports whether status and header have come.
func (r *response) answered() bool { return r.at != inHead }
