package load

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"unicode/utf8"

	"vbp/stages/load/workload"
)

// reserved are the fields of a body that are not the user's to set: they come
// from the dataset or are what makes an answer measurable.
var reserved = []string{"model", "prompt", "messages", "max_tokens", "stream", "stream_options", "ignore_eos"}

// optional are those that the user can leave out, by null, for a server that
// refuses them.
var optional = []string{"max_tokens", "stream_options"}

// leavesOut reports whether the user has an optional field left out.
func (c *Config) leavesOut(field string) bool {
	value, said := c.Body[field]
	return said && value == nil && slices.Contains(optional, field)
}

// answerLimit is how many output tokens requests ask for, by max_tokens or by
// the user's max_completion_tokens.
type answerLimit struct {
	own  bool  // max_tokens is sent
	user int64 // max_completion_tokens, if it is above 0
}

func (c *Config) answerLimit() answerLimit {
	l := answerLimit{own: !c.leavesOut("max_tokens")}
	if value, said := c.Body["max_completion_tokens"]; said {
		if b, err := marshal(value); err == nil {
			if n, err := strconv.ParseInt(string(b), 10, 64); err == nil {
				l.user = n
			}
		}
	}
	return l
}

// of is how many tokens the request of a prompt with so many max_tokens asks
// for; the lower number where both are sent, as servers differ in which they
// follow. 0: none that is known here, as the server's own limit is not.
func (l answerLimit) of(maxTokens int) int64 {
	switch {
	case l.own && l.user > 0:
		return min(int64(maxTokens), l.user)
	case l.own:
		return int64(maxTokens)
	}
	return l.user
}

// renderer makes the bodies of requests. It is not changed by use.
type renderer struct {
	head, tail []byte
	chat       bool
	maxTokens  bool // is sent
}

// renderer prepares what all bodies have in common. Usage is asked for: the
// number of tokens is not the number of events.
func (c *Config) renderer() (*renderer, error) {
	tail := []byte(`,"stream":true`)
	if !c.leavesOut("stream_options") {
		tail = append(tail, `,"stream_options":{"include_usage":true}`...)
	}
	if c.IgnoreEOS {
		tail = append(tail, `,"ignore_eos":true`...)
	}
	for _, key := range slices.Sorted(maps.Keys(c.Body)) {
		if c.leavesOut(key) {
			continue
		}
		value, err := marshal(c.Body[key])
		if err != nil {
			return nil, fmt.Errorf("load: body: value of %q: %w", key, err)
		}
		tail = append(append(appendString(append(tail, ','), key), ':'), value...)
	}
	return &renderer{
		head: append(appendString([]byte(`{"model":`), c.Model), ','),
		tail: append(tail, '}'),
		chat: c.API == Chat, maxTokens: !c.leavesOut("max_tokens"),
	}, nil
}

// render is the body that asks p.
func (r *renderer) render(p *workload.Prompt) []byte {
	size := len(r.head) + len(r.tail) + 80 // for names and max_tokens
	if p.IDs != nil {
		size += 7 * len(p.IDs) // of six digits
	} else {
		size += len(p.Text) + len(p.Text)/8 // for escapes: line breaks and quotes
	}
	b := append(make([]byte, 0, size), r.head...)
	switch {
	case p.IDs != nil:
		b = append(b, `"prompt":[`...)
		for i, id := range p.IDs {
			if i > 0 {
				b = append(b, ',')
			}
			b = strconv.AppendInt(b, int64(id), 10)
		}
		b = append(b, ']')
	case r.chat:
		b = append(appendString(append(b, `"messages":[{"role":"user","content":`...), p.Text), "}]"...)
	default:
		b = appendString(append(b, `"prompt":`...), p.Text)
	}
	if r.maxTokens {
		b = strconv.AppendInt(append(b, `,"max_tokens":`...), int64(p.MaxTokens), 10)
	}
	return append(b, r.tail...)
}

// appendString appends s as JSON: what must be escaped and no more, so that a
// prompt's size on the wire is that of its text. Bytes that are no UTF-8 become
// U+FFFD.
func appendString(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	from := 0 // where what was not yet appended begins
	for i := 0; i < len(s); {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' && c < utf8.RuneSelf {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			v, size := utf8.DecodeRuneInString(s[i:])
			if v == utf8.RuneError && size == 1 {
				b = append(append(b, s[from:i]...), "\uFFFD"...)
				from = i + size
			}
			i += size
			continue
		}
		b = append(append(b, s[from:i]...), '\\')
		switch c {
		case '"', '\\':
			b = append(b, c)
		case '\n':
			b = append(b, 'n')
		case '\r':
			b = append(b, 'r')
		case '\t':
			b = append(b, 't')
		case '\b':
			b = append(b, 'b')
		case '\f':
			b = append(b, 'f')
		default:
			b = append(b, 'u', '0', '0', hex[c>>4], hex[c&15])
		}
		i++
		from = i
	}
	return append(append(b, s[from:]...), '"')
}

// idStem is what the ids of a point's requests have in common.
type idStem string

func newIDStem(prefix string) idStem {
	h := sha256.Sum256([]byte(prefix))
	h[6] = h[6]&0x0f | 0x40 // version 4
	h[8] = h[8]&0x3f | 0x80 // variant of RFC 9562
	return idStem(fmt.Sprintf("%x-%x-%x-%x-%x", h[:4], h[4:6], h[6:8], h[8:10], h[10:12]))
}

// of is the id of request i.
func (s idStem) of(i int) string {
	const hex = "0123456789abcdef"
	var b [36]byte
	n := copy(b[:], s)
	for ; n < len(b); n++ {
		b[n] = hex[uint32(i)>>(4*(len(b)-1-n))&15]
	}
	return string(b[:])
}

// RequestID is what request i of a point is called in its row and in the
// header X-Request-Id: a UUID, since some servers (those on starlette-context,
// such as llama-cpp-python) refuse with 400 what is none. Its last eight
// digits are i in hexadecimal, the others follow from the prefix.
func RequestID(prefix string, i int) string { return newIDStem(prefix).of(i) }

// marshal is JSON without the escapes that only matter inside HTML.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimRight(b.Bytes(), "\n"), nil
}
