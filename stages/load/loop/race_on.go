//go:build race && linux

package loop

import "syscall"

// The race detector sees what one side of a connection did before it wrote as
// done before the other side reads, as far as both use package syscall. The
// calls in socket.go pass it by, so that a program that holds client and server,
// as tests do, would be told of races that are none. In a build with the
// detector each send and read is accompanied by one that it sees.

var null, _ = syscall.Open("/dev/null", syscall.O_RDWR|syscall.O_CLOEXEC, 0)

// beforeSend orders everything up to now before whatever is read later.
func beforeSend() { syscall.Write(null, []byte{0}) }

// afterRead orders everything that was written earlier before what follows.
func afterRead() {
	var b [1]byte
	syscall.Read(null, b[:])
}
