package load

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"vbp/stages/sample"
)

// spoolBlock is how many bytes of rows are written at once: some thousand rows,
// few enough to weigh nothing and many enough that writing is cheap.
const spoolBlock = 256 << 10

// spool keeps rows in the order in which their requests ended, in a file or in
// memory, append-only: blocks of records, each of them a row behind its length
// (row.go). Adding never waits for a disk: full blocks queue for a goroutine
// that writes them.
//
// A position of a row is where its record begins: in the file, or in memory
// the number of its block in the upper 32 bits and the place in it below.
type spool struct {
	file *os.File
	path string

	block  []byte // is being filled
	base   int64  // position of its first byte
	row    []byte // the record in the making
	memory [][]byte

	mu      sync.Mutex
	full    [][]byte      // blocks to be written
	free    []byte        // a block to be filled again; nil: none
	more    chan struct{} // holds a token while there is something to write, is closed at the end
	writing sync.WaitGroup
	err     error // why the file cannot be used
}

// newSpool keeps rows in a new file at path, or in memory if that is "". failed
// is called once, by another goroutine, if the file cannot be written.
func newSpool(path string, failed func(error)) (*spool, error) {
	s := &spool{path: path}
	if path == "" {
		return s, nil
	}
	var err error
	if s.file, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600); err != nil {
		return nil, fmt.Errorf("load: keeping rows while measuring: %w", err)
	}
	s.more = make(chan struct{}, 1)
	s.writing.Go(func() { s.write(failed) })
	return s, nil
}

// write is the goroutine that writes full blocks, until more is closed.
func (s *spool) write(failed func(error)) {
	for range s.more {
		for {
			s.mu.Lock()
			if len(s.full) == 0 {
				s.mu.Unlock()
				break
			}
			block := s.full[0]
			s.full = s.full[1:]
			s.mu.Unlock()
			_, err := s.file.Write(block)
			s.mu.Lock()
			s.free = block[:0]
			first := err != nil && s.err == nil
			if first {
				s.err = fmt.Errorf("load: keeping rows in %s while measuring: %w; there must be some 100 bytes for each request and 2 for each token", s.path, err)
				err = s.err
			}
			s.mu.Unlock()
			if first {
				failed(err)
			}
		}
	}
}

// add keeps the row of request i, and returns its position. One call at a time.
func (s *spool) add(i int, scheduled int64, o *sample.Outcome) int64 {
	var length [binary.MaxVarintLen64]byte
	s.row = appendRow(s.row[:0], i, scheduled, o)
	n := binary.PutUvarint(length[:], uint64(len(s.row)))
	if size := n + len(s.row); len(s.block)+size > cap(s.block) {
		s.next(size)
	}
	at := s.base + int64(len(s.block))
	s.block = append(append(s.block, length[:n]...), s.row...)
	return at
}

// next begins a block with room for size bytes.
func (s *spool) next(size int) {
	s.flush()
	if s.file == nil {
		s.base = int64(len(s.memory)) << 32
		s.block = make([]byte, 0, max(size, spoolBlock))
		return
	}
	s.mu.Lock()
	s.block, s.free = s.free, nil
	s.mu.Unlock()
	if cap(s.block) < size {
		s.block = make([]byte, 0, max(size, spoolBlock))
	}
}

// flush ends the block.
func (s *spool) flush() {
	switch {
	case len(s.block) == 0:
	case s.file == nil:
		s.memory = append(s.memory, s.block)
	default:
		s.base += int64(len(s.block))
		s.mu.Lock()
		s.full = append(s.full, s.block)
		s.mu.Unlock()
		signal(s.more)
	}
	s.block = nil
}

// finish returns when all rows can be read. Nothing may be added afterwards.
func (s *spool) finish() error {
	s.flush()
	s.row = nil
	if s.file == nil {
		return nil
	}
	close(s.more)
	s.writing.Wait()
	s.free = nil
	return s.err
}

// recordGuess is what is read of a file in the hope that it holds a whole
// record: that of some thousand tokens.
const recordGuess = 2 << 10

// read is the row at a position, its length taken off. It may use buf, and
// what it returns is valid until buf is used again. Safe for concurrent use.
func (s *spool) read(at int64, buf []byte) (row, used []byte, err error) {
	if s.file == nil {
		block := s.memory[at>>32][at&(1<<32-1):]
		size, n := binary.Uvarint(block)
		return block[n:][:size], buf, nil
	}
	if buf == nil {
		buf = make([]byte, recordGuess)
	}
	got, err := s.file.ReadAt(buf[:recordGuess], at)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, buf, fmt.Errorf("load: reading rows back: %w", err)
	}
	size, n := binary.Uvarint(buf[:got])
	if n <= 0 || size > 1<<40 {
		return nil, buf, errRow
	}
	if whole := n + int(size); whole > got {
		if got < recordGuess { // the file ends within
			return nil, buf, errRow
		}
		if whole > len(buf) {
			buf = make([]byte, whole)
		}
		if _, err := s.file.ReadAt(buf[:whole], at); err != nil {
			return nil, buf, fmt.Errorf("load: reading rows back: %w", err)
		}
	}
	return buf[n:][:size], buf, nil
}

// close removes the file.
func (s *spool) close() error {
	s.memory = nil
	if s.file == nil {
		return nil
	}
	return errors.Join(s.file.Close(), os.Remove(s.path))
}
