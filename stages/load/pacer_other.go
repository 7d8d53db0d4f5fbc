//go:build !linux

package load

import (
	"context"
	"time"
)

// newWaiter returns the most exact waiter of this system.
func newWaiter(ctx context.Context) waiter { return newSleeper(ctx, 1500*time.Microsecond) }
