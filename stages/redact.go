package stages

import (
	"context"

	"vbp/pipeline"
)

// redacted is an error whose text no longer holds a secret.
type redacted struct {
	error
	text string
}

func (r redacted) Error() string { return r.text }

func (r redacted) Unwrap() error { return r.error }

// hide takes the secrets out of an error's text: servers repeat what they were
// sent when they refuse it.
func hide(err error, redact func(string) string) error {
	if err == nil {
		return nil
	}
	if text := redact(err.Error()); text != err.Error() {
		return redacted{err, text}
	}
	return err
}

// addNode adds a node whose errors and events tell no secret.
func (b *builder) addNode(n *pipeline.Node) error {
	if n.Work != nil {
		n.Work = b.quiet(n.Work)
	}
	if start := n.Start; start != nil {
		n.Start = func(ctx context.Context, in pipeline.Input, rt *pipeline.Runtime) (pipeline.Handle, error) {
			h, err := start(ctx, in, b.quietRuntime(rt))
			return h, hide(err, b.exp.Redact)
		}
	}
	return b.graph.Add(n)
}

type work = func(context.Context, pipeline.Input, *pipeline.Runtime) error

// quiet is work whose errors and events tell no secret.
func (b *builder) quiet(w work) work {
	return func(ctx context.Context, in pipeline.Input, rt *pipeline.Runtime) error {
		return hide(w(ctx, in, b.quietRuntime(rt)), b.exp.Redact)
	}
}

func (b *builder) quietRuntime(rt *pipeline.Runtime) *pipeline.Runtime {
	emit := rt.Emit
	rt.Emit = func(e pipeline.Event) {
		e.Text = b.exp.Redact(e.Text)
		emit(e)
	}
	return rt
}
