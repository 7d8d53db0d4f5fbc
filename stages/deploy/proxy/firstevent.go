package proxy

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
)

// firstEvent waits for the first bytes of a stream that is to be passed on.
// vLLM promises a stream, with status 200, before it has the KV of a request:
// if that cannot be had, the first event is an error. As long as nothing was
// promised to the client, such an error can be the status that it should have
// been: failure is the error's JSON then, and status its code. err is that of
// a stream that broke off before it had begun. The answer's body is left as
// it was.
func firstEvent(resp *http.Response) (status int, failure []byte, err error) {
	if resp.StatusCode != http.StatusOK || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream") {
		return 0, nil, nil
	}
	// Large enough for an error with a long message; what is larger is passed
	// on as it is.
	r := bufio.NewReaderSize(resp.Body, 16<<10)
	resp.Body = struct {
		io.Reader
		io.Closer
	}{r, resp.Body}
	if _, err := r.Peek(1); err != nil {
		if err == io.EOF {
			return 0, nil, nil // a whole stream without events
		}
		return 0, nil, err
	}
	begun, _ := r.Peek(r.Buffered()) // cannot fail
	event, _, whole := bytes.Cut(begun, []byte("\n\n"))
	data, isData := bytes.CutPrefix(event, []byte("data:"))
	var body struct {
		Error *struct {
			Code json.RawMessage `json:"code"`
		} `json:"error"`
	}
	if !whole || !isData || json.Unmarshal(data, &body) != nil || body.Error == nil {
		return 0, nil, nil
	}
	status = http.StatusInternalServerError
	var code int
	if json.Unmarshal(body.Error.Code, &code) == nil && code >= 400 && code <= 599 {
		status = code
	}
	return status, bytes.Clone(bytes.TrimSpace(data)), nil
}
