package proxy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

// object is a JSON object as its members in their order, each in the bytes it
// was written in. A request is edited in this form, so that whatever the
// proxy does not know (new fields, integers beyond 2^53, escapes) leaves it as
// it came.
type object []member

// member is one "key": value.
type member struct {
	name  string
	key   []byte // as written, quotes included
	value []byte // as written, without space around it
}

// parseObject splits a JSON object into its members, which share b's memory.
func parseObject(b []byte) (object, error) {
	if !json.Valid(b) {
		var raw json.RawMessage
		err := json.Unmarshal(b, &raw)
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) {
			return nil, fmt.Errorf("not JSON: %w at byte %d of %d", err, syntax.Offset, len(b))
		}
		return nil, fmt.Errorf("not JSON: %w", err)
	}
	i := skipSpace(b, 0)
	if b[i] != '{' {
		return nil, errors.New("not a JSON object")
	}
	// From here on the syntax is known to be right, so that finding where a
	// value ends is a matter of counting brackets outside of strings.
	var o object
	i = skipSpace(b, i+1)
	for b[i] != '}' {
		keyEnd := stringEnd(b, i)
		key := b[i:keyEnd]
		start := skipSpace(b, skipSpace(b, keyEnd)+1) // behind the colon
		end := valueEnd(b, start)
		m := member{key: key, value: b[start:end]}
		if err := json.Unmarshal(key, &m.name); err != nil {
			return nil, fmt.Errorf("key %s: %w", key, err)
		}
		o = append(o, m)
		if i = skipSpace(b, end); b[i] == ',' {
			i = skipSpace(b, i+1)
		}
	}
	return o, nil
}

// get is the value of a member. Of several with one name the last counts, as
// in Python's json and in Go's.
func (o object) get(name string) (json.RawMessage, bool) {
	for _, m := range slices.Backward(o) {
		if m.name == name {
			return m.value, true
		}
	}
	return nil, false
}

// with returns a copy in which the member has the value, and is the only one
// of its name.
func (o object) with(name string, value []byte) object {
	key, _ := json.Marshal(name) // a string always can be
	return append(o.without(name), member{name: name, key: key, value: value})
}

// without returns a copy that lacks the members of these names.
func (o object) without(names ...string) object {
	kept := make(object, 0, len(o)+1)
	for _, m := range o {
		if !slices.Contains(names, m.name) {
			kept = append(kept, m)
		}
	}
	return kept
}

// bytes is the object as JSON.
func (o object) bytes() []byte {
	n := 2
	for _, m := range o {
		n += len(m.key) + len(m.value) + 2
	}
	b := append(make([]byte, 0, n), '{')
	for i, m := range o {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, m.key...)
		b = append(b, ':')
		b = append(b, m.value...)
	}
	return append(b, '}')
}

// askToPrefill is the value of kv_transfer_params by which a prefill instance
// keeps its blocks for a decode instance and tells where they are.
const askToPrefill = `{"do_remote_decode":true,"do_remote_prefill":false,"remote_engine_id":null,` +
	`"remote_block_ids":null,"remote_host":null,"remote_port":null}`

// prefillBody is the prefill leg's copy of a request: not streamed, one token
// at most, and without the fields that contradict this. The connector nixl
// also asks for transfer parameters.
func prefillBody(o object, connector string) []byte {
	one := []byte("1")
	_, chat := o.get("max_completion_tokens")
	o = o.without("stream_options", "min_tokens", "min_completion_tokens").
		with("stream", []byte("false")).
		with("max_tokens", one)
	if chat {
		o = o.with("max_completion_tokens", one)
	}
	if connector == NIXL {
		o = o.with(transferParams, []byte(askToPrefill))
	}
	return o.bytes()
}

// transferParams is the field that carries a connector's parameters, in a
// request and at the top level of an answer.
const transferParams = "kv_transfer_params"

// paramsOf takes the transfer parameters from a prefill answer; nil if it
// carries none, which is not an error: prefill leaves them out when it ended
// for another reason than its length cap.
func paramsOf(answer []byte) (json.RawMessage, error) {
	o, err := parseObject(answer)
	if err != nil {
		return nil, err
	}
	v, ok := o.get(transferParams)
	if !ok || string(v) == "null" || len(v) > 0 && v[0] == '{' && len(bytes.Trim(v, "{} \t\r\n")) == 0 {
		return nil, nil
	}
	return v, nil
}

// decodeBody is the decode leg's request: the client's, in its own bytes, plus
// the parameters. Without parameters a kv_transfer_params of the client is
// taken out: it speaks of no prefill that this proxy made.
func decodeBody(original []byte, o object, params json.RawMessage) []byte {
	if params != nil {
		return o.with(transferParams, params).bytes()
	}
	if _, own := o.get(transferParams); own {
		return o.without(transferParams).bytes()
	}
	return original
}

// skipSpace is the first index from i on that holds no JSON white space.
func skipSpace(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\t' || b[i] == '\n' || b[i] == '\r') {
		i++
	}
	return i
}

// stringEnd is the index behind the string that starts at i.
func stringEnd(b []byte, i int) int {
	for i++; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(b)
}

// valueEnd is the index behind the value that starts at i.
func valueEnd(b []byte, i int) int {
	depth := 0
	for i < len(b) {
		switch b[i] {
		case '"':
			i = stringEnd(b, i)
			if depth == 0 {
				return i
			}
			continue
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 {
				return i // the end of the object that a number or a literal is the last value of
			}
			if depth--; depth == 0 {
				return i + 1
			}
		case ',', ' ', '\t', '\n', '\r':
			if depth == 0 {
				return i
			}
		}
		i++
	}
	return i
}
