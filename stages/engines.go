package stages

import (
	"fmt"
	"maps"
	"os/exec"
	"slices"
	"strings"

	"vbp/stages/deploy"
	"vbp/stages/deploy/engine"
	"vbp/stages/deploy/local"
	"vbp/stages/deploy/proxy"
	"vbp/stages/deploy/vllm"
)

// engineTraits is what is known of an engine without starting it.
type engineTraits struct {
	// identity is of the program that p, a process of d, runs; part of keys.
	// Its error is one of the plan: the program is not there.
	identity func(d deploy.Deployment, p deploy.Process) (string, error)
	check    func(argv []string) error // of an instance's command line; nil: only the program itself can tell
}

// engines are the engines that this build deploys; package local has their
// command lines.
var engines = map[string]engineTraits{
	"simulated": {
		identity: func(deploy.Deployment, deploy.Process) (string, error) { return engine.Identity, nil },
		check:    checkSimulated,
	},
	"vllm":    {identity: vllmIdentity},
	"command": {identity: commandIdentity},
}

func checkSimulated(argv []string) error {
	if args := argv[2:]; args[0] != "serve" { // behind "vbp engine"
		return engine.CheckArgs(args)
	}
	_, err := engine.ParseServe(argv[3:], func(string) (string, bool) { return "", false })
	return err
}

func vllmIdentity(d deploy.Deployment, p deploy.Process) (string, error) {
	return vllm.Installed(environMap(p.Env), d.Connector)
}

// commandIdentity is the content of the program that a command begins with,
// where that can be seen. A command that begins with anything but a plain word
// of another program is the shell's to understand.
func commandIdentity(d deploy.Deployment, p deploy.Process) (string, error) {
	words := strings.Fields(d.Run)
	if len(words) > 1 && words[0] == "exec" {
		words = words[1:]
	}
	if len(words) == 0 || strings.ContainsAny(words[0], "=$`'\"\\(){}[]<>|&;*?~!#:") || !strings.Contains(words[0], "/") && shellWord(words[0]) {
		return "", nil
	}
	path, err := deploy.FindProgram(words[0], environMap(p.Env), "run starts it; install it, or write its whole path")
	if err != nil {
		return "", err
	}
	return deploy.ProgramDigest(path)
}

// shellWord tells whether a shell takes a word for something of its own:
// "case", "cd", "wait".
func shellWord(word string) bool {
	out, err := exec.Command("sh", "-c", `PATH=; command -v -- "$1"`, "sh", word).Output()
	return err == nil && strings.TrimSpace(string(out)) == word
}

func environMap(env []string) map[string]string {
	m := make(map[string]string, len(env))
	for _, e := range env {
		name, value, _ := strings.Cut(e, "=")
		m[name] = value
	}
	return m
}

// programs identifies the programs that stand between client and model, as far
// as that can be done without starting them. It refuses what this build cannot
// deploy, and what is not installed.
func programs(site *Site, d deploy.Deployment) (string, error) {
	if d.Endpoint != "" {
		return "", nil
	}
	traits, ok := engines[d.Engine]
	if !ok {
		return "", fmt.Errorf("this version of vbp cannot deploy engine %q, only: %s; a server that runs already is measured with endpoint: http://HOST:PORT",
			d.Engine, strings.Join(slices.Sorted(maps.Keys(engines)), ", "))
	}
	processes, err := local.Layout(d, site.Self, nil)
	if err != nil {
		return "", err
	}
	var names []string
	for _, p := range processes {
		name := proxy.Identity
		switch p.Role {
		case deploy.Proxy:
		case deploy.Cache:
			if name = engine.Identity; d.Cache.Program != "" {
				name = d.Cache.Program
			}
		default:
			if traits.check != nil {
				if err := traits.check(p.Argv); err != nil {
					return "", fmt.Errorf("args of %s: %w", p.Name, err)
				}
			}
			if name, err = traits.identity(d, p); err != nil && !site.Elsewhere {
				return "", err
			}
		}
		if name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return strings.Join(names, ", "), nil
}
