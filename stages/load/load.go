// Package load measures one point: it sends prepared requests at prepared
// instants and records what came back, one row for each request that was sent.
//
// It is an open loop: when a request is due does not depend on any answer.
// Steps: check the configuration (config.go), hand plan and recorder to a
// Transport (transport.go), which has every body made when it is needed
// (body.go), sends when it is due and feeds what it reads to an answer (package
// answer); the recorder (recorder.go) says of a refused request what to change
// in the spec (advice.go), keeps the rows in memory or in a file (row.go,
// spool.go), and tells observers; facts of the point as a whole (facts.go,
// tally.go, heartbeat.go) and what a person should know of its tokens
// (notes.go) come last. Measured (measured.go) is the result.
//
// The Transport over net/http is here (http.go, with pacer.go, slots.go and
// conns.go); the package loop below has the one over an event loop. The
// conformance suite (conformance_*_test.go) holds both to the same answers.
//
// Neighbours: workload makes the prompts and arrivals the schedule, below
// sample holds the rows. Load knows neither SLOs nor where rows end up.
package load

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"strings"
	"sync"
	"time"

	"vbp/stages/sample"
)

// Aborted is the cause of a point's end before its time by Config.Abort.
type Aborted struct{ Err error }

func (e *Aborted) Error() string { return e.Err.Error() }

func (e *Aborted) Unwrap() error { return e.Err }

// Run is Measure with all rows as a table, which is nil where Measured would be.
// Config.Spool has no use here.
func Run(ctx context.Context, c Config, t Transport, observe func(Event)) (*sample.Table, error) {
	c.Spool = ""
	m, err := Measure(ctx, c, t, observe)
	if m == nil {
		return nil, err
	}
	defer m.Close()
	table, bad := m.Table(0, m.Len())
	return table, errors.Join(err, bad)
}

// Measure measures the point and returns its rows in the order in which the
// schedule wanted them sent. Only requests that were sent are rows. Of Meta it
// fills Start, Length, Facts, and in Extra "client" (the transport's protocol)
// and what Notes has in words; the rest is the caller's. Whoever gets a
// Measured closes it.
//
// Observe, if it is not nil, is told of every request as it is sent, has its
// first token, and is done, by one goroutine that never holds up the
// measurement; Measure returns after it has seen all.
//
// Answers that fail are rows, not errors. The error is about the point: a
// configuration that Validate refuses or a spool that cannot be written (no
// Measured then), or an end before its time.
//
// If that end is ctx's, the error wraps ctx's and its cause. What was in
// flight is cut off and not a row, since its fate is not the server's doing:
// rows are the requests that had ended.
//
// If it is Abort's, the error wraps an *Aborted with what AbortErr said. The
// server's end is the server's doing: what was in flight is a failure of it,
// with the outcome that the client would have seen by itself a moment later,
// and the first line of AbortErr in its error: connect_error where no status
// had come, truncated where the stream had no finish_reason yet, stream_error
// between that and the end of the stream. Rows are all requests that were
// sent, also those that another process of the deployment, which is still
// alive, was answering.
func Measure(ctx context.Context, c Config, t Transport, observe func(Event)) (*Measured, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	plan, err := c.plan()
	if err != nil {
		return nil, err
	}
	run, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	rows, err := newSpool(c.Spool, func(err error) { cancel(err) })
	if err != nil {
		return nil, err
	}
	var watcher sync.WaitGroup
	if c.Abort != nil {
		watcher.Go(func() {
			select {
			case <-c.Abort:
				cancel(&Aborted{c.abortError()})
			case <-run.Done():
			}
		})
	}
	rec := newRecorder(&c, rows, observe)
	heart := newHeartbeat()
	start := time.Now()
	before, known := CPUTime()
	plan.Begin = func() time.Time {
		before, known = CPUTime()
		start = time.Now()
		return start
	}
	stats, err := t.Run(run, plan, rec)
	wall := time.Since(start)
	after, _ := CPUTime()
	stall := heart.end()
	cancel(nil)
	watcher.Wait()
	if bad := rec.close(); bad != nil {
		return nil, errors.Join(bad, rows.close())
	}

	m := rec.measured()
	seen := machine{Wall: wall, Cores: runtime.GOMAXPROCS(0), CPU: math.NaN(), Stall: stall, Stats: stats}
	if known {
		seen.CPU = (after - before).Seconds()
	}
	m.Meta.Start = start.UnixNano()
	m.Meta.Length = wall.Seconds()
	if err == nil {
		// To the last answer; what a transport tidies up afterwards is not
		// part of the point.
		m.Meta.Length = float64(rec.last) / 1e9
	}
	m.Meta.Facts = rec.tally.facts(seen)
	m.Meta.Facts["planned"] = float64(len(c.Arrivals) - stats.Dropped)
	if plan.Until > 0 {
		m.Meta.Facts["dropped"] = float64(stats.Dropped)
	}
	m.Meta.Extra = map[string]string{"client": t.Protocol()}
	rec.describe(&m.Meta)
	if len(stats.Notes) > 0 {
		m.Meta.Extra[extraTransport] = strings.Join(stats.Notes, "\n")
	}
	if err == nil {
		return m, nil
	}
	if aborted := AbortOf(run); aborted != nil {
		return m, fmt.Errorf("load: the server ended when %d of %d requests had been sent: %w", m.Len(), len(c.Arrivals), aborted)
	}
	if cause := context.Cause(ctx); cause != nil && cause != ctx.Err() {
		err = fmt.Errorf("%w (%w)", ctx.Err(), cause)
	}
	return m, fmt.Errorf("load: stopped when %d of %d requests had ended: %w", m.Len(), len(c.Arrivals), err)
}

func (c *Config) abortError() error {
	if c.AbortErr != nil {
		if err := c.AbortErr(); err != nil {
			return err
		}
	}
	return errors.New("the server ended")
}

// AbortOf is what ended a run, or one request of it, if that was the server's
// end; else nil.
func AbortOf(ctx context.Context) (aborted *Aborted) {
	errors.As(context.Cause(ctx), &aborted)
	return aborted
}
