package deploy

import (
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Slot is one place of a deployment, which an engine's adapter fills with a
// process.
type Slot struct {
	Self      string // path of vbp
	Model     string
	Run       string // engine command: see Fill
	Connector string // "" for a server that does both
	Name      string
	Role      Role
	Pool      *Pool
	Port      int
	SidePort  int      // with a connector: the first of as many ports in a row as the instance has GPUs, for what its engine needs beside HTTP
	CachePort int      // of the cache server on this host; 0: there is none
	GPUs      []string // Pool.GPUs of them, or none
}

// Host is where every process listens. Servers of a benchmark have no
// business on the network.
const Host = "127.0.0.1"

// Env is the environment of the slot: its GPUs, then what its engine needs,
// then the pool's own in the order of names. What the pool says wins.
func (s *Slot) Env(engine ...string) []string {
	var env []string
	if len(s.GPUs) > 0 {
		engine = append([]string{visibleDevices + "=" + strings.Join(s.GPUs, ",")}, engine...)
	}
	for _, e := range engine {
		name, _, _ := strings.Cut(e, "=")
		if _, own := s.Pool.Env[name]; !own {
			env = append(env, e)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.Pool.Env)) {
		env = append(env, name+"="+s.Pool.Env[name])
	}
	return env
}

// Process is the process that fills the slot with a command line. A pool that
// says itself what its instances see runs there, whatever they were given.
func (s *Slot) Process(argv, env []string) Process {
	p := Process{Name: s.Name, Role: s.Role, Argv: argv, Env: env, Port: s.Port, GPUs: s.GPUs}
	if own, ok := s.Pool.Env[visibleDevices]; ok {
		p.GPUs = strings.Split(own, ",")
	}
	return p
}

const visibleDevices = "CUDA_VISIBLE_DEVICES"

// Fill is the command of engine command with {port}, {model}, {gpus} (their
// ids, with commas) and {tensor_parallel} filled in. Other braces are left to
// the shell.
func (s *Slot) Fill() string {
	return strings.NewReplacer(
		"{port}", strconv.Itoa(s.Port), "{model}", Quote(s.Model), "{gpus}", strings.Join(s.GPUs, ","),
		"{tensor_parallel}", strconv.Itoa(max(1, s.Pool.TensorParallel)),
	).Replace(s.Run)
}
