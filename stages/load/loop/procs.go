package loop

import (
	"runtime"
	"sync"
)

// procs counts the loops that run. Each holds a thread, and while it handles
// what came also one of the GOMAXPROCS slots in which Go code runs; back from
// the kernel it must find one free at once, whatever else this process does. So
// there is one more for each.
var procs struct {
	sync.Mutex
	loops int
	own   int // GOMAXPROCS without them
}

// reserve makes room for so many loops, and returns what takes it away again.
func reserve(loops int) (release func()) {
	change := func(by int) {
		procs.Lock()
		defer procs.Unlock()
		if procs.loops == 0 {
			procs.own = runtime.GOMAXPROCS(0)
		}
		procs.loops += by
		runtime.GOMAXPROCS(procs.own + procs.loops)
	}
	change(loops)
	return func() { change(-loops) }
}
