package collect

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// headingRead is how much of a file is read at a time: the configuration of a
// vLLM result fits into it, its lists do not.
const headingRead = 16 << 10

// Heading reads what a result file of vLLM's or the scripts' says of its
// configuration, under the names that a table's Meta.Config has, without
// reading its requests: lists and objects are passed over, and what follows
// is not read once model and parallelism are known. A file that is no JSON
// object, or ends too early, is an error.
func Heading(path string) (map[string]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	h := heading{in: bufio.NewReaderSize(f, headingRead)}
	if err := h.read(); err != nil {
		if errors.Is(err, io.EOF) {
			err = errors.New("it is cut off: copy it again or measure again")
		}
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return vllmMeta(h.about, 1, "").Config, nil
}

// heading scans the members of a JSON object.
type heading struct {
	in    *bufio.Reader
	about map[string]string
}

func (h *heading) read() error {
	h.about = make(map[string]string)
	if bom, err := h.in.Peek(3); err == nil && string(bom) == "\xef\xbb\xbf" {
		_, _ = h.in.Discard(3) // was just peeked
	}
	if c, err := h.next(); err != nil || c != '{' {
		return errors.Join(err, notObject(c, err))
	}
	for !h.enough() {
		c, err := h.next()
		switch {
		case err != nil:
			return err
		case c == '}':
			return nil
		case c == ',':
			continue
		case c != '"':
			return fmt.Errorf("it is not JSON: %q where a name is needed", c)
		}
		key, err := h.text()
		if err != nil {
			return err
		}
		if c, err = h.next(); err != nil || c != ':' {
			return errors.Join(err, fmt.Errorf("it is not JSON: no colon behind %q", key))
		}
		if err := h.value(key); err != nil {
			return err
		}
	}
	return nil
}

func notObject(c byte, err error) error {
	if err != nil {
		return nil
	}
	return fmt.Errorf("it is not a JSON object: it begins with %q", c)
}

// enough reports whether what a line of configuration shows is known: for
// several instances, the sizes of both kinds.
func (h *heading) enough() bool {
	has := func(keys ...string) bool {
		for _, k := range keys {
			if _, ok := h.about[k]; !ok {
				return false
			}
		}
		return true
	}
	if !has("model_name", "deployment_mode") {
		return false
	}
	if h.about["deployment_mode"] == "simple" {
		return has("tensor_parallel_size")
	}
	return has("num_prefill_instances", "num_decode_instances", "prefiller_tp_size", "decoder_tp_size")
}

// next is the next byte that is not white space.
func (h *heading) next() (byte, error) {
	for {
		c, err := h.in.ReadByte()
		if err != nil || c != ' ' && c != '\t' && c != '\r' && c != '\n' {
			return c, err
		}
	}
}

// text reads the rest of a string, behind its first quote.
func (h *heading) text() (string, error) {
	var b strings.Builder
	b.WriteByte('"')
	for escaped := false; ; {
		c, err := h.in.ReadByte()
		if err != nil {
			return "", err
		}
		b.WriteByte(c)
		if c == '"' && !escaped {
			break
		}
		escaped = c == '\\' && !escaped
	}
	var out string
	if err := json.Unmarshal([]byte(b.String()), &out); err != nil {
		return "", fmt.Errorf("it is not JSON: %w", err)
	}
	return out, nil
}

// value reads the value of a member, and keeps it if it is a scalar.
func (h *heading) value(key string) error {
	c, err := h.next()
	if err != nil {
		return err
	}
	switch c {
	case '"':
		text, err := h.text()
		h.about[key] = text
		return err
	case '[', '{':
		return h.skip()
	}
	var b strings.Builder
	for ; c != ',' && c != '}' && c > ' '; c, err = h.in.ReadByte() {
		if err != nil {
			return err
		}
		b.WriteByte(c)
	}
	if err != nil {
		return err
	}
	if v := b.String(); v != "null" {
		h.about[key] = v
	}
	return h.in.UnreadByte()
}

// skip passes over a list or an object, behind its first bracket.
func (h *heading) skip() error {
	inText, escaped := false, false
	for depth := 1; depth > 0; {
		c, err := h.in.ReadByte()
		switch {
		case err != nil:
			return err
		case escaped:
			escaped = false
		case inText:
			escaped, inText = c == '\\', c != '"'
		case c == '"':
			inText = true
		case c == '[' || c == '{':
			depth++
		case c == ']' || c == '}':
			depth--
		}
	}
	return nil
}
