package local

import (
	"strconv"

	"vbp/stages/deploy"
	"vbp/stages/deploy/vllm"
)

// adapter is an engine's command line: the process that fills a slot.
type adapter func(deploy.Slot) (deploy.Process, error)

// engines are the adapters there are. An engine is added here and nowhere
// else in this package.
var engines = map[string]adapter{
	"simulated": simulated,
	"vllm":      vllm.Process,
	"command":   command,
}

// simulated is the simulated engine, which vbp is itself. Whether it prefills
// or decodes is decided by the proxy, request by request, so that every role
// has the same command line.
//
// To share KV through a cache server it has to be told as vLLM is, whose
// command line and environment it takes too.
func simulated(s deploy.Slot) (deploy.Process, error) {
	if s.Connector == "lmcache" {
		p, err := vllm.Process(s)
		if err == nil {
			p.Argv = append([]string{s.Self, "engine"}, p.Argv[1:]...)
		}
		return p, err
	}
	argv := []string{
		s.Self, "engine", "--model", s.Model, "--host", deploy.Host, "--port", strconv.Itoa(s.Port),
		"--tensor-parallel-size", strconv.Itoa(max(1, s.Pool.TensorParallel)),
	}
	if u := s.Pool.GPUMemoryUtilization; u != 0 {
		argv = append(argv, "--gpu-memory-utilization", strconv.FormatFloat(u, 'g', -1, 64))
	}
	args, err := deploy.Render(s.Pool.Args)
	if err != nil {
		return deploy.Process{}, err
	}
	return s.Process(append(argv, args...), s.Env()), nil
}

// command is a server that the user starts with a shell command.
func command(s deploy.Slot) (deploy.Process, error) {
	return s.Process([]string{"sh", "-c", s.Fill()}, s.Env()), nil
}
