package metronome

import (
	"bytes"
	"errors"
)

// maxHead is how long the head of a request may be.
const maxHead = 64 << 10

var errRequest = errors.New("not a request that a metronome understands")

// request is what matters of a request's head.
type request struct {
	id   []byte // X-Request-Id; points into the head
	api  api    // apis: none that there is
	body int    // bytes that follow the head
}

// parse reads the head of a request, up to its empty line.
func parse(head []byte) (request, error) {
	line, rest, _ := bytes.Cut(head, []byte("\r\n"))
	method, line, _ := bytes.Cut(line, []byte(" "))
	path, version, ok := bytes.Cut(line, []byte(" "))
	if !ok || string(version) != "HTTP/1.1" {
		return request{}, errRequest
	}
	r := request{api: apis}
	if string(method) == "POST" {
		switch string(path) {
		case "/v1/completions":
			r.api = completions
		case "/v1/chat/completions":
			r.api = chat
		}
	}
	for len(rest) > 0 {
		line, rest, _ = bytes.Cut(rest, []byte("\r\n"))
		name, value, _ := bytes.Cut(line, []byte(":"))
		switch {
		case is(name, "x-request-id"):
			r.id = bytes.TrimSpace(value)
		case is(name, "content-length"):
			n := 0
			for _, c := range bytes.TrimSpace(value) {
				if c < '0' || c > '9' || n > 1<<30 {
					return request{}, errRequest
				}
				n = 10*n + int(c-'0')
			}
			r.body = n
		case is(name, "transfer-encoding"):
			return request{}, errRequest
		}
	}
	return r, nil
}

// is compares the name of a field, which has no case, with one in small
// letters.
func is(name []byte, want string) bool {
	return len(name) == len(want) && bytes.EqualFold(name, []byte(want))
}

// inbox finds requests in what one connection receives, however it is cut.
type inbox struct {
	head []byte // the beginning of a head that is not complete
	req  request
	left int // bytes of the body that have not come
}

var emptyLine = []byte("\r\n\r\n")

// take reads on and calls got when a request is complete. Its id is valid
// during the call.
func (b *inbox) take(data []byte, got func(request) error) error {
	for len(data) > 0 {
		if b.left > 0 {
			n := min(b.left, len(data))
			b.left -= n
			data = data[n:]
			if b.left == 0 {
				if err := got(b.req); err != nil {
					return err
				}
			}
			continue
		}
		if len(b.head) > 0 {
			b.head = append(b.head, data...)
			data = b.head
		}
		end := bytes.Index(data, emptyLine)
		if end < 0 {
			if len(data) > maxHead {
				return errRequest
			}
			b.head = append(b.head[:0], data...)
			return nil
		}
		req, err := parse(data[:end])
		if err != nil {
			return err
		}
		data = data[end+len(emptyLine):]
		if req.body > len(data) {
			// The id must outlive the buffer that it points into.
			req.id = bytes.Clone(req.id)
			b.req, b.left, b.head = req, req.body-len(data), b.head[:0]
			return nil
		}
		data = data[req.body:]
		if err := got(req); err != nil {
			return err
		}
		if len(b.head) > 0 { // data points into it
			data, b.head = bytes.Clone(data), b.head[:0]
		}
	}
	return nil
}
