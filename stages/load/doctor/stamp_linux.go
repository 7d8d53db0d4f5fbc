package doctor

import (
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// stamps says whether the kernel tells when it received what is read from a
// TCP connection: with them a client knows when an event came, not when it got
// round to reading it.
func stamps() bool {
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return false
	}
	defer ln.Close()
	out, err := net.Dial("tcp4", ln.Addr().String())
	if err != nil {
		return false
	}
	defer out.Close()
	in, err := ln.Accept()
	if err != nil {
		return false
	}
	defer in.Close()
	in.SetDeadline(time.Now().Add(time.Second))
	raw, err := in.(*net.TCPConn).SyscallConn()
	if err != nil {
		return false
	}
	var failed error
	if err := raw.Control(func(fd uintptr) {
		failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1)
	}); err != nil || failed != nil {
		return false
	}
	// The kernel switches stamps on some time after they were asked for.
	for range 50 {
		if _, err := out.Write([]byte{1}); err != nil {
			return false
		}
		if stamped(raw) {
			return true
		}
		time.Sleep(2 * time.Millisecond)
	}
	return false
}

// stamped reads once and says whether it was told when that arrived.
func stamped(raw syscall.RawConn) bool {
	var data [64]byte
	var control [64]byte
	var failed error
	n := 0
	if err := raw.Read(func(fd uintptr) bool {
		_, n, _, _, failed = unix.Recvmsg(int(fd), data[:], control[:], unix.MSG_DONTWAIT)
		return failed != unix.EAGAIN
	}); err != nil || failed != nil {
		return false
	}
	messages, err := unix.ParseSocketControlMessage(control[:n])
	if err != nil {
		return false
	}
	for _, m := range messages {
		if m.Header.Level == unix.SOL_SOCKET && m.Header.Type == unix.SCM_TIMESTAMPNS {
			return true
		}
	}
	return false
}
