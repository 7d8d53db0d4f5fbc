//go:build linux && (amd64 || arm64)

package load_test

import (
	"net"
	"net/netip"
	"os"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"

	"vbp/stages/load"
	"vbp/stages/load/loop"
)

var kinds = []kind{
	{netHTTP, func() load.Transport { return fenced{load.NewHTTP()} }},
	{epoll, func() load.Transport { return newLoop(loop.Options{}) }},
}

func newLoop(o loop.Options) load.Transport {
	t, err := loop.New(o)
	if err != nil {
		panic(err)
	}
	return fenced{t}
}

// settle returns when the client has read all that was written to it, or has
// closed the connection. The client is in this process: its socket is looked
// for among the open files, and asked how much of it is unread.
func (c *conn) settle() {
	peer := c.RemoteAddr().(*net.TCPAddr).AddrPort()
	for {
		fd, ok := socketOf(peer, c.LocalAddr().(*net.TCPAddr).AddrPort())
		if !ok {
			return
		}
		for {
			n, err := unix.IoctlGetInt(fd, unix.TIOCINQ)
			if err != nil {
				break // closed
			}
			if n == 0 {
				return
			}
			runtime.Gosched()
			if !isSocket(fd, peer, c.LocalAddr().(*net.TCPAddr).AddrPort()) {
				break
			}
		}
	}
}

// socketOf finds the open socket with these addresses.
func socketOf(local, remote netip.AddrPort) (int, bool) {
	d, err := os.Open("/proc/self/fd")
	if err != nil {
		return 0, false
	}
	defer d.Close()
	names, _ := d.Readdirnames(-1)
	for _, name := range names {
		if fd, err := strconv.Atoi(name); err == nil && isSocket(fd, local, remote) {
			return fd, true
		}
	}
	return 0, false
}

func isSocket(fd int, local, remote netip.AddrPort) bool {
	here, err := unix.Getsockname(fd)
	if err != nil || addrPort(here) != local {
		return false
	}
	there, err := unix.Getpeername(fd)
	return err == nil && addrPort(there) == remote
}

func addrPort(a unix.Sockaddr) netip.AddrPort {
	switch a := a.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr).Unmap(), uint16(a.Port))
	}
	return netip.AddrPort{}
}
