package workload

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// span is a part of a text: [from, to). The zero value is no part.
type span struct{ from, to int }

// conversation is where the parts of an entry of a sharegpt file are that its
// prompts are made of.
type conversation struct {
	turns          int  // how many; -1 if it is not a conversation at all
	prompt, answer span // the JSON strings of turns 0 and 1, quotes included
}

// malformed tells whether it is none, or one of its first two turns has no
// text. One of fewer turns is in form, though of no use.
func (c conversation) malformed() bool {
	return c.turns < 0 || c.turns >= 2 && (c.prompt.to == 0 || c.answer.to == 0)
}

// errShort says that a JSON value does not end within what is there of it.
var errShort = errors.New("the value is not complete")

// maxDepth is how deep values may lie in each other, so that no file can
// exhaust the stack. Conversations need 3.
const maxDepth = 500

// parseConversation reads the JSON value that b begins with. It finds the
// parts that are needed, checks all the rest, decodes nothing and allocates
// nothing: encoding/json needs 3 s for what this does in .5 s. n is the
// value's length. The error is errShort, or says what is not JSON.
func parseConversation(b []byte) (c conversation, n int, err error) {
	c.turns = -1
	p := parser{b: b}
	if p.peek() != '{' {
		err = p.skip(0)
		return c, p.at, err
	}
	err = p.object(0, func(key span) error {
		if !p.is(key, "conversations") {
			return p.skip(1)
		}
		c = conversation{turns: -1} // of two equal keys the last one counts
		if p.peek() != '[' {
			return p.skip(1)
		}
		c.turns = 0
		return p.array(1, func(i int) error {
			c.turns = i + 1
			if i > 1 || p.peek() != '{' {
				return p.skip(2)
			}
			var text span
			err := p.object(2, func(key span) error {
				from := p.at
				is := p.is(key, "value")
				if is {
					text = span{}
				}
				is = is && p.peek() == '"'
				if err := p.skip(3); err != nil {
					return err
				}
				if is {
					text = span{from, p.at}
				}
				return nil
			})
			if i == 0 {
				c.prompt = text
			} else {
				c.answer = text
			}
			return err
		})
	})
	return c, p.at, err
}

// parser walks over one JSON value (RFC 8259).
type parser struct {
	b  []byte
	at int
}

// peek is the next byte; 0, which begins nothing in JSON, at the end.
func (p *parser) peek() byte {
	if p.at < len(p.b) {
		return p.b[p.at]
	}
	return 0
}

// space passes over what may stand between tokens.
func (p *parser) space() {
	for p.at < len(p.b) {
		switch p.b[p.at] {
		case ' ', '\n', '\t', '\r':
			p.at++
		default:
			return
		}
	}
}

// wrong is the error at the next byte.
func (p *parser) wrong(want string) error {
	if p.at >= len(p.b) {
		return errShort
	}
	return fmt.Errorf("%q where %s should be", p.b[p.at], want)
}

// expect passes over one byte and the space after it.
func (p *parser) expect(c byte, want string) error {
	if p.at >= len(p.b) || p.b[p.at] != c {
		return p.wrong(want)
	}
	p.at++
	p.space()
	return nil
}

// object passes over an object; member is called at the value of each key.
func (p *parser) object(depth int, member func(key span) error) error {
	return p.list(depth, '}', func(int) error {
		from := p.at
		if err := p.text(); err != nil {
			return err
		}
		key := span{from, p.at}
		p.space()
		if err := p.expect(':', "the : after a key"); err != nil {
			return err
		}
		return member(key)
	})
}

// array passes over an array; element is called at each.
func (p *parser) array(depth int, element func(i int) error) error {
	return p.list(depth, ']', element)
}

// list passes over what begins here and ends with the byte end, item at each
// thing in it. Space after it is left.
func (p *parser) list(depth int, end byte, item func(i int) error) error {
	if depth > maxDepth {
		return fmt.Errorf("values lie more than %d deep in each other", maxDepth)
	}
	p.at++
	p.space()
	if p.peek() == end {
		p.at++
		return nil
	}
	for i := 0; ; i++ {
		if err := item(i); err != nil {
			return err
		}
		p.space()
		if p.peek() == end {
			p.at++
			return nil
		}
		if err := p.expect(',', "a comma or "+string(end)); err != nil {
			return err
		}
	}
}

// skip passes over any value.
func (p *parser) skip(depth int) error {
	switch c := p.peek(); {
	case c == '{':
		return p.object(depth, func(span) error { return p.skip(depth + 1) })
	case c == '[':
		return p.array(depth, func(int) error { return p.skip(depth + 1) })
	case c == '"':
		return p.text()
	case c == '-' || c >= '0' && c <= '9':
		return p.number()
	}
	for _, word := range [...]string{"true", "false", "null"} {
		rest := p.b[p.at:]
		if bytes.HasPrefix(rest, []byte(word)) {
			p.at += len(word)
			return nil
		}
		if len(rest) < len(word) && bytes.HasPrefix([]byte(word), rest) {
			return errShort
		}
	}
	return p.wrong("a value")
}

// plain are the bytes that stand for themselves in a string.
var plain = func() (t [256]bool) {
	for c := range t {
		t[c] = c >= ' ' && c != '"' && c != '\\'
	}
	return t
}()

// text passes over a string.
func (p *parser) text() error {
	if p.peek() != '"' {
		return p.wrong("a string")
	}
	b, at := p.b, p.at+1
	defer func() { p.at = at }()
	for {
		for at < len(b) && plain[b[at]] {
			at++
		}
		if at >= len(b) {
			return errShort
		}
		switch b[at] {
		case '"':
			at++
			return nil
		case '\\':
			n := 2
			if at+1 < len(b) && b[at+1] == 'u' {
				n = 6
			}
			if at+n > len(b) {
				return errShort
			}
			if !escape(b[at : at+n]) {
				return fmt.Errorf("%q in a string, which means nothing", b[at:at+n])
			}
			at += n
		default:
			return fmt.Errorf("the bare byte %q in a string", b[at])
		}
	}
}

// escape tells whether b is an escape sequence.
func escape(b []byte) bool {
	if b[1] != 'u' {
		return bytes.IndexByte([]byte(`"\/bfnrt`), b[1]) >= 0
	}
	for _, c := range b[2:] {
		if (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'f') {
			return false
		}
	}
	return true
}

// number passes over a number. One that ends with b may go on, so that it is
// short.
func (p *parser) number() error {
	from := p.at
	for p.at < len(p.b) && bytes.IndexByte([]byte("+-.eE0123456789"), p.b[p.at]) >= 0 {
		p.at++
	}
	if p.at == len(p.b) {
		return errShort
	}
	if number := p.b[from:p.at]; !json.Valid(number) {
		p.at = from
		return fmt.Errorf("%q, which is not a number", number)
	}
	return nil
}

// is tells whether a string is this one.
func (p *parser) is(s span, want string) bool {
	raw := p.b[s.from:s.to]
	if bytes.IndexByte(raw, '\\') < 0 {
		return string(raw[1:len(raw)-1]) == want
	}
	return unquote(raw) == want
}

// unquote decodes a JSON string that was parsed.
func unquote(raw []byte) string {
	var s string
	_ = json.Unmarshal(raw, &s) // a string in form; bytes that are not UTF-8 become U+FFFD
	return s
}
