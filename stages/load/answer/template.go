package answer

import (
	"bytes"
	"encoding/json"
)

// template recognises, without parsing, events that differ from one that was
// parsed only in their text. Nearly all events of a stream do, so that two
// comparisons of bytes replace the JSON parser, and, where the event came as
// servers write it (one data line, an empty line), the scanner too.
//
// It never guesses: head and tail are the bytes around a string literal of
// which learn proved that it is the text, and match accepts only events in
// which exactly one string literal stands between the two.
type template struct {
	head, tail []byte // head begins with field and ends with the opening quote; tail begins with the closing one, and has the event's end
	ends       int    // bytes of tail that are the line's and the event's end: 2 or 4; 0: tail has none, the event having come in another form
	learned    int    // how often it was learned
	matched    int    // events recognised since
}

// field is what stands before an event's data.
const field = "data: "

// match reports whether data is such an event, and whether its text is not
// empty.
func (t *template) match(data []byte) (same, text bool) {
	if len(t.head) == 0 {
		return false, false
	}
	head, tail := t.head[len(field):], t.tail[:len(t.tail)-t.ends]
	n := len(data) - len(tail)
	if n < len(head) || string(data[n:]) != string(tail) || string(data[:len(head)]) != string(head) ||
		literal(data, len(head)) != n {
		return false, false
	}
	t.matched++
	return true, n > len(head)
}

// wire returns the length of the event at the beginning of b, from its field to
// its empty line, and whether its text is not empty; 0 if b does not begin
// with such an event, or not with the whole of it. ends must not be 0.
func (t *template) wire(b []byte) (n int, text bool) {
	h := len(t.head)
	if len(b) < h+len(t.tail) || string(b[:h]) != string(t.head) {
		return 0, false
	}
	end := literal(b, h)
	if end < 0 || len(b)-end < len(t.tail) || string(b[end:end+len(t.tail)]) != string(t.tail) {
		return 0, false
	}
	t.matched++
	return end + len(t.tail), end > h
}

// literal returns the index in b of the quote that ends the string literal
// whose text begins at from; -1 if it does not end in b, or has a line break,
// which JSON does not allow.
func literal(b []byte, from int) int {
	for at := from; ; {
		i := bytes.IndexByte(b[at:], '"')
		if i < 0 {
			return -1
		}
		at += i
		text := b[from:at]
		if bytes.IndexByte(text, '\\') < 0 || !escaped(text) {
			if bytes.IndexByte(text, '\n') >= 0 {
				return -1
			}
			return at
		}
		at++
	}
}

// escaped reports whether what follows text within a string literal is escaped
// by it: it ends with an odd number of backslashes.
func escaped(text []byte) bool {
	n := 0
	for n < len(text) && text[len(text)-1-n] == '\\' {
		n++
	}
	return n%2 == 1
}

// learn takes data, which was parsed as c, for the new template if it is a
// plain event: one choice with one text and nothing else to say.
func (t *template) learn(data []byte, c *chunk) {
	// A server whose every event differs (a counter, log probabilities) is
	// not learned from for ever.
	if t.learned >= 8 && t.matched < 4 {
		return
	}
	if len(c.Choices) != 1 || c.Choices[0].Finish != "" || c.Usage != nil {
		return
	}
	place := -1
	var literal []byte
	for i, v := range c.Choices[0].generated() {
		if !present(v) {
			continue
		}
		if place >= 0 || v[0] != '"' {
			return
		}
		place, literal = i, v
	}
	if place < 0 {
		return
	}
	// The literal's bytes may stand elsewhere too (a model called like the
	// token). The right place is the one in which another literal shows up
	// as the text.
	const probe = `"vbp probe"`
	trial := make([]byte, 0, len(data)+len(probe))
	for from, tries := 0, 0; tries < 8; tries++ {
		i := bytes.Index(data[from:], literal)
		if i < 0 {
			return
		}
		i += from
		from = i + 1
		end := i + len(literal)
		trial = append(append(append(trial[:0], data[:i]...), probe...), data[end:]...)
		var v chunk
		if json.Unmarshal(trial, &v) == nil && len(v.Choices) == 1 && string(v.Choices[0].generated()[place]) == probe {
			t.head = append(append(t.head[:0], field...), data[:i+1]...)
			t.tail, t.ends = append(t.tail[:0], data[end-1:]...), 0
			t.learned++
			t.matched = 0
			return
		}
	}
}

// frame learns from an event as it came, with all its lines, how the template's
// events begin and end, if it came in the usual form. It may be called for any
// event.
func (t *template) frame(event []byte) {
	if t.ends != 0 || len(t.head) == 0 || !bytes.HasPrefix(event, t.head) {
		return
	}
	for _, end := range []string{"\n\n", "\r\n\r\n"} {
		if quote := literal(event, len(t.head)); quote >= 0 && string(event[quote:]) == string(t.tail)+end {
			t.tail = append(t.tail, end...)
			t.ends = len(end)
			return
		}
	}
}
