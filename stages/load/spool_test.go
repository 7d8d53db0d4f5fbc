package load

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"vbp/stages/sample"
)

// Rows of all sizes, and more of them than a block takes, are read back from
// where they were put, in any order.
func TestSpoolGivesBackWhatItWasGiven(t *testing.T) {
	for _, path := range []string{"", filepath.Join(t.TempDir(), "rows")} {
		s, err := newSpool(path, func(err error) { t.Error(err) })
		if err != nil {
			t.Fatal(err)
		}
		const n = 5000
		var at []int64
		row := func(i int) sample.Outcome {
			o := sample.NewOutcome("")
			o.Sent, o.Outcome = int64(i), sample.OK
			o.Gaps = make([]int32, i%300)
			if i == 17 || i == n-1 { // larger than a block, and than what is guessed
				o.Error = strings.Repeat("x", spoolBlock+i)
			}
			for j := range o.Gaps {
				o.Gaps[j] = int32(i * j)
			}
			return o
		}
		for i := range n {
			o := row(i)
			at = append(at, s.add(i, 0, &o))
			clear(o.Gaps) // it is ours again
		}
		if err := s.finish(); err != nil {
			t.Fatal(err)
		}
		var buf []byte
		var r rowReader
		for k := range n {
			i := (k * 1327) % n // prime to n: each once
			var b []byte
			if b, buf, err = s.read(at[i], buf); err != nil {
				t.Fatal(err)
			}
			got, o, err := r.read(b, func(int) (int64, bool) { return 0, true })
			if err != nil || got != i {
				t.Fatalf("row %d is that of request %d: %v", i, got, err)
			}
			want := row(i)
			want.Scheduled = 0
			if err := same(o, want); err != nil {
				t.Fatalf("row %d: %v", i, err)
			}
		}
		if err := s.close(); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(path); path != "" && !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the file is left: %v", err)
		}
	}
}

// A disk that is full is told at once, and again at the end.
func TestSpoolSaysThatItCannotWrite(t *testing.T) {
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("this system has no /dev/full, the device that is always full")
	}
	path := filepath.Join(t.TempDir(), "rows")
	if err := os.Symlink("/dev/full", path); err != nil {
		t.Fatal(err)
	}
	told := make(chan error, 1)
	s, err := newSpool(path, func(err error) { told <- err }) // would block if called twice
	if err != nil {
		t.Fatal(err)
	}
	o := sample.NewOutcome("")
	o.Error = strings.Repeat("x", spoolBlock)
	for i := range 3 {
		s.add(i, 0, &o)
	}
	err = <-told
	if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), path) {
		t.Errorf("it says %v", err)
	}
	if last := s.finish(); !errors.Is(last, syscall.ENOSPC) {
		t.Errorf("at the end it says %v", last)
	}
	if err := s.close(); err != nil {
		t.Error(err)
	}
}
