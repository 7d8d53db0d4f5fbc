//go:build linux && (amd64 || arm64)

package loop

import (
	"net/netip"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// socket opens a non-blocking TCP socket towards an address, that tells of
// every read when the kernel received what was read (stamped; false if it
// cannot).
func socket(to netip.Addr) (fd int, stamped bool, err error) {
	family := unix.AF_INET
	if to.Is6() {
		family = unix.AF_INET6
	}
	fd, err = unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if err != nil {
		return -1, false, err
	}
	// Without it a prompt's last segment would wait for an acknowledgement.
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
		unix.Close(fd)
		return -1, false, err
	}
	stamped = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1) == nil
	return fd, stamped, nil
}

// stamp has the kernel tell receive times for as long as this process lives. It
// begins to some ms after the first socket asks and ends with the last, so that a
// point would lack its first times if no socket outlived its own.
var stamp = sync.OnceFunc(func() {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1)
	}
})

// bind gives the socket a source address. The port is chosen when it is
// connected, so that a port may serve several servers.
func bind(fd int, from netip.Addr) error {
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1); err != nil {
		return err
	}
	return unix.Bind(fd, sockaddr(netip.AddrPortFrom(from, 0)))
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	to := &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
	if zone := a.Addr().Zone(); zone != "" {
		to.ZoneId = zoneIndex(zone)
	}
	return to
}

// Raw system calls, here and of poller, are those that cannot block: sockets are
// non-blocking, and the kernel does no more than it can at once. They are made
// without telling Go's scheduler, which would otherwise think about giving the
// thread's slot to somebody else.

// send writes what the socket takes.
func send(fd int, b []byte) (int, syscall.Errno) {
	beforeSend()
	for {
		n, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)),
			unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT, 0, 0)
		if errno != unix.EINTR {
			return int(n), errno
		}
	}
}

// receiver reads from sockets into one buffer, which the next read uses again.
type receiver struct {
	buffer  []byte
	vec     unix.Iovec
	msg     unix.Msghdr
	control [64]byte
}

// readBuffer is the size of one read: what a socket gathers while a busy loop
// is elsewhere, so that one call empties it.
const readBuffer = 64 << 10

func newReceiver() *receiver {
	r := &receiver{buffer: make([]byte, readBuffer)}
	r.vec.Base = &r.buffer[0]
	r.vec.SetLen(len(r.buffer))
	r.msg.Iov = &r.vec
	r.msg.SetIovlen(1)
	r.msg.Control = &r.control[0]
	return r
}

// read reads once, so many bytes at most, with the flags of recvmsg. stamp is
// when the kernel received the last of the bytes, in Unix ns; 0 if it does not
// say.
func (r *receiver) read(fd, most, flags int) (n int, stamp int64, errno syscall.Errno) {
	r.vec.SetLen(most)
	r.msg.SetControllen(len(r.control))
	for {
		got, _, e := unix.RawSyscall(unix.SYS_RECVMSG, uintptr(fd), uintptr(unsafe.Pointer(&r.msg)), uintptr(flags|unix.MSG_DONTWAIT))
		if e == unix.EINTR {
			continue
		}
		if e != 0 {
			return 0, 0, e
		}
		n = int(got)
		break
	}
	afterRead()
	const size = unix.SizeofCmsghdr
	if r.msg.Controllen >= size+16 {
		h := (*unix.Cmsghdr)(unsafe.Pointer(&r.control[0]))
		if h.Level == unix.SOL_SOCKET && h.Type == unix.SCM_TIMESTAMPNS {
			t := (*unix.Timespec)(unsafe.Pointer(&r.control[size]))
			stamp = t.Nano()
		}
	}
	return n, stamp, 0
}

// pending reports whether a read would not have to wait: there are bytes, or the
// connection has ended.
func pending(fd int) bool {
	var b [1]byte
	for {
		_, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), 1, unix.MSG_PEEK|unix.MSG_DONTWAIT, 0, 0)
		if errno != unix.EINTR {
			return errno != unix.EAGAIN
		}
	}
}

// socketError is what became of a connection that was being made.
func socketError(fd int) syscall.Errno {
	v, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err != nil {
		v = int(unix.EBADF)
	}
	return syscall.Errno(v)
}
