package metronome

import (
	"fmt"
	"os/exec"
	"runtime"

	"golang.org/x/sys/unix"
)

// Cores are the numbers of the processors that this thread may use, as Config
// and StartOn take them: from 1, so that 0 can stand for any.
func Cores() []int {
	var set unix.CPUSet
	if unix.SchedGetaffinity(0, &set) != nil {
		return nil
	}
	var out []int
	for i := range len(set) * 64 {
		if set.IsSet(i) {
			out = append(out, i+1)
		}
	}
	return out
}

// bind keeps this thread on one core.
func bind(core int) error {
	var set unix.CPUSet
	set.Set(core - 1)
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		return fmt.Errorf("keep to processor %d: %w", core-1, err)
	}
	return nil
}

// StartOn starts a process that keeps, with all its threads, to one core: a
// process inherits the affinity of the thread that starts it. Core 0 is any.
func StartOn(cmd *exec.Cmd, core int) error {
	if core == 0 {
		return cmd.Start()
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var before unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		return err
	}
	if err := bind(core); err != nil {
		return err
	}
	defer unix.SchedSetaffinity(0, &before)
	return cmd.Start()
}
