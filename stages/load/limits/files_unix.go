//go:build unix

package limits

import (
	"math"
	"syscall"
)

// files are the limits of open files now and at most; 0: there is none, or it
// is not known.
func files() (now, most int) {
	var l syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l) != nil {
		return 0, 0
	}
	known := func(v uint64) int {
		if v > math.MaxInt32 {
			return 0
		}
		return int(v)
	}
	return known(uint64(l.Cur)), known(uint64(l.Max))
}
