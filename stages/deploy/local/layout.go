// Package local runs deployments as processes of this host.
//
// Steps: Layout turns a Deployment into processes with the help of its
// engine's adapter; a Starter picks ports, starts each process under a
// guardian of its own, waits until all answer /health and one real request is
// completed, and hands out a Running. The guardian (RunGuardian, the hidden
// command `vbp guard`) sees to it that a server and everything it started
// ends with it, or with the vbp that wanted it. Reap kills what is left when
// even a guardian was killed.
//
// Its neighbours are deploy (what is deployed), attach (a server that already
// runs) and probe (the questions asked of a server).
package local

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"vbp/stages/deploy"
)

// Layout returns the processes of d: a cache server, the engines, the proxy. It is
// pure: ports that are picked at start are 0 in it, in URLs too. self is the
// path of vbp, which is simulated engine and proxy. gpus are handed out to
// instances in order, as many to each as it occupies, but for those of pools
// that name their own; without any, instances are not told what to use.
func Layout(d deploy.Deployment, self string, gpus []string) ([]deploy.Process, error) {
	return layout(d, self, gpus, func(int) int { return 0 })
}

// Preview is Layout with the ports that a Start with Options.PortSeed
// seed takes as long as they are free.
func Preview(d deploy.Deployment, self string, gpus []string, seed string) ([]deploy.Process, error) {
	return layout(d, self, gpus, planned(seed))
}

// layout is Layout with a source of ports for those that d does not fix.
func layout(d deploy.Deployment, self string, gpus []string, ports row) ([]deploy.Process, error) {
	adapt, ok := engines[d.Engine]
	if !ok {
		return nil, fmt.Errorf("engine %q is not known; there is: %s", d.Engine, strings.Join(engineNames(), ", "))
	}
	if err := checkShape(&d); err != nil {
		return nil, err
	}
	need := 0
	for _, pool := range d.Pools() {
		if !pool.OwnDevices() {
			need += pool.Instances * pool.GPUs()
		}
	}
	if len(gpus) > 0 && len(gpus) < need {
		return nil, fmt.Errorf("the deployment needs %d GPUs and was given %d: %s", need, len(gpus), strings.Join(gpus, ","))
	}
	clientPort := func() int {
		if d.Port != 0 {
			return d.Port
		}
		return ports(1)
	}

	var processes []deploy.Process
	cachePort := 0
	if d.Cache != nil {
		if cachePort = d.Cache.Port; cachePort == 0 {
			cachePort = ports(1)
		}
		processes = append(processes, cacheProcess(self, &d, cachePort))
	}
	add := func(role deploy.Role, pool *deploy.Pool, name func(i int) string, port func() int) error {
		for i := range pool.Instances {
			s := deploy.Slot{Self: self, Model: d.Model, Run: d.Run, Connector: d.Connector, Name: name(i), Role: role, Pool: pool, Port: port(), CachePort: cachePort}
			if d.Connector != "" {
				s.SidePort = ports(pool.GPUs())
			}
			if n := pool.GPUs(); len(gpus) > 0 && !pool.OwnDevices() {
				s.GPUs, gpus = gpus[:n:n], gpus[n:]
			}
			p, err := adapt(s)
			if err != nil {
				return fmt.Errorf("%s: %w", s.Name, err)
			}
			processes = append(processes, p)
		}
		return nil
	}
	if d.Server != nil {
		err := add(deploy.Server, d.Server, func(int) string { return "server" }, clientPort)
		return processes, err
	}
	one := func() int { return ports(1) }
	if err := add(deploy.Prefill, d.Prefill, func(i int) string { return "prefill-" + strconv.Itoa(i) }, one); err != nil {
		return nil, err
	}
	if err := add(deploy.Decode, d.Decode, func(i int) string { return "decode-" + strconv.Itoa(i) }, one); err != nil {
		return nil, err
	}
	return append(processes, proxyProcess(self, d.Connector, clientPort(), processes)), nil
}

// cacheProcess is LMCache's server, or vbp's, which speaks its protocol.
func cacheProcess(self string, d *deploy.Deployment, port int) deploy.Process {
	p := deploy.Process{Name: "cache", Role: deploy.Cache, Port: port}
	if d.Cache.Program == "" {
		p.Argv = []string{self, "engine", "lmcache-server", deploy.Host, strconv.Itoa(port)}
		return p
	}
	p.Argv = []string{d.Cache.Program, deploy.Host, strconv.Itoa(port), "cpu"} // where it keeps KV
	if path, own := d.Prefill.Env["PATH"]; own {
		p.Env = []string{"PATH=" + path} // it was found there
	}
	return p
}

// checkShape tells what is impossible about d, whatever its engine.
func checkShape(d *deploy.Deployment) error {
	switch {
	case d.Endpoint != "":
		return fmt.Errorf("endpoint %s is a server that already runs; nothing is started for it", d.Endpoint)
	case d.Model == "":
		return errors.New("a deployment needs a model")
	case d.Port < 0 || d.Port > 65535:
		return fmt.Errorf("port %d is not between 0 and 65535", d.Port)
	case d.Server != nil && (d.Prefill != nil || d.Decode != nil):
		return errors.New("a deployment is either one server or prefill and decode instances, not both")
	case d.Server != nil:
		if d.Server.Instances != 1 {
			return fmt.Errorf("server: %d instances; without prefill and decode there is exactly one", d.Server.Instances)
		}
		return nil
	case d.Prefill == nil || d.Decode == nil:
		return errors.New("a deployment is either one server or both prefill and decode instances")
	}
	if d.Prefill.Instances < 1 || d.Decode.Instances < 1 {
		return fmt.Errorf("%d prefill and %d decode instances; at least one of each is needed", d.Prefill.Instances, d.Decode.Instances)
	}
	switch d.Connector {
	case "nixl":
	case "lmcache":
		if d.Prefill.Instances != 1 || d.Decode.Instances != 1 {
			return fmt.Errorf("%d prefill and %d decode instances; connector lmcache joins one of each", d.Prefill.Instances, d.Decode.Instances)
		}
	default:
		return fmt.Errorf("connector %q is not known; there is: lmcache, nixl", d.Connector)
	}
	return nil
}

// proxyProcess is our own prefill/decode proxy in front of engines.
func proxyProcess(self, connector string, port int, engines []deploy.Process) deploy.Process {
	argv := []string{self, "proxy", "--host", deploy.Host, "--port", strconv.Itoa(port), "--connector", connector}
	for _, role := range []deploy.Role{deploy.Prefill, deploy.Decode} {
		for _, e := range engines {
			if e.Role == role {
				argv = append(argv, "--"+string(role), url(e.Port))
			}
		}
	}
	return deploy.Process{Name: "proxy", Role: deploy.Proxy, Argv: argv, Port: port}
}

func url(port int) string { return "http://" + deploy.Host + ":" + strconv.Itoa(port) }

func engineNames() []string {
	names := make([]string, 0, len(engines))
	for n := range engines {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}
