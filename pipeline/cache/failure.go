package cache

import (
	"errors"
	"syscall"
)

// failed is an error about what could not be done and, where the disk is to
// blame, what to do about it. Of several in a chain the innermost says that.
type failed struct {
	what string
	err  error
	hint string
}

func failure(what string, err error) error { return &failed{what, err, Hint(err)} }

func (f *failed) Error() string { return f.what + ": " + f.err.Error() + f.hint }

// Unwrap returns why it could not be done.
func (f *failed) Unwrap() error { return f.err }

// NoRoom reports whether an error says that nothing can be written any more:
// the disk is full or read-only, or files must not grow so large. What else is
// tried would end likewise.
func NoRoom(err error) bool {
	for _, e := range []error{syscall.ENOSPC, syscall.EDQUOT, syscall.EROFS, syscall.EFBIG} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// Hint says what to do about an error of the disk, to be put behind its text;
// it is "" for another error, and for one whose text says it already.
func Hint(err error) string {
	var said *failed
	if errors.As(err, &said) && said.hint != "" {
		return ""
	}
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return "; make room there (vbp prune removes old results), then run the same command again: what is finished is kept"
	case errors.Is(err, syscall.EROFS), errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM):
		return "; make that folder writable, or choose another one with --results"
	case errors.Is(err, syscall.EFBIG):
		return "; files may not be that large here: raise the limit (ulimit -f), then run the same command again: what is finished is kept"
	}
	return ""
}
