package main

import (
	"fmt"
	"net"
	"strconv"

	"github.com/spf13/cobra"

	"vbp/stages/deploy/engine"
)

func newEngine() *cobra.Command {
	var o engine.Options
	cmd := &cobra.Command{
		Use:   "engine",
		Short: "Serve a simulated OpenAI-compatible engine",
		Long: `Engine is a server that speaks vLLM's API and schedules like vLLM, with step
times from a model of a GPU instead of a GPU: one running batch, chunked
prefill, KV blocks, prefix caching, preemption, and the protocol by which
prefill and decode instances hand over KV. It generates words without meaning.`,
		Example: "  vbp engine --port 8000 --preset h100/qwen3-8b\n  curl localhost:8000/v1/completions -d '{\"prompt\": \"Hello\", \"max_tokens\": 8}'",
		Args:    none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if _, err := o.Resolve(); err != nil {
				return usageError{err}
			}
			ln, err := listen(cmd, o.Host, o.Port)
			if err != nil {
				return err
			}
			return engine.Serve(cmd.Context(), o, ln, cmd.ErrOrStderr())
		},
	}
	o.Flags(cmd.Flags())
	return cmd
}

// listen takes the address that a server was told to have; the server's own
// log says which it is.
func listen(cmd *cobra.Command, host string, port int) (net.Listener, error) {
	ln, err := new(net.ListenConfig).Listen(cmd.Context(), "tcp", net.JoinHostPort(host, strconv.Itoa(port)))
	if err != nil {
		return nil, bad(fmt.Errorf("cannot listen: %w; choose another --port, or 0 for any that is free", err))
	}
	return ln, nil
}
