package stages

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"vbp/pipeline"
	"vbp/pipeline/cache"
)

// measures reports whether a plan starts or asks servers, so that it must have
// this machine to itself.
func measures(p *pipeline.Plan) bool {
	for _, d := range p.Decisions {
		if d.Node.Kind == pipeline.Service && d.Action == pipeline.Run {
			return true
		}
	}
	return false
}

// lockHost waits until no other vbp of this user measures on this machine, in
// whatever results folder: two loads at a time would measure each other. The
// lock is the kernel's and ends with the process.
func lockHost(ctx context.Context, what string, notice func(string)) (*cache.Lock, error) {
	dir := filepath.Join(os.TempDir(), fmt.Sprintf("vbp-%d", os.Getuid()))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("cannot make the folder of this machine's lock: %w", err)
	}
	told := false
	for {
		lock, holder, err := cache.TryLock(filepath.Join(dir, "host.lock"), what)
		if lock != nil || err != nil {
			return lock, err
		}
		if !told {
			notice(fmt.Sprintf("waiting: %s measures on this machine (%s)", holder, holder.What))
			told = true
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(200 * time.Millisecond):
		}
	}
}
