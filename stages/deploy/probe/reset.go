package probe

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// ErrCacheInUse says that a server has a prefix cache to empty but did not,
// since blocks of it are held.
var ErrCacheInUse = errors.New("the prefix cache is in use by unfinished requests, or holds KV that nobody has fetched yet")

const (
	// ResetLimit is how long a cache that is in use is waited for. vLLM holds
	// KV that no decode instance fetches for a lease of 30 s; what is held
	// longer does not become free by waiting.
	ResetLimit = 35 * time.Second

	// resetStep lies between two tries: short beside a point's cooldown, long
	// beside what the question costs the server.
	resetStep = 500 * time.Millisecond
)

// ResetPrefixCache asks the server to empty its prefix cache and says whether
// it did: vLLM at /reset_prefix_cache, SGLang at /flush_cache. One that has no
// such request (vLLM has it only with VLLM_SERVER_DEV_MODE=1) gives false and
// no error, one that could not because of what it holds an ErrCacheInUse.
func (s *Server) ResetPrefixCache(ctx context.Context) (bool, error) {
	body, err := s.do(ctx, http.MethodPost, "/reset_prefix_cache", nil)
	if Missing(err) {
		// SGLang refuses with 400 while it has requests.
		if _, err = s.do(ctx, http.MethodPost, "/flush_cache", nil); Missing(err) {
			return false, nil
		}
		if Status(err) == http.StatusBadRequest {
			err = fmt.Errorf("%w: %w", ErrCacheInUse, err)
		}
		return err == nil, err
	}
	if Status(err) == http.StatusConflict {
		err = fmt.Errorf("%w: %w", ErrCacheInUse, err)
	}
	if err != nil {
		return false, err
	}
	// vLLM answers 200 in any case and, since 0.28, says in the body whether
	// it was done. Before that the body was empty.
	var told struct {
		Success *bool `json:"success"`
	}
	if json.Unmarshal(body, &told) == nil && told.Success != nil && !*told.Success {
		return false, fmt.Errorf("%w: POST %s/reset_prefix_cache: answered %s", ErrCacheInUse, s.URL, start(body))
	}
	return true, nil
}

// ResetWhenFree is ResetPrefixCache, asked again while the cache is in use,
// for ResetLimit at most; then its error is an ErrCacheInUse. Each question
// may take as long as question says. A ctx that ends ends it with its cause.
func (s *Server) ResetWhenFree(ctx context.Context, question time.Duration) (bool, error) {
	within, cancel := context.WithTimeout(ctx, ResetLimit)
	defer cancel()
	var held error // the latest ErrCacheInUse
	for {
		could, err := s.resetOnce(within, question)
		switch {
		case could:
			return true, nil
		case ctx.Err() != nil:
			return false, context.Cause(ctx)
		case errors.Is(err, ErrCacheInUse):
			held = err
		case held == nil || within.Err() == nil:
			return false, err
			// Else the limit cut the question off, and what was answered
			// before is what is known.
		}
		wait := time.NewTimer(resetStep)
		select {
		case <-wait.C:
			continue
		case <-within.Done():
		}
		wait.Stop()
		if ctx.Err() != nil {
			return false, context.Cause(ctx)
		}
		return false, fmt.Errorf("%w; it was asked again and again for %v", held, ResetLimit)
	}
}

func (s *Server) resetOnce(ctx context.Context, question time.Duration) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, question)
	defer cancel()
	return s.ResetPrefixCache(ctx)
}
