//go:build unix

package doctor

import (
	"syscall"

	"vbp/stages/load/limits"
)

// raiseFiles lets this process open as many files as it may, which for root is
// more than the hard limit, and returns how many.
func raiseFiles() uint64 {
	const enough = 1 << 16
	l := limits.Now()
	if l.Files >= enough {
		return uint64(l.Files)
	}
	more := syscall.Rlimit{Cur: enough, Max: uint64(max(enough, l.FilesHard))}
	if syscall.Setrlimit(syscall.RLIMIT_NOFILE, &more) == nil {
		return enough
	}
	return uint64(l.Files)
}
