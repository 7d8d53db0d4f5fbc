//go:build unix && !linux

package cache

import (
	"errors"
	"os"
)

// mountSmall mounts a disk of one megabyte.
func mountSmall(string) (restore func(), err error) { return nil, errors.ErrUnsupported }

// makeReadOnly lets nobody write below dir, unless permissions do not stop
// this user.
func makeReadOnly(dir string) (restore func(), err error) {
	if os.Geteuid() == 0 {
		return nil, errors.New("permissions do not stop root")
	}
	if err := chmodAll(dir, 0o555); err != nil {
		return nil, err
	}
	return func() { _ = chmodAll(dir, 0o755) }, nil
}
