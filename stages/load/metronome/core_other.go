//go:build !linux

package metronome

import "os/exec"

// Cores is empty: this system binds no thread to a processor.
func Cores() []int { return nil }

// StartOn starts a process. This system does not bind it to a core.
func StartOn(cmd *exec.Cmd, core int) error { return cmd.Start() }
