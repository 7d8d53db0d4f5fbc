package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"vbp/stages/deploy/engine"
)

func newEngine() *cobra.Command {
	var o engine.Options
	var tellVersion bool
	cmd := &cobra.Command{
		Use:   "engine [MODEL]",
		Short: "Serve a simulated OpenAI-compatible engine",
		Long: `Engine is a server that speaks vLLM's API and schedules like vLLM, with step
times from a model of a GPU instead of a GPU: one running batch, chunked
prefill, KV blocks, prefix caching, preemption, and the protocol by which
prefill and decode instances hand over KV. It generates words without meaning.

To let it take vLLM's place, put a program named vllm first on PATH:

  #!/bin/sh
  exec vbp engine "$@"

vllm serve then is vbp engine serve, and vllm --version tells the version of
the simulation.`,
		Example: "  vbp engine --port 8000 --preset h100/qwen3-8b\n  vbp engine serve Qwen/Qwen3-8B --port 8000 --tensor-parallel-size 2\n" +
			"  curl localhost:8000/v1/completions -d '{\"prompt\": \"Hello\", \"max_tokens\": 8}'",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usageError{fmt.Errorf("unexpected argument %q; one model is served", args[1])}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if tellVersion {
				_, err := fmt.Fprintln(cmd.OutOrStdout(), o.Version())
				return err
			}
			if len(args) == 1 {
				if o.Model != "" && o.Model != args[0] {
					return usageError{fmt.Errorf("the model is given twice: %q and --model %q", args[0], o.Model)}
				}
				o.Model = args[0]
			}
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
	cmd.Flags().BoolVar(&tellVersion, "version", false, "print what /version answers, and end")
	cmd.AddCommand(newEngineServe(), newLMCacheServer())
	return cmd
}

// newEngineServe is `vllm serve`. Its arguments are read as vLLM reads them,
// which is not how commands of vbp are read.
func newEngineServe() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "serve [MODEL]",
		Short: "Take the place of vllm serve",
		Long: `Serve reads the command line and the environment of vllm serve: - and _ in names
are one, --flag=value and --flag value too, --kv-transfer-config.kv_role sets
one member, -tp is --tensor-parallel-size. Flags of vLLM that a simulation has
no use for are accepted and told in the log; unknown ones are an error. A model
without a preset behaves like the nearest one.

As under vLLM, /server_info and /reset_prefix_cache need VLLM_SERVER_DEV_MODE=1,
VLLM_API_KEY sets a key, CUDA_VISIBLE_DEVICES must name a GPU for each rank if
it is set, instances with NixlConnector take VLLM_NIXL_SIDE_CHANNEL_PORT (5600)
and one port more for each further data-parallel rank, and instances with
LMCacheConnectorV1 share KV through LMCACHE_REMOTE_URL=lm://HOST:PORT (see vbp
engine lmcache-server). The flags below are taken too; among them are vLLM's
that have an effect.`,
		Example: "  vbp engine serve Qwen/Qwen3-8B --port 8100 --tensor-parallel-size 2\n" +
			"  VLLM_NIXL_SIDE_CHANNEL_PORT=5601 vbp engine serve Qwen/Qwen3-8B --port 8200 --kv-transfer-config '{\"kv_connector\":\"NixlConnector\",\"kv_role\":\"kv_both\"}'",
		DisableFlagParsing: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			if slices.ContainsFunc(args, asksForHelp) {
				return cmd.Help()
			}
			o, err := engine.ParseServe(args, os.LookupEnv)
			if err == nil {
				_, err = o.Resolve()
			}
			if err != nil {
				return usageError{err}
			}
			ln, err := o.Listen()
			if err != nil {
				return err
			}
			return engine.Serve(cmd.Context(), o, ln, cmd.ErrOrStderr())
		},
	}
	new(engine.Options).Flags(cmd.Flags()) // for --help
	return cmd
}

func asksForHelp(arg string) bool {
	return arg == "-h" || arg == "--help" || strings.HasPrefix(arg, "--help=")
}

func newLMCacheServer() *cobra.Command {
	return &cobra.Command{
		Use:   "lmcache-server HOST PORT",
		Short: "Take the place of lmcache_server",
		Long: `Lmcache-server keeps what instances with LMCacheConnectorV1 share, in memory, in
LMCache's own protocol. A program named lmcache_server that executes
vbp engine lmcache-server "$@" takes the place of LMCache's.`,
		Example: "  vbp engine lmcache-server localhost 65432\n" +
			"  LMCACHE_REMOTE_URL=lm://localhost:65432 vbp engine serve Qwen/Qwen3-8B --kv-transfer-config '{\"kv_connector\":\"LMCacheConnectorV1\",\"kv_role\":\"kv_both\"}'",
		Args: func(_ *cobra.Command, args []string) error {
			switch {
			case len(args) == 3 && args[2] != "cpu":
				return usageError{fmt.Errorf("storage %q: there is only cpu", args[2])}
			case len(args) < 2 || len(args) > 3:
				return usageError{fmt.Errorf("expected a host and a port, got %d arguments", len(args))}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			port, err := strconv.Atoi(args[1])
			if err != nil || port < 0 || port > 65535 {
				return usageError{errors.New("PORT " + args[1] + ": want a number from 0 to 65535; 0 picks a free one")}
			}
			ln, err := listen(cmd, args[0], port)
			if err != nil {
				return err
			}
			return engine.ServeLMCache(cmd.Context(), ln, cmd.ErrOrStderr())
		},
	}
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
