package workload

import (
	"crypto/sha256"
	"errors"
	"strings"
	"testing"
	"testing/iotest"
)

func TestWindowMovesOverAFile(t *testing.T) {
	const text = "  \n [1234567890]  x"
	w := newWindow(iotest.OneByteReader(strings.NewReader(text)))
	w.buf = make([]byte, 0, 4) // smaller than what is asked for at a time
	if c, ok := w.byte(); !ok || c != '[' || w.offset() != 4 {
		t.Fatalf("%q at %d, %v", c, w.offset(), ok)
	}
	if !w.has(12) || string(w.rest()[:12]) != "[1234567890]" {
		t.Fatalf("the rest is %q", w.rest())
	}
	w.pass(12)
	if c, ok := w.byte(); !ok || c != 'x' || w.offset() != int64(len(text)-1) {
		t.Errorf("%q at %d, %v", c, w.offset(), ok)
	}
	if w.has(2) {
		t.Error("more than the file has")
	}
	if sum, err := w.sum(); err != nil || [32]byte(sum) != sha256.Sum256([]byte(text)) {
		t.Errorf("sum %x, %v", sum, err)
	}
	if _, ok := w.byte(); ok || w.offset() != int64(len(text)) {
		t.Errorf("at the end: %v at %d", ok, w.offset())
	}
}

func TestWindowTellsOfErrors(t *testing.T) {
	bad := errors.New("the disk is broken")
	w := newWindow(iotest.ErrReader(bad))
	if _, ok := w.byte(); ok || !errors.Is(w.err, bad) {
		t.Errorf("%v, error %v", ok, w.err)
	}
	if _, err := w.sum(); !errors.Is(err, bad) {
		t.Errorf("sum: %v", err)
	}
}
