package local

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"vbp/stages/deploy"
	"vbp/stages/deploy/probe"
)

// running is a deployment of this host: ready once Start has handed it out.
type running struct {
	processes   []*process // a cache server, engines, the proxy
	ports       []int
	headers     map[string]string
	http        *http.Client
	grace       time.Duration // between SIGTERM and SIGKILL
	timeout     time.Duration // of one question
	endpoint    deploy.Endpoint
	environment map[string]string
	died        chan struct{}
	onDeath     context.CancelCauseFunc // ends a start that is under way
	release     sync.Once

	mu       sync.Mutex
	ready    bool
	stopping bool
	err      error // the first process that ended unasked
}

var _ deploy.Running = (*running)(nil)

// front is the process that clients talk to.
func (r *running) front() *process { return r.processes[len(r.processes)-1] }

// engines are the processes that serve the model.
func (r *running) engines() []*process {
	return slices.DeleteFunc(slices.Clone(r.processes), func(m *process) bool { return m.Role == deploy.Proxy || m.Role == deploy.Cache })
}

// up asks whether m is ready: its /health, or, of one that speaks no HTTP,
// whether it listens. A server without /health shows in its first completion
// whether it is ready.
func (r *running) up(ctx context.Context, m *process) error {
	if m.Role == deploy.Cache {
		c, err := (&net.Dialer{Timeout: r.timeout}).DialContext(ctx, "tcp4", net.JoinHostPort(deploy.Host, strconv.Itoa(m.Port)))
		if err != nil {
			return err
		}
		return c.Close()
	}
	if err := r.ask(ctx, url(m.Port), (*probe.Server).Health); err != nil && !probe.Missing(err) {
		return err
	}
	return nil
}

func (r *running) Endpoint() deploy.Endpoint { return r.endpoint }

func (r *running) Environment() map[string]string { return r.environment }

func (r *running) Died() <-chan struct{} { return r.died }

func (r *running) Err() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

// ended notes the end of a process, which is a death unless it was asked for.
func (r *running) ended(m *process) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stopping || r.err != nil {
		return
	}
	m.mu.Lock()
	what := m.exit
	m.mu.Unlock()
	if !r.ready {
		what += " before it was ready"
	}
	r.err = m.fault(what)
	close(r.died)
	r.onDeath(r.err)
}

// declareReady ends the start, unless a process has died in its last moment.
func (r *running) declareReady() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ready = true
	return r.err == nil
}

// Check asks every process.
func (r *running) Check(ctx context.Context) error {
	r.mu.Lock()
	stopped := r.stopping
	r.mu.Unlock()
	if stopped {
		return errors.New("the deployment was stopped")
	}
	for _, m := range r.processes {
		if err := r.Err(); err != nil {
			return err
		}
		err := r.up(ctx, m)
		switch {
		case err == nil:
			continue
		case ctx.Err() != nil:
			return context.Cause(ctx)
		}
		// A dead server refuses connections a moment before its guardian
		// tells of it.
		select {
		case <-r.died:
			return r.Err()
		case <-time.After(100 * time.Millisecond):
			return m.fault(fmt.Sprintf("lives but does not answer /health: %v", err))
		}
	}
	return r.Err()
}

// ResetCaches asks every engine, also after one could not. All are asked at
// once: each may have to be waited for until it lets go of its blocks.
func (r *running) ResetCaches(ctx context.Context) (bool, error) {
	engines := r.engines()
	could, errs := make([]bool, len(engines)), make([]error, len(engines))
	var asked sync.WaitGroup
	for i, m := range engines {
		asked.Go(func() {
			s := probe.Server{URL: url(m.Port), Headers: r.headers, HTTP: r.http}
			var err error
			if could[i], err = s.ResetWhenFree(ctx, r.timeout); err != nil {
				errs[i] = fmt.Errorf("%s: reset its prefix cache: %w", m.Name, err)
			}
		})
	}
	asked.Wait()
	return !slices.Contains(could, false), errors.Join(errs...)
}

// ask asks one question.
func (r *running) ask(ctx context.Context, url string, question func(*probe.Server, context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	return question(&probe.Server{URL: url, Headers: r.headers, HTTP: r.http}, ctx)
}

// describe fills endpoint and environment from what the servers tell.
func (r *running) describe(ctx context.Context, d deploy.Deployment) error {
	r.endpoint = deploy.Endpoint{URL: url(r.front().Port), Headers: r.headers}
	for _, m := range r.processes {
		r.endpoint.Instances = append(r.endpoint.Instances, m.instance())
	}
	model := func(base, name string) (found probe.Model, err error) {
		err = r.ask(ctx, base, func(s *probe.Server, ctx context.Context) error {
			models, err := s.Models(ctx)
			if err != nil {
				return err
			}
			if found, err = probe.Find(models, name); err != nil && len(models) == 1 && (models[0].Root == name || ownName(&d)) {
				found, err = models[0], nil // the same under another name
			}
			return err
		})
		return found, err
	}
	served, err := model(r.endpoint.URL, d.Model)
	if err != nil {
		return err
	}
	r.endpoint.Model = served.ID

	engines := r.engines()
	facts := make([]map[string]string, len(engines))
	for i, m := range engines {
		its, err := model(url(m.Port), served.ID)
		if err != nil {
			return fmt.Errorf("%s: %w", m.Name, err)
		}
		server := probe.Server{URL: url(m.Port), Headers: r.headers, HTTP: r.http}
		if facts[i], err = server.Environment(ctx, its); err != nil {
			return fmt.Errorf("%s: %w", m.Name, err)
		}
	}
	r.environment = merge(engines, facts)
	r.environment["engine"] = d.Engine
	return nil
}

// ownName tells whether the servers of d may call the model as they please:
// by an argument, or because a command of the user's says what it serves.
func ownName(d *deploy.Deployment) bool {
	if d.Engine == "command" {
		return true
	}
	for _, p := range d.Pools() {
		for _, a := range p.Args {
			if strings.ReplaceAll(a.Name, "_", "-") == "served-model-name" {
				return true
			}
		}
	}
	return false
}

// merge joins what engines told: a fact on which all agree stands once, one
// on which they do not stands for each instance, as "engine_version.decode-1".
func merge(engines []*process, facts []map[string]string) map[string]string {
	merged := map[string]string{}
	all := map[string]string{}
	for _, f := range facts {
		maps.Copy(all, f)
	}
	for key := range all {
		agree := true
		for _, f := range facts {
			agree = agree && f[key] == facts[0][key]
		}
		for i, f := range facts {
			name := key
			if !agree {
				name += "." + engines[i].Name
			}
			if f[key] != "" {
				merged[name] = f[key]
			}
		}
	}
	return merged
}

// Stop may be called any number of times, also at once; each call returns
// when nothing is left, or says what could not be killed.
func (r *running) Stop(ctx context.Context) error {
	r.mu.Lock()
	r.stopping = true
	r.mu.Unlock()
	for _, m := range r.processes {
		m.stop(r.grace)
	}
	// A guardian kills after its grace; one that has not finished some
	// seconds later is stuck, and its work is done here.
	const slack = 3 * time.Second
	if !r.waitGone(ctx.Done(), r.grace+slack) {
		for _, m := range r.processes {
			m.abandon()
		}
		if !r.waitGone(nil, slack) {
			for _, m := range r.processes {
				m.kill()
			}
			r.waitGone(nil, killPatience+slack)
		}
	}
	r.release.Do(func() { releasePorts(r.ports) })
	r.http.CloseIdleConnections()

	var errs []error
	for _, m := range r.processes {
		select {
		case <-m.gone:
			if m.left != nil {
				errs = append(errs, fmt.Errorf("stop %s: %w", m.Name, m.left))
			}
		default:
			errs = append(errs, fmt.Errorf("stop %s: its guardian (pid %d) does not end", m.Name, m.cmd.Process.Pid))
		}
	}
	return errors.Join(errs...)
}

// waitGone waits until nothing is left of any process, and reports whether
// that came before hurry and within limit.
func (r *running) waitGone(hurry <-chan struct{}, limit time.Duration) bool {
	t := time.NewTimer(limit)
	defer t.Stop()
	for _, m := range r.processes {
		select {
		case <-m.gone:
			continue
		default:
		}
		select {
		case <-m.gone:
		case <-hurry:
			return false
		case <-t.C:
			return false
		}
	}
	return true
}
