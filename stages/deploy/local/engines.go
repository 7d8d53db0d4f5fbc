package local

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"vbp/stages/deploy"
)

// slot is one place of a layout that an engine fills with an instance.
type slot struct {
	Self           string // path of vbp
	Model          string
	Connector      string // "" for a server that does both
	Name           string
	Role           deploy.Role
	Index          int // among the instances of its role, from 0
	Pool           *deploy.Pool
	TensorParallel int
	Port           int
	GPUs           []string // TensorParallel of them, or none
}

// adapter is an engine's command line: the process that fills a slot.
type adapter func(slot) (deploy.Process, error)

// engines are the adapters there are. An engine is added here and nowhere
// else.
var engines = map[string]adapter{
	"simulated": simulated,
}

// simulated is the simulated engine, which vbp is itself. Whether it prefills
// or decodes is decided by the proxy, request by request, so that every role
// has the same command line.
func simulated(s slot) (deploy.Process, error) {
	argv := []string{
		s.Self, "engine", "--model", s.Model, "--host", host, "--port", strconv.Itoa(s.Port),
		"--tensor-parallel-size", strconv.Itoa(s.TensorParallel),
	}
	if u := s.Pool.GPUMemoryUtilization; u != 0 {
		argv = append(argv, "--gpu-memory-utilization", strconv.FormatFloat(u, 'g', -1, 64))
	}
	args, err := renderArgs(s.Pool.Args)
	if err != nil {
		return deploy.Process{}, err
	}
	return deploy.Process{
		Name: s.Name, Role: s.Role, Argv: append(argv, args...), Env: s.env(), Port: s.Port, GPUs: s.GPUs,
	}, nil
}

// env is the environment of the slot: its GPUs, then the pool's own in the
// order of names. What the pool says wins.
func (s *slot) env() []string {
	var env []string
	const visible = "CUDA_VISIBLE_DEVICES"
	if _, own := s.Pool.Env[visible]; len(s.GPUs) > 0 && !own {
		env = append(env, visible+"="+strings.Join(s.GPUs, ","))
	}
	for _, name := range slices.Sorted(maps.Keys(s.Pool.Env)) {
		env = append(env, name+"="+s.Pool.Env[name])
	}
	return env
}

// renderArgs writes args as a command line has them; see deploy.Arg.
func renderArgs(args []deploy.Arg) ([]string, error) {
	var argv []string
	for _, a := range args {
		if a.Name == "" || strings.HasPrefix(a.Name, "-") {
			return nil, fmt.Errorf("argument %q: write its name without leading dashes, they are added", a.Name)
		}
		switch v := a.Value.(type) {
		case nil:
			argv = append(argv, "--"+a.Name)
		case bool:
			if v {
				argv = append(argv, "--"+a.Name)
			}
		case string:
			argv = append(argv, "--"+a.Name, v)
		default:
			// Numbers look in JSON as they do on a command line: 4096, 0.9.
			text, err := compactJSON(v)
			if err != nil {
				return nil, fmt.Errorf("argument %q: %w", a.Name, err)
			}
			argv = append(argv, "--"+a.Name, text)
		}
	}
	return argv, nil
}

func compactJSON(v any) (string, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false) // an engine is no browser
	if err := e.Encode(v); err != nil {
		return "", errors.New("its value cannot be written as JSON: " + err.Error())
	}
	return strings.TrimSuffix(b.String(), "\n"), nil
}

// shellQuote writes a command so that a shell reads it as the same words.
func shellQuote(words []string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = w
		if w == "" || strings.ContainsFunc(w, func(r rune) bool {
			return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_=./:,+@%", r))
		}) {
			quoted[i] = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
		}
	}
	return strings.Join(quoted, " ")
}

// commandLine is what somebody would paste into a shell to start p.
func commandLine(p *deploy.Process) string {
	words := make([]string, 0, len(p.Env)+len(p.Argv))
	for _, e := range p.Env {
		name, value, _ := strings.Cut(e, "=")
		words = append(words, name+"="+shellQuote([]string{value}))
	}
	return strings.Join(append(words, shellQuote(p.Argv)), " ")
}
