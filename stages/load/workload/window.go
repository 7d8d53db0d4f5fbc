package workload

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
)

// window is a part of a file that moves over it to the end and hashes what it
// reads.
type window struct {
	in   io.Reader
	hash hash.Hash
	buf  []byte
	from int   // of buf, where the part that was not passed begins
	base int64 // of the file, where buf begins
	err  error // of reading, io.EOF left out
	end  bool  // there is no more to read
}

// windowSize is what is read at a time. It is a thousand times an entry, so
// that few entries are parsed twice because they lie across an end.
const windowSize = 4 << 20

// maxEntry is the most that may have to be held at a time. A conversation of
// that size would be no prompt; reading on would fill the memory.
const maxEntry = 1 << 30

func newWindow(in io.Reader) *window {
	return &window{in: in, hash: sha256.New(), buf: make([]byte, 0, windowSize)}
}

// rest is what was read and not passed yet. It is good until more is called.
func (w *window) rest() []byte { return w.buf[w.from:] }

// offset is where in the file the rest begins.
func (w *window) offset() int64 { return w.base + int64(w.from) }

// pass moves on by n bytes of the rest.
func (w *window) pass(n int) { w.from += n }

// more reads more after the rest. It is false when there is none.
func (w *window) more() bool {
	if w.end || w.err != nil {
		return false
	}
	n := copy(w.buf, w.rest())
	w.base, w.from, w.buf = w.offset(), 0, w.buf[:n]
	if n == cap(w.buf) {
		if n >= maxEntry {
			w.err = fmt.Errorf("one entry has more than %d bytes", maxEntry)
			return false
		}
		w.buf = append(make([]byte, 0, 2*n), w.buf...)
	}
	m, err := io.ReadFull(w.in, w.buf[n:cap(w.buf)])
	w.buf = w.buf[:n+m]
	w.hash.Write(w.buf[n:])
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		w.end = true
	case err != nil:
		w.err = err
	}
	return m > 0
}

// has tells whether the rest has n bytes, and reads on if need be.
func (w *window) has(n int) bool {
	for len(w.rest()) < n {
		if !w.more() {
			return false
		}
	}
	return true
}

// byte is the next byte that is no space; those before it are passed.
func (w *window) byte() (c byte, ok bool) {
	for w.has(1) {
		p := parser{b: w.rest()}
		p.space()
		w.pass(p.at)
		if len(w.rest()) > 0 {
			return w.rest()[0], true
		}
	}
	return 0, false
}

// sum reads all that is left and returns the SHA-256 of the file.
func (w *window) sum() ([]byte, error) {
	for w.pass(len(w.rest())); w.more(); w.pass(len(w.rest())) {
	}
	return w.hash.Sum(nil), w.err
}
