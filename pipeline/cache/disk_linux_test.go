package cache

import (
	"os"

	"golang.org/x/sys/unix"
)

// mountSmall mounts a disk of one megabyte.
func mountSmall(dir string) (restore func(), err error) {
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		return nil, err
	}
	return func() { _ = unix.Unmount(dir, unix.MNT_DETACH) }, nil
}

// makeReadOnly lets nobody write below dir: by its permissions, or, for a user
// whom those do not stop, by a mount.
func makeReadOnly(dir string) (restore func(), err error) {
	if os.Geteuid() != 0 {
		if err := chmodAll(dir, 0o555); err != nil {
			return nil, err
		}
		return func() { _ = chmodAll(dir, 0o755) }, nil
	}
	if err := unix.Mount(dir, dir, "", unix.MS_BIND, ""); err != nil {
		return nil, err
	}
	restore = func() { _ = unix.Unmount(dir, unix.MNT_DETACH) }
	if err := unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""); err != nil {
		restore()
		return nil, err
	}
	return restore, nil
}
