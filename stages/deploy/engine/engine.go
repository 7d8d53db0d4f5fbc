// Package engine is a simulated LLM server: it speaks the OpenAI-compatible
// API of vLLM and takes the time that a real one would take, without a GPU.
//
// Steps of a request: completion.go reads it, tokenizer.go counts it, the
// driver of one of the replicas hands it to the Scheduler, sleeps until the
// end of each step, and wakes the handler, which writes the tokens that came
// out (answer.go). The Scheduler is a pure state machine after vLLM's v1
// scheduler and can be run in virtual time by itself; StepTime says how long a
// step takes, with coefficients derived from the data sheets of preset.go. Any
// instance can prefill for others and decode after others: kv.go holds the
// protocol, which is vLLM's NIXL connector's with the memory reads left out;
// lmcache.go shares KV through an LMCache server (lmserver.go is one).
//
// ParseServe (serve.go) reads the command line of `vllm serve`, so that the
// engine can take vLLM's place under its own name; what it then answers about
// itself is in serverinfo.go.
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
	replicas replicas
	shared   *sharedCache // nil: KV is shared with nobody
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
		replicas: newReplicas(o.DataParallelSize, settings.Scheduler, l),
		shared:   newSharedCache(ctx, &o, l),
		client:   &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}},
		log:      l, life: ctx, die: die,
	}
	defer s.shared.drop()
	side, err := listenSide(o.SideChannel)
	if err != nil {
		ln.Close()
		return fmt.Errorf("simulated engine: %w", err)
	}
	faults := ""
	if f := o.faults(); f != "" {
		faults = "; FAULTS: " + f
	}
	l.Printf("%s listens on %s and serves %s; %s; tensor-parallel-size %d%s; seed %d%s",
		Identity, ln.Addr(), s.names[0], settings, o.TensorParallelSize, o.joined(), o.Seed, faults)
	for _, note := range o.Notes {
		l.Print(note)
	}

	var connections, drive sync.WaitGroup
	web := &http.Server{
		Handler:           s.handler(),
		BaseContext:       s.baseContext(side),
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
	for _, d := range s.replicas.all {
		drive.Go(func() { d.run(ctx) })
	}
	accept := make(chan error, 1+len(side))
	for _, each := range append(side, ln) {
		drive.Go(func() {
			if err := web.Serve(each); err != nil {
				accept <- fmt.Errorf("simulated engine: accepting connections on %s: %w", each.Addr(), err)
			}
		})
	}
	select {
	case <-ctx.Done():
		err = nil
	case err = <-accept:
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
