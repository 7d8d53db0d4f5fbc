package collect

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// jsonValues splits a file into its JSON values: one, or one a line where
// results were appended. An error says where in the file and below which key
// it stopped.
func jsonValues(data []byte) ([]json.RawMessage, error) {
	var values []json.RawMessage
	d := json.NewDecoder(bytes.NewReader(data))
	for {
		start := d.InputOffset()
		var v json.RawMessage
		switch err := d.Decode(&v); {
		case errors.Is(err, io.EOF):
			return values, nil
		case err != nil:
			return nil, syntaxError(data[start:], start, err)
		}
		values = append(values, v)
	}
}

// syntaxError explains why the JSON value at the beginning of data, itself at
// byte base of its file, could not be read.
func syntaxError(data []byte, base int64, err error) error {
	key, at := locate(data)
	where := fmt.Sprintf("byte %d", base+at)
	if key != "" {
		where = key + " (" + where + ")"
	}
	rest := data[at:]
	for _, token := range []string{"NaN", "Infinity", "-Infinity"} {
		if bytes.HasPrefix(rest, []byte(token)) {
			return fmt.Errorf("%s at %s: JSON has no such number, though Python writes it; put the right number there, or measure again", token, where)
		}
	}
	if len(rest) == 0 || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("it is cut off at %s: copy it again or measure again", where)
	}
	return fmt.Errorf("it is not JSON at %s: %w", where, err)
}

// locate walks data up to the first thing that is not JSON, and returns the
// path of keys to it, such as ttfts[3], and its byte offset; the length of
// data if it merely ends too early.
func locate(data []byte) (path string, offset int64) {
	type frame struct {
		object bool
		key    string
		hasKey bool
		index  int
	}
	var stack []frame
	done := func() { // one value of the innermost container is complete
		if n := len(stack); n > 0 {
			stack[n-1].hasKey = false
			stack[n-1].index++
		}
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	for {
		token, err := d.Token()
		if err != nil {
			break
		}
		n := len(stack)
		switch token := token.(type) {
		case json.Delim:
			switch token {
			case '{', '[':
				stack = append(stack, frame{object: token == '{'})
			default:
				stack = stack[:n-1]
				done()
			}
		case string:
			if n > 0 && stack[n-1].object && !stack[n-1].hasKey {
				stack[n-1].key, stack[n-1].hasKey = token, true
			} else {
				done()
			}
		default:
			done()
		}
	}
	var b strings.Builder
	for _, f := range stack {
		switch {
		case !f.object:
			b.WriteString("[" + strconv.Itoa(f.index) + "]")
		case f.hasKey:
			if b.Len() > 0 {
				b.WriteByte('.')
			}
			b.WriteString(f.key)
		}
	}
	offset = d.InputOffset()
	for offset < int64(len(data)) && slices.Contains([]byte(" \t\r\n,:"), data[offset]) {
		offset++
	}
	return b.String(), offset
}

// typeError explains a value of another type than the reader needs.
func typeError(err error) error {
	if t, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return fmt.Errorf("%s holds a %s where %s is needed", t.Field, t.Value, article(t.Type.String()))
	}
	return err
}

// article names a Go type as people would.
func article(kind string) string {
	kind = strings.NewReplacer("*", "", "float64", "number", "int64", "whole number", "string", "text").Replace(kind)
	if rest, ok := strings.CutPrefix(kind, "[]"); ok {
		return "a list (" + rest + ")"
	}
	return "a " + kind
}

// scalars are the members of an object that are neither lists nor objects, as
// text; null is left out.
func scalars(object json.RawMessage) map[string]string {
	var members map[string]json.RawMessage
	if json.Unmarshal(object, &members) != nil {
		return nil
	}
	out := map[string]string{}
	for k, v := range members {
		var text string
		switch {
		case len(v) == 0 || v[0] == '[' || v[0] == '{' || string(v) == "null":
		case v[0] == '"':
			if json.Unmarshal(v, &text) == nil {
				out[k] = text
			}
		default:
			out[k] = string(v)
		}
	}
	return out
}
