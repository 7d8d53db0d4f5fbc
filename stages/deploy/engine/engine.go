// Package engine is a simulated LLM server: it speaks the OpenAI-compatible
// API of vLLM and takes the time that a real one would take, without a GPU.
//
// Steps of a request: completion.go reads it, tokenizer.go counts it, the
// driver hands it to the Scheduler, sleeps until the end of each step, and
// wakes the handler, which writes the tokens that came out (answer.go). The
// Scheduler is a pure state machine after vLLM's v1 scheduler and can be run
// in virtual time by itself; StepTime says how long a step takes, with
// coefficients derived from the data sheets of preset.go. Any instance can
// prefill for others and decode after others: kv.go holds the protocol, which
// is vLLM's NIXL connector's with the memory reads left out.
//
// Neighbours: package deploy starts it as a process, package proxy joins
// prefill and decode instances, and a load generator is its client. It knows
// none of them.
package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Identity names the version of what the simulated engine does: results that
// were measured under another one are not comparable. It changes whenever
// the timing or the answers of an unchanged command line change. /version
// reports it.
const Identity = "sim/1"

// server holds what the HTTP handlers share.
type server struct {
	options  Options
	settings Settings
	names    []string // of the model
	engineID string
	ready    time.Time // when it answers
	driver   *driver
	client   *http.Client // to other instances
	log      *log.Logger
	life     context.Context         // of the server
	die      context.CancelCauseFunc // ends it

	completions atomic.Int64 // requests for completions that arrived
	serial      atomic.Int64 // makes names unique
	load        atomic.Int64 // requests for completions under way
	failing     sync.Once
}

// errExit is why the server ended when --exit-after ended it.
var errExit = errors.New("ended by --exit-after")

// Serve answers on ln until ctx ends, and returns when all of its goroutines
// have ended and ln is closed. It writes a line with the effective settings
// to logTo, and one for each anomaly. The end of ctx is no error; wrong
// options and --exit-after are.
func Serve(ctx context.Context, o Options, ln net.Listener, logTo io.Writer) error {
	settings, err := o.Resolve()
	if err != nil {
		ln.Close()
		return fmt.Errorf("simulated engine: %w", err)
	}
	ctx, die := context.WithCancelCause(ctx)
	defer die(nil)
	l := log.New(logTo, "engine: ", log.LstdFlags|log.Lmicroseconds|log.Lmsgprefix)
	s := &server{
		options: o, settings: settings, names: o.names(),
		engineID: fmt.Sprintf("vbp-%s-%016x", ln.Addr(), mix(uint64(o.Seed), uint64(time.Now().UnixNano()))),
		ready:    time.Now().Add(o.ReadyDelay),
		driver:   newDriver(settings.Scheduler, l),
		client:   &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}},
		log:      l, life: ctx, die: die,
	}
	faults := ""
	if f := o.faults(); f != "" {
		faults = "; FAULTS: " + f
	}
	l.Printf("%s listens on %s and serves %s; %s; tensor-parallel-size %d; seed %d%s",
		Identity, ln.Addr(), s.names[0], settings, o.TensorParallelSize, o.Seed, faults)

	var connections, drive sync.WaitGroup
	web := &http.Server{
		Handler:           s.handler(),
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ErrorLog:          l,
		ReadHeaderTimeout: 30 * time.Second,
		// A connection's goroutine reports its end itself, so waiting for
		// connections is waiting for all handlers.
		ConnState: func(_ net.Conn, st http.ConnState) {
			switch st {
			case http.StateNew:
				connections.Add(1)
			case http.StateClosed, http.StateHijacked:
				connections.Done()
			}
		},
	}
	drive.Go(func() { s.driver.run(ctx) })
	accept := make(chan error, 1)
	drive.Go(func() { accept <- web.Serve(ln) })
	select {
	case <-ctx.Done():
		err = nil
	case err = <-accept:
		err = fmt.Errorf("simulated engine: accepting connections on %s: %w", ln.Addr(), err)
		die(err)
	}
	web.Close()
	drive.Wait()
	web.Close() // again, for a connection that was accepted while the first one closed all others
	connections.Wait()
	s.client.CloseIdleConnections()
	if cause := context.Cause(ctx); errors.Is(cause, errExit) {
		l.Print(cause)
		return fmt.Errorf("simulated engine: %w", cause)
	}
	return err
}
