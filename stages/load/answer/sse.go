package answer

import "bytes"

// maxEvent bounds what is kept of an event whose end does not come. The
// largest real ones, with log probabilities, have tens of kilobytes.
const maxEvent = 2 << 20

// maxAstray is how long a line may be in what has had no event and is no field
// of one: a page, or a file.
const maxAstray = 64 << 10

// scanner cuts a byte stream into server-sent events, after the event stream
// format of the HTML standard (section 9.2.6): lines of "field: value", an
// empty line ends an event, lines that begin with a colon are comments,
// several data lines of one event are joined by newlines. Lines end with \n or
// \r\n; a lone \r, which the format allows and no server of this field sends,
// is not an end.
//
// Two departures, since a failure must not look like silence: an event called
// error without data, which the format drops, is returned with its comment for
// data (Dynamo reports errors that way), and the first line that is a JSON
// object without a field is kept (servers that fail late write one into the
// stream).
//
// It is pulled: next returns one event after the other from what was read, and
// keeps what is cut off for the next read. While an event lies within one
// read, nothing is copied or allocated.
type scanner struct {
	line    []byte // a line whose end has not come
	data    []byte // data lines of the event under way
	has     bool   // there is at least one in data
	named   bool   // the event under way is called error
	comment []byte // the first comment of the event under way; its beginning
	isError bool   // the event that next returned was called error
	over    bool   // an event exceeded maxEvent: the stream is not readable
	stray   []byte // the first line that looks like JSON outside of an event; its beginning
}

// mostAside bounds what is kept of a comment and of a stray line, of which
// only a message is shown.
const mostAside = 2 << 10

// next returns the data of the first event that ends in b, and what of b comes
// after it. The data is valid until b changes or next is called. When no event
// ends in b, ok is false and all of b has been taken in.
func (s *scanner) next(b []byte) (data, rest []byte, ok bool) {
	var only []byte // the one data line so far; it lies in b
	alone := false
	for {
		i := bytes.IndexByte(b, '\n')
		if i < 0 {
			if alone {
				s.join(only)
			}
			s.line = append(s.line, b...)
			s.over = s.over || len(s.line)+len(s.data) > maxEvent
			return nil, nil, false
		}
		line := b[:i]
		b = b[i+1:]
		resumed := len(s.line) > 0
		if resumed {
			s.line = append(s.line, line...)
			line = s.line
			s.line = s.line[:0] // its bytes stay until something is appended
		}
		if n := len(line); n > 0 && line[n-1] == '\r' {
			line = line[:n-1]
		}
		if len(line) == 0 {
			s.isError, s.named = s.named, false
			switch {
			case alone:
				s.comment = s.comment[:0]
				return only, b, true
			case s.has:
				data := s.data
				s.data, s.has = s.data[:0], false
				s.comment = s.comment[:0]
				return data, b, true
			case s.isError:
				data := s.comment
				s.comment = s.comment[:0]
				return data, b, true
			}
			s.comment = s.comment[:0]
			continue // nothing but comments or other fields
		}
		if line[0] == '{' {
			if s.stray == nil {
				s.stray = bytes.Clone(line[:min(len(line), mostAside)])
			}
			continue
		}
		field, value := line, line[len(line):]
		if j := bytes.IndexByte(line, ':'); j >= 0 {
			field, value = line[:j], line[j+1:]
			if len(value) > 0 && value[0] == ' ' {
				value = value[1:]
			}
		}
		switch string(field) {
		case "data":
			if !alone && !s.has && !resumed {
				only, alone = value, true
				continue
			}
			if alone {
				s.join(only)
				alone = false
			}
			s.join(value)
			s.over = s.over || len(s.data) > maxEvent
		case "event":
			s.named = string(value) == "error"
		case "":
			if len(s.comment) == 0 {
				s.comment = append(s.comment, value[:min(len(value), mostAside)]...)
			}
		}
	}
}

// between reports whether nothing is kept of what has been read: the next byte
// begins an event, or what is left of one can have no effect.
func (s *scanner) between() bool {
	return len(s.line) == 0 && len(s.comment) == 0 && !s.has && !s.named && !s.over
}

// astray reports whether what is read is no event stream, however long it goes
// on: its line is too long, and no field.
func (s *scanner) astray() bool {
	if len(s.line) < maxAstray {
		return false
	}
	for _, field := range []string{"data", "event", "id", "retry", ":"} {
		if bytes.HasPrefix(s.line, []byte(field)) {
			return false
		}
	}
	return true
}

// join adds a data line to the event under way.
func (s *scanner) join(value []byte) {
	if s.has {
		s.data = append(s.data, '\n')
	}
	s.data = append(s.data, value...)
	s.has = true
}
