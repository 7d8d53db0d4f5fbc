//go:build !linux || (!amd64 && !arm64)

package loop

import (
	"context"
	"errors"

	"vbp/stages/load"
)

// available says whether this system has the event loop.
const available = false

// Transport is the event loop, which this system does not have.
type Transport struct{}

// New returns an error on this system.
func New(Options) (*Transport, error) {
	return nil, errors.New("load: there is no event loop on this system; use the transport net/http")
}

// Protocol implements load.Transport.
func (*Transport) Protocol() string { return Protocol }

// Run implements load.Transport.
func (*Transport) Run(context.Context, load.Plan, load.Recorder) (load.Stats, error) {
	return load.Stats{}, errors.New("load: there is no event loop on this system")
}
