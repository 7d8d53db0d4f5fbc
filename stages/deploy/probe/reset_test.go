package probe

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestResetPrefixCache(t *testing.T) {
	for name, c := range map[string]struct {
		paths map[string]string
		could bool
		fails bool
		inUse bool
	}{
		"vllm":                {map[string]string{"POST /reset_prefix_cache": `{"success":true}`}, true, false, false},
		"vllm before 0.28":    {map[string]string{"POST /reset_prefix_cache": "{}"}, true, false, false},
		"vllm in use":         {map[string]string{"POST /reset_prefix_cache": `{"success":false}`}, false, true, true},
		"vllm says null":      {map[string]string{"POST /reset_prefix_cache": `{"success":null}`}, true, false, false},
		"simulated in use":    {map[string]string{"POST /reset_prefix_cache": "409"}, false, true, true},
		"vllm fails":          {map[string]string{"POST /reset_prefix_cache": "500"}, false, true, false},
		"sglang":              {map[string]string{"POST /flush_cache": "Cache flushed."}, true, false, false},
		"sglang at work":      {map[string]string{"POST /flush_cache": "400"}, false, true, true},
		"sglang says success": {map[string]string{"POST /flush_cache": `{"success":true}`}, true, false, false},
		"vllm, old method":    {map[string]string{"POST /reset_prefix_cache": "405"}, false, false, false},
		"neither":             {nil, false, false, false},
	} {
		could, err := serve(t, c.paths).ResetPrefixCache(t.Context())
		if could != c.could || (err != nil) != c.fails || errors.Is(err, ErrCacheInUse) != c.inUse {
			t.Errorf("%s: %v, error %v", name, could, err)
		}
	}
}

// canned answers requests without a network, so that time can be virtual.
type canned func(r *http.Request) (status int, body string, err error)

func (c canned) RoundTrip(r *http.Request) (*http.Response, error) {
	status, body, err := c(r)
	if err != nil {
		return nil, err
	}
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
}

func TestResetWhenFree(t *testing.T) {
	const question = 10 * time.Second
	gone := errors.New("it went away")
	cause := errors.New("somebody pressed a key")
	for name, c := range map[string]struct {
		answer canned
		cancel time.Duration // 0: never
		could  bool
		err    error // that it is
		says   string
		took   time.Duration
	}{
		"at once": {func(*http.Request) (int, string, error) { return 200, "", nil }, 0, true, nil, "", 0},
		"never":   {func(*http.Request) (int, string, error) { return 200, `{"success":false}`, nil }, 0, false, ErrCacheInUse, "nobody has fetched yet: POST http://s/reset_prefix_cache: answered {\"success\":false}; it was asked again and again for 35s", 35 * time.Second},
		"cannot":  {func(*http.Request) (int, string, error) { return 404, "", nil }, 0, false, nil, "", 0},
		"broken":  {func(*http.Request) (int, string, error) { return 0, "", gone }, 0, false, gone, "", 0},
		"hangs": {func(r *http.Request) (int, string, error) {
			<-r.Context().Done()
			return 0, "", r.Context().Err()
		}, 0, false, context.DeadlineExceeded, "", question},
		"cancelled": {func(*http.Request) (int, string, error) { return 409, "", nil }, 1700 * time.Millisecond, false, cause, "", 1700 * time.Millisecond},
		// The lease of vLLM's ends after 30 s.
		"free in time": {func() canned {
			var begun time.Time
			return func(*http.Request) (int, string, error) {
				if begun.IsZero() {
					begun = time.Now()
				}
				if time.Since(begun) < 30*time.Second {
					return 200, `{"success":false}`, nil
				}
				return 200, `{"success":true}`, nil
			}
		}(), 0, true, nil, "", 30 * time.Second},
		"then broken": {func() canned {
			asked := 0
			return func(*http.Request) (int, string, error) {
				if asked++; asked <= 3 {
					return 409, "", nil
				}
				return 0, "", gone
			}
		}(), 0, false, gone, "", 1500 * time.Millisecond},
		// Cut off by the limit: what it had said before is what is known.
		"then hangs": {func() canned {
			asked := 0
			return func(r *http.Request) (int, string, error) {
				if asked++; asked <= 60 {
					return 409, "", nil
				}
				<-r.Context().Done()
				return 0, "", r.Context().Err()
			}
		}(), 0, false, ErrCacheInUse, "409 Conflict; it was asked again", 35 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancelCause(t.Context())
				defer cancel(nil)
				if c.cancel > 0 {
					time.AfterFunc(c.cancel, func() { cancel(cause) })
				}
				begun := time.Now()
				server := Server{URL: "http://s", HTTP: &http.Client{Transport: c.answer}}
				could, err := server.ResetWhenFree(ctx, question)
				if took := time.Since(begun); could != c.could || !errors.Is(err, c.err) || took != c.took {
					t.Errorf("%v after %v, error %v", could, took, err)
				}
				if c.says != "" && !strings.Contains(err.Error(), c.says) {
					t.Errorf("error %q, want %q", err, c.says)
				}
			})
		})
	}
}
