// Package attach deploys nothing: its Starter checks that a server which
// somebody else runs is up, serves the model and completes a request, and
// hands it out as a Running that Stop leaves as it is.
//
// Its neighbours are deploy (the contract), local (servers that vbp starts)
// and probe (the questions asked of a server).
package attach

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	neturl "net/url"
	"slices"
	"strings"
	"time"

	"vbp/stages/deploy"
	"vbp/stages/deploy/probe"
)

const (
	// readyTimeout is for all checks together if Options do not say: the first
	// request to an idle server may have to wait for much.
	readyTimeout = 300 * time.Second

	// questionTimeout is for one small question.
	questionTimeout = 10 * time.Second

	// identityTimeout is for all that a server tells of itself: vLLM's first
	// answer to /server_info looks at the whole system.
	identityTimeout = time.Minute

	// waitStep lies between two looks at a server that is loading its model,
	// which takes it seconds to minutes.
	waitStep = 500 * time.Millisecond
)

// Starter attaches to d.Endpoint.
type Starter struct{}

var _ deploy.Starter = Starter{}

// New returns a Starter.
func New() Starter { return Starter{} }

// Start checks the server at d.Endpoint: /health (a server without one is
// taken at its word; one that is loading its model is waited for), /v1/models,
// what it tells of itself, and one real request by o.API. Of o it uses also
// Headers, which are d's with secrets revealed, ReadyTimeout and Progress. An
// empty d.Model means the only model that the server has.
func (Starter) Start(ctx context.Context, d deploy.Deployment, o deploy.Options) (deploy.Running, error) {
	base, err := baseURL(d.Endpoint)
	if err != nil {
		return nil, err
	}
	headers := o.Headers
	if headers == nil {
		headers = d.Headers
	}
	for name, value := range headers {
		if strings.Contains(value, "${secret:") {
			return nil, fmt.Errorf("endpoint %s: header %s still holds a reference to a secret instead of its value", base, name)
		}
	}
	limit := o.ReadyTimeout
	if limit <= 0 {
		limit = readyTimeout
	}
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("not ready within %s (stages.deploy.ready_timeout)", limit))
	defer cancel()
	progress := o.Progress
	if progress == nil {
		progress = func(string) {}
	}

	r := newRunning(base, headers)
	progress("asking " + base)
	var model probe.Model
	err = r.waitHealthy(ctx, progress)
	if err == nil {
		model, err = r.identify(ctx, d.Model)
	}
	if err == nil {
		progress("waiting for the first completion of " + base)
		if err = r.server.CompleteWith(ctx, o.API, model.ID); err != nil {
			err = fmt.Errorf("it serves model %s, but a first request failed: %w", model.ID, err)
		}
	}
	if err != nil {
		if cause := context.Cause(ctx); cause != nil && !errors.Is(err, cause) {
			err = fmt.Errorf("%w: %w", cause, err)
		}
		return nil, fmt.Errorf("endpoint %s: %w%s", base, err, hint(err))
	}
	r.endpoint = deploy.Endpoint{
		URL: base, Model: model.ID, Headers: r.server.Headers,
		Instances: []deploy.Instance{{Name: "server", Role: deploy.Server, URL: base}},
	}
	return r, nil
}

func newRunning(base string, headers map[string]string) *running {
	return &running{server: probe.Server{
		URL: base, Headers: maps.Clone(headers),
		HTTP: &http.Client{Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true}},
	}}
}

// Ask returns what Environment would after a Start, without a request that
// makes the server work: for plans. headers are d's with secrets revealed.
// What the server does not tell before ctx ends is left out, once it is known
// to serve the model.
func Ask(ctx context.Context, d deploy.Deployment, headers map[string]string) (map[string]string, error) {
	base, err := baseURL(d.Endpoint)
	if err != nil {
		return nil, err
	}
	r := newRunning(base, headers)
	err = r.health(ctx)
	if err == nil {
		_, err = r.identify(ctx, d.Model)
	}
	if err != nil && r.environment == nil {
		return nil, fmt.Errorf("endpoint %s: %w%s", base, err, hint(err))
	}
	return r.environment, nil
}

// baseURL is an endpoint as requests append their paths to it. Many clients
// want a base that ends in /v1, which is cut off here.
func baseURL(endpoint string) (string, error) {
	u, err := neturl.Parse(endpoint)
	if err != nil {
		return "", fmt.Errorf("endpoint: %w", err)
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
		return "", fmt.Errorf("endpoint %q: want a URL such as http://host:8000", u.Redacted())
	}
	if u.User != nil {
		return "", fmt.Errorf("endpoint %s: write user and password as an Authorization header, with ${secret:NAME}", u.Redacted())
	}
	return strings.TrimSuffix(strings.TrimRight(u.String(), "/"), "/v1"), nil
}

// hint says what to do about err, where err does not say so itself.
func hint(err error) string {
	if probe.Status(err) == http.StatusNotFound && !strings.Contains(err.Error(), "workload.api") {
		return "; is this an OpenAI-compatible server, and is the endpoint the part of its URLs before /v1?"
	}
	return ""
}

// running is a server that somebody else runs.
type running struct {
	server      probe.Server
	endpoint    deploy.Endpoint
	environment map[string]string
}

var _ deploy.Running = (*running)(nil)

// identify asks which model is meant and what the server is. The environment
// is set once the model is known, also if the rest cannot be had. Where the
// server has no list of models, or an empty one, as transformers serve may,
// the first request will show whether it knows the name.
func (r *running) identify(ctx context.Context, want string) (model probe.Model, err error) {
	err = ask(ctx, questionTimeout, func(ctx context.Context) error {
		models, err := r.server.Models(ctx)
		if want != "" && (probe.Missing(err) || err == nil && len(models) == 0) {
			model = probe.Model{ID: want}
			return nil
		}
		if err != nil {
			return err
		}
		model, err = probe.Find(models, want)
		return err
	})
	if err != nil {
		return model, err
	}
	return model, ask(ctx, identityTimeout, func(ctx context.Context) error {
		told, err := r.server.Environment(ctx, model)
		r.environment = told
		r.environment["engine"] = "attached"
		return err
	})
}

// waitHealthy asks until the server does not say any more that it is not ready
// yet, as those do that are loading a model.
func (r *running) waitHealthy(ctx context.Context, progress func(string)) error {
	for told := false; ; {
		err := r.health(ctx)
		if probe.Status(err) != http.StatusServiceUnavailable {
			return err
		}
		if !told {
			told = true
			progress("waiting until it is ready: " + err.Error())
		}
		wait := time.NewTimer(waitStep)
		select {
		case <-ctx.Done():
			wait.Stop()
			return err
		case <-wait.C:
		}
	}
}

// health asks /health; a server that has none is healthy if it answers.
func (r *running) health(ctx context.Context) error {
	return ask(ctx, questionTimeout, func(ctx context.Context) error {
		if err := r.server.Health(ctx); !probe.Missing(err) {
			return err
		}
		return nil
	})
}

func ask(ctx context.Context, limit time.Duration, question func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return question(ctx)
}

func (r *running) Endpoint() deploy.Endpoint { return r.endpoint }

func (r *running) Environment() map[string]string { return r.environment }

// Check asks /health, and whether it is still the server that it was.
func (r *running) Check(ctx context.Context) error {
	err := r.health(ctx)
	if err == nil {
		err = r.same(ctx)
	}
	if err != nil {
		return fmt.Errorf("endpoint %s: %w", r.endpoint.URL, err)
	}
	return nil
}

// same says what is different about the server from when it was attached to:
// somebody may have started another one at its address.
func (r *running) same(ctx context.Context) error {
	now := running{server: r.server}
	if _, err := now.identify(ctx, r.endpoint.Model); err != nil {
		return err
	}
	for _, k := range slices.Sorted(maps.Keys(now.environment)) {
		if was, is := r.environment[k], now.environment[k]; was != is {
			return fmt.Errorf("it is another server now: %s was %q and is %q", k, was, is)
		}
	}
	return nil
}

// ResetCaches tries, and waits for a cache that is in use. An attached proxy
// in front of several instances answers for as many of them as it pleases.
func (r *running) ResetCaches(ctx context.Context) (bool, error) {
	could, err := r.server.ResetWhenFree(ctx, questionTimeout)
	if err != nil {
		return false, fmt.Errorf("endpoint %s: reset its prefix cache: %w", r.endpoint.URL, err)
	}
	return could, nil
}

// Died is nil: that the server died cannot be known without asking.
func (r *running) Died() <-chan struct{} { return nil }

func (r *running) Err() error { return nil }

// Stop leaves the server as it is.
func (r *running) Stop(context.Context) error {
	r.server.HTTP.CloseIdleConnections()
	return nil
}
