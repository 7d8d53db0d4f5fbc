package local

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"vbp/stages/deploy"
	"vbp/stages/deploy/probe"
)

const (
	readyTimeout  = 300 * time.Second // if Options do not say: a large model is loaded in it
	stopGrace     = 5 * time.Second   // between SIGTERM and SIGKILL, if nobody is in a hurry
	probeTimeout  = 5 * time.Second   // of one /health, /version or /v1/models
	firstMeetings = 3                 // more tries of the first completion behind a proxy
	starts        = 3                 // tries, if a picked port was taken by somebody else in between
)

// Starter starts deployments as processes of this host.
type Starter struct {
	self  string
	grace time.Duration
}

var _ deploy.Starter = (*Starter)(nil)

// New returns a Starter; self is the path of vbp, which is guardian,
// simulated engine and proxy.
func New(self string) *Starter { return &Starter{self: self, grace: stopGrace} }

var (
	errNotReady = errors.New("not ready in time")
	errEnded    = errors.New("the start has ended")
)

// Start starts every process of d and returns once each is up (see up) and
// the address for clients has completed a request. When that does not come to
// pass, everything that was started is stopped before it returns: a process
// that died or was not ready in time is a *ProcessError, and a cancelled ctx
// is the cause of its cancellation.
func (s *Starter) Start(ctx context.Context, d deploy.Deployment, o deploy.Options) (deploy.Running, error) {
	if o.LogDir == "" || o.StateDir == "" {
		return nil, errors.New("a deployment needs a folder for logs and one for the state of its guardians")
	}
	var dirs [2]string
	for i, dir := range []string{o.LogDir, o.StateDir} {
		err := os.MkdirAll(dir, 0o755)
		if err == nil {
			dir, err = filepath.Abs(dir)
		}
		if err == nil {
			// As /proc names the files in it, by which orphans are found.
			dirs[i], err = filepath.EvalSymlinks(dir)
		}
		if err != nil {
			return nil, fmt.Errorf("folder for logs and state: %w", err)
		}
	}
	o.LogDir, o.StateDir = dirs[0], dirs[1]
	if o.ReadyTimeout <= 0 {
		o.ReadyTimeout = readyTimeout
	}
	if o.Progress == nil {
		o.Progress = func(string) {}
	}
	first := firstPort(o.PortSeed)
	for try := 1; ; try++ {
		r, err := s.start(ctx, d, o, first)
		if err == nil {
			return r, nil
		}
		fault, ok := errors.AsType[*ProcessError](err)
		if !ok || !fault.addressInUse() || fault.Process.Port == d.Port || fault.Process.Role == deploy.Cache || try == starts {
			return nil, err
		}
		o.Progress(fmt.Sprintf("port %d was taken while %s started; starting again with other ports", fault.Process.Port, fault.Process.Name))
		first = lowestPort + rand.IntN(highestPort-lowestPort) // away from whoever picks at the same places
	}
}

// start is one try of Start, with ports from first on.
func (s *Starter) start(ctx context.Context, d deploy.Deployment, o deploy.Options, first int) (_ *running, err error) {
	processes, ports, err := s.place(d, o, first)
	if err != nil {
		return nil, err
	}
	// Ends with the caller's ctx, the time allowed, or the first process that
	// dies; its cause says which.
	ctx, cancelTime := context.WithTimeoutCause(ctx, o.ReadyTimeout, errNotReady)
	defer cancelTime()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(errEnded)
	r := &running{
		headers: o.Headers, grace: s.grace, timeout: probeTimeout, ports: ports, died: make(chan struct{}), onDeath: cancel,
		// Connections are not kept: a probe now and then needs none, and load
		// has its own.
		http: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}},
	}
	defer func() {
		if err != nil {
			if left := r.Stop(context.WithoutCancel(ctx)); left != nil {
				err = errors.Join(err, left)
			}
		}
	}()

	prefix := ""
	if o.Name != "" {
		prefix = strings.ReplaceAll(o.Name, string(filepath.Separator), "_") + "-"
	}
	for _, p := range processes {
		if ctx.Err() != nil {
			return nil, startError(ctx, nil, o.ReadyTimeout, nil)
		}
		m, err := spawn(p, s.self, prefix, o.LogDir, o.StateDir, o.Reveal, r.ended)
		if err != nil {
			return nil, err
		}
		r.processes = append(r.processes, m)
	}
	for i, m := range r.processes {
		o.Progress(fmt.Sprintf("waiting for %s (%d of %d ready)", m.Name, i, len(processes)))
		if err := r.waitHealthy(ctx, m, o.ReadyTimeout); err != nil {
			return nil, err
		}
	}
	o.Progress("waiting for the first completion")
	if err := r.describe(ctx, d); err != nil {
		return nil, startError(ctx, r.front(), o.ReadyTimeout, err)
	}
	if err := r.firstCompletion(ctx, o.API, o.ReadyTimeout); err != nil {
		return nil, err
	}
	if !r.declareReady() {
		return nil, r.Err()
	}
	return r, nil
}

// place lays out d on free ports from next on, which are reserved until the
// deployment is stopped.
func (s *Starter) place(d deploy.Deployment, o deploy.Options, next int) (_ []deploy.Process, ports []int, err error) {
	if _, err := Layout(d, s.self, o.GPUs); err != nil {
		return nil, nil, err // before any port is looked at
	}
	defer func() {
		if err != nil {
			releasePorts(ports)
		}
	}()
	if d.Port != 0 {
		if err := claimPort(d.Port); err != nil {
			return nil, nil, err
		}
		ports = append(ports, d.Port)
	}
	if d.Cache != nil && d.Cache.Port != 0 {
		if err := claimPort(d.Cache.Port); err != nil {
			return nil, ports, fmt.Errorf("cache server: %w", err)
		}
		ports = append(ports, d.Cache.Port)
	}
	var failed error
	processes, err := layout(d, s.self, o.GPUs, func(n int) int {
		port, err := pickPorts(next, n)
		if err != nil {
			failed = err
			return 0
		}
		for i := range n {
			ports = append(ports, port+i)
		}
		next = port + n
		return port
	})
	if err = errors.Join(err, failed); err != nil {
		return nil, ports, err
	}
	for _, p := range processes {
		// Everybody on the host can read a command line.
		if o.Reveal != nil && strings.Contains(strings.Join(p.Argv, " "), "${secret:") {
			return nil, ports, fmt.Errorf("%s: a secret in args would be visible to every user of this host; pass it in env", p.Name)
		}
	}
	return processes, ports, nil
}

// waitHealthy polls /health of m until it answers with anything but that it is
// not ready.
func (r *running) waitHealthy(ctx context.Context, m *process, limit time.Duration) error {
	select {
	case <-m.up: // from here on its pid is known
	case <-ctx.Done():
		return startError(ctx, m, limit, errors.New("its guardian has not started it"))
	}
	var last error // before the question that the end of ctx cut off
	for delay := 20 * time.Millisecond; ; delay = min(delay*3/2, 500*time.Millisecond) {
		err := r.up(ctx, m)
		if err == nil {
			return nil
		}
		if last == nil || ctx.Err() == nil {
			last = err
		}
		if !sleep(ctx, delay) {
			return startError(ctx, m, limit, last)
		}
	}
}

// firstCompletion sends a real request to the address for clients. A server
// that is healthy but still refuses is asked again; one that answers with any
// other error is broken. Behind a proxy, where the first request also makes
// instances meet, which has time limits of its own, errors of the servers are
// asked about some more times.
func (r *running) firstCompletion(ctx context.Context, api string, limit time.Duration) error {
	front := r.front()
	server := probe.Server{URL: r.endpoint.URL, Headers: r.headers, HTTP: r.http}
	more := 0
	if front.Role == deploy.Proxy {
		more = firstMeetings
	}
	var last error // as in waitHealthy
	for delay := 20 * time.Millisecond; ; delay = min(delay*3/2, 500*time.Millisecond) {
		err := server.CompleteWith(ctx, api, r.endpoint.Model)
		if err == nil {
			return nil
		}
		status := probe.Status(err)
		if status >= http.StatusInternalServerError && status != http.StatusServiceUnavailable && more > 0 {
			more--
			status = 0
		}
		if status != 0 && status != http.StatusServiceUnavailable {
			return front.fault(fmt.Sprintf("is ready but fails its first request: %v", err))
		}
		if last == nil || ctx.Err() == nil {
			last = err
		}
		if !sleep(ctx, delay) {
			return startError(ctx, front, limit, fmt.Errorf("first request: %w", last))
		}
	}
}

// startError says why a start came to its end while m was waited for (nil:
// before any was); err is what was last heard of m.
func startError(ctx context.Context, m *process, limit time.Duration, err error) error {
	cause := context.Cause(ctx)
	fault, died := errors.AsType[*ProcessError](cause)
	switch {
	case died:
		return fault
	case m == nil:
		return fmt.Errorf("start interrupted: %w", cause)
	case errors.Is(cause, errNotReady):
		return m.fault(fmt.Sprintf("was not ready within %s (stages.deploy.ready_timeout): %v", limit, err))
	case cause != nil:
		return fmt.Errorf("start interrupted while waiting for %s: %w", m.Name, cause)
	}
	return m.fault(fmt.Sprintf("is ready but does not serve: %v", err))
}

// sleep waits for d and reports whether ctx still holds.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
