package main

import (
	"github.com/spf13/cobra"

	"vbp/stages/deploy/proxy"
)

func newProxy() *cobra.Command {
	var o proxy.Options
	cmd := &cobra.Command{
		Use:   "proxy",
		Short: "Join prefill and decode instances behind one address",
		Long: `Proxy sends every request first to a prefill instance and then, with what that
answered, to a decode instance, each chosen round robin, and streams the decode
instance's answer back. It tells in response headers which instances served a
request (X-Vbp-Prefill, X-Vbp-Decode), how long prefill took
(X-Vbp-Prefill-Time, seconds) and whether decode had to prefill by itself
(X-Vbp-Fallback).`,
		Example: "  vbp proxy --port 8192 --prefill http://127.0.0.1:8100 --decode http://127.0.0.1:8200 --decode http://127.0.0.1:8201",
		Args:    none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.Check(); err != nil {
				return usageError{err}
			}
			ln, err := listen(cmd, o.Host, o.Port)
			if err != nil {
				return err
			}
			return proxy.Serve(cmd.Context(), o, ln, cmd.ErrOrStderr())
		},
	}
	o.Flags(cmd.Flags())
	return cmd
}
