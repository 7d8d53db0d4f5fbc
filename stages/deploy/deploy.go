// Package deploy turns a declared deployment into running servers and an
// Endpoint to talk to.
//
// Steps: an engine's adapter lays out the processes of a Deployment (Layout),
// package local starts them under a guardian, waits until each is ready and
// sends one real request, and hands out a Running deployment, which is always
// stopped. The neighbours below are local (processes of this host), attach (a
// server that already runs), probe (the questions both ask of a server), vllm
// (how vLLM is started), engine (the simulated engine), proxy (the
// prefill/decode proxy). Nothing here knows load or SLOs.
package deploy

import (
	"context"
	"time"
)

// Role says what an instance does.
type Role string

// Roles of an instance.
const (
	Server  Role = "server"  // prefills and decodes
	Prefill Role = "prefill" // prefills and hands over
	Decode  Role = "decode"  // takes over and decodes
	Cache   Role = "cache"   // keeps KV for the others; speaks no HTTP
	Proxy   Role = "proxy"   // joins prefill and decode instances
)

// Deployment is one declared way of serving a model, complete and resolved:
// equal values are the same deployment. Its JSON form enters keys, so it
// holds nothing that changes from run to run (no ports that were picked, no
// secrets, no paths of a run).
type Deployment struct {
	Engine    string            `json:"engine"` // simulated, vllm, command; "" with Endpoint
	Model     string            `json:"model"`
	Run       string            `json:"run,omitempty"`    // engine command: the shell command that serves; see Slot.Fill
	Server    *Pool             `json:"server,omitempty"` // one instance that does both
	Connector string            `json:"connector,omitempty"`
	Cache     *CacheServer      `json:"cache,omitempty"`   // that the connector's instances share
	Prefill   *Pool             `json:"prefill,omitempty"` // with Decode, instead of Server
	Decode    *Pool             `json:"decode,omitempty"`
	Port      int               `json:"port,omitempty"`     // of the address that clients use; 0: any free port
	Endpoint  string            `json:"endpoint,omitempty"` // a server that already runs; nothing is started
	Headers   map[string]string `json:"headers,omitempty"`  // sent with every request; secrets still as ${secret:NAME}
}

// CacheServer keeps KV outside of the instances, as LMCache's does.
type CacheServer struct {
	Program string `json:"program,omitempty"` // that is started; "": vbp's own
	Port    int    `json:"port,omitempty"`    // 0: any free port
}

// Pool is a number of equal instances.
type Pool struct {
	Instances            int               `json:"instances"`
	TensorParallel       int               `json:"tensor_parallel"`
	Width                int               `json:"width,omitempty"` // accelerators an instance occupies; 0: TensorParallel of them
	GPUMemoryUtilization float64           `json:"gpu_memory_utilization,omitempty"`
	Args                 []Arg             `json:"args,omitempty"` // passed to the engine as they are, in order
	Env                  map[string]string `json:"env,omitempty"`
}

// Arg is one argument for the engine: --Name Value, --Name alone when the
// value is nil or true, --no-Name when it is false; a list or map is passed as
// JSON.
type Arg struct {
	Name  string `json:"name"`
	Value any    `json:"value"`
}

// GPUs is the number of accelerators that the deployment occupies: instances
// x what one occupies, summed over its pools.
func (d *Deployment) GPUs() int {
	n := 0
	for _, p := range d.Pools() {
		n += p.Instances * p.GPUs()
	}
	return n
}

// Pools are the pools that d has: one server, or prefill and decode.
func (d *Deployment) Pools() []*Pool {
	var pools []*Pool
	for _, p := range []*Pool{d.Server, d.Prefill, d.Decode} {
		if p != nil {
			pools = append(pools, p)
		}
	}
	return pools
}

// OwnDevices tells whether the pool's environment says itself which
// accelerators its instances see.
func (p *Pool) OwnDevices() bool {
	_, own := p.Env[visibleDevices]
	return own
}

// GPUs is how many accelerators an instance occupies: its tensor-parallel size
// unless Width says otherwise.
func (p *Pool) GPUs() int {
	if p.Width != 0 {
		return p.Width
	}
	return max(1, p.TensorParallel)
}

// Process is one server process as it would be started. Pasting Env and Argv
// into a shell starts the same.
type Process struct {
	Name string // unique within the deployment: "server", "prefill-0", "decode-1", "cache", "proxy"
	Role Role
	Argv []string // program first
	Env  []string // NAME=value, added to the environment of vbp
	Port int      // where it listens on 127.0.0.1
	GPUs []string // accelerators it is given; empty for simulated engines
}

// Instance is a running process of a deployment.
type Instance struct {
	Name string   `json:"name"`
	Role Role     `json:"role"`
	URL  string   `json:"url"`
	GPUs []string `json:"gpus,omitempty"`
	Log  string   `json:"log,omitempty"` // file that holds its output
	PID  int      `json:"pid,omitempty"`
	Argv []string `json:"argv,omitempty"`
}

// Endpoint is what load needs to know of a running deployment.
type Endpoint struct {
	URL       string            `json:"url"`   // clients send here; no trailing slash
	Model     string            `json:"model"` // as the server calls it
	Headers   map[string]string `json:"headers,omitempty"`
	Instances []Instance        `json:"instances"` // a cache server, then engines, then the proxy
}

// Running is a deployment that answers. Stop must be called, and may be
// called more than once; it returns when no process of it is left.
type Running interface {
	Endpoint() Endpoint
	// Environment is what was observed of the servers once they were ready:
	// engine version, model, effective arguments where they can be read.
	Environment() map[string]string
	// Check tells whether every process lives and answers /health; its error
	// holds the dead one's command and last log lines.
	Check(ctx context.Context) error
	// ResetCaches empties the prefix cache of every engine instance and says
	// whether all of them could.
	ResetCaches(ctx context.Context) (bool, error)
	// Died is closed as soon as a process of the deployment ends that was not
	// asked to; Err then says which, with its command and last log lines. It
	// is never closed by Stop, and nil (which blocks for ever) where nothing
	// can be known, as of a server that somebody else runs.
	Died() <-chan struct{}
	Err() error
	// Stop ends every process. Cancelling ctx does not abandon the work: it
	// shortens the time that servers have to end by themselves.
	Stop(ctx context.Context) error
}

// Starter starts a deployment and returns once it is ready.
type Starter interface {
	Start(ctx context.Context, d Deployment, o Options) (Running, error)
}

// Options are the circumstances of a start; they are not part of what is
// deployed.
type Options struct {
	Name         string            // used in file names: "simple"
	LogDir       string            // one log file a process is written here
	StateDir     string            // what a later start needs to find orphans is kept here
	PortSeed     string            // decides which free ports are tried first; equal seeds try the same
	ReadyTimeout time.Duration     // until all instances are ready; 0: 300 s
	GPUs         []string          // accelerators leased to this deployment
	Headers      map[string]string // revealed headers, sent with every request to the deployment
	API          string            // completions or chat: what the load will use, and so the first request; "": whichever is there
	Progress     func(string)      // told in words what is being waited for; may be nil

	// Reveal replaces ${secret:NAME} in the values of a pool's Env at the
	// moment a process is started, so that layouts, errors and records only
	// ever hold the reference. Nil: values are passed as they are.
	Reveal func(string) (string, error)
}
