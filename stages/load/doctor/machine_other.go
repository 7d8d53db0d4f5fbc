//go:build !linux

package doctor

import (
	"context"
	"time"
)

// system tells nothing of itself here.
func (m *Machine) system() {}

// others is not known here.
func others(context.Context, time.Duration) (busy, stolen float64) { return 0, 0 }

// timers is how late a sleep ends.
func timers(ctx context.Context, n int) Spread {
	var late []float64
	for len(late) < n && ctx.Err() == nil {
		due := time.Now().Add(time.Millisecond)
		time.Sleep(time.Millisecond)
		late = append(late, float64(time.Since(due)))
	}
	return spread(late)
}

// stamps: no transport asks this system for them.
func stamps() bool { return false }
