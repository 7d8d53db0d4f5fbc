package stages

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"time"

	"vbp/stages/deploy"
	"vbp/stages/load/arrivals"
	"vbp/stages/load/limits"
	"vbp/stages/load/workload"
	"vbp/stages/load/workload/count"
)

// What a load point does before it sends anything: it looks whether this
// machine can carry it, makes its prompts, and says what of both is not as the
// spec has it.

// room looks whether this process may have as many open files and ports as the
// point is likely to need; the note says if it may not have what it would need
// at servers that fall behind.
func (w loadWork) room(e deploy.Endpoint, qps float64, timeout time.Duration, prompts workload.Prompts) (note string, err error) {
	n := prompts.Len()
	need := limits.Need{Requests: n, Rate: qps, Timeout: timeout, Concurrency: w.workload.MaxConcurrency, Sources: w.sources}
	for i := range n {
		need.Tokens += float64(prompts.MaxTokens(i)) / float64(n)
	}
	if u, err := url.Parse(e.URL); err == nil {
		need.Server, _ = netip.ParseAddr(u.Hostname())
	}
	return limits.Now().Check(need)
}

// traceEnds says that the rows of a trace end a point of n requests before
// what was asked for; "" if they do not.
func traceEnds(p arrivals.Process, n int) string {
	switch {
	case p.Kind != arrivals.Trace || n < len(p.Times):
		return "" // it has more
	case n < p.Requests:
		return fmt.Sprintf("the trace has %d rows for %d requests, and ends the point", n, p.Requests)
	case p.Requests == 0:
		_, span := p.Expect()
		// The next request is as far away as others are from each other.
		if gap := time.Duration(float64(time.Second) / p.Rate); span+2*gap < p.Duration {
			return fmt.Sprintf("the trace has %d rows, the last of them at %s, and ends the point before its duration of %s", n, span.Round(time.Millisecond), p.Duration)
		}
	}
	return ""
}

// draw makes the point's prompts. Lengths of texts are counted by the servers,
// where these can, behind the proxy: that one counts nothing. Where they
// cannot a note says that lengths are estimated, if nobody had asked for that.
func (w loadWork) draw(ctx context.Context, in loadInput, e deploy.Endpoint, n int) (set *workload.Set, notes []string, err error) {
	seed, d := in.Workload.Seed, w.workload.Dataset
	if d.Kind != workload.ShareGPT || d.Lengths == workload.Estimated {
		set, err = w.source.Draw(ctx, n, seed, in.Repeat, nil)
		return set, nil, err
	}
	t := count.Target{Model: e.Model, Headers: e.Headers}
	for _, i := range e.Instances {
		if i.Role != deploy.Proxy && i.Role != deploy.Cache {
			t.URLs = append(t.URLs, i.URL)
		}
	}
	if len(t.URLs) == 0 {
		t.URLs = []string{e.URL}
	}
	counter, err := count.New(ctx, t, w.counts)
	switch {
	case err == nil:
		set, err = w.source.Draw(ctx, n, seed, in.Repeat, counter)
		return set, nil, err
	case errors.Is(err, count.ErrNone) && d.Lengths != workload.Counted:
		set, err = w.source.Draw(ctx, n, seed, in.Repeat, workload.Estimate{Since: err.Error()})
		if err == nil {
			notes = []string{"lengths of prompts and answers are " + set.Counting + "; with workload.dataset.lengths: estimate they are so without this note"}
		}
		return set, notes, err
	}
	return nil, nil, fmt.Errorf("workload.dataset.lengths: %w; dataset: {lengths: estimate} asks no server", err)
}
