package stages

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"vbp/pipeline"
	"vbp/specs"
	"vbp/stages/deploy/local"
	"vbp/stages/runs"
)

// commandInput is a user's own step. Inputs are named by content: the same
// files elsewhere are the same step.
type commandInput struct {
	Run     string            `json:"run"`
	Inputs  []fileInput       `json:"inputs"`
	Outputs []string          `json:"outputs"`
	Env     map[string]string `json:"env"`
	Timeout string            `json:"timeout"`
	Needs   []namedNeed       `json:"needs"`
}

type fileInput struct {
	Name   string `json:"name"`
	SHA256 string `json:"sha256"`
}

// namedNeed says which variable names the folders of a need: one, or a list
// in the manner of PATH where the need has several results.
type namedNeed struct {
	Variable string   `json:"variable"`
	Needs    []string `json:"needs"`
}

// Files that a command's streams are kept in.
const (
	stdoutFile = "stdout.txt"
	stderrFile = "stderr.txt"
)

// inherited are the variables that a command has from vbp's environment: what
// a shell needs to find programs and to write in the user's language. Others
// reach it through env, whose values are part of its key.
var inherited = []string{"PATH", "HOME", "USER", "LOGNAME", "SHELL", "TMPDIR", "LANG", "LC_ALL", "TZ"}

// commandWork holds the inputs whose digests are in the input, as they were
// when those were taken.
type commandWork struct {
	files    []commandFile
	secrets  *specs.Experiment
	self     string // the vbp that guards the command
	stateDir string
	logs     string // below a run's folder: where the streams of a command that failed are kept
}

type commandFile struct {
	data []byte
	mode fs.FileMode
}

func newCommandInput(s *specs.CommandStage, secrets *specs.Experiment, site *Site) (commandInput, commandWork, error) {
	in := commandInput{Run: s.Run, Outputs: s.Outputs, Env: s.Env, Timeout: s.Timeout.String()}
	w := commandWork{secrets: secrets, self: site.Self, stateDir: site.stateDir()}
	for _, path := range s.Inputs {
		data, err := os.ReadFile(path)
		if err != nil {
			return in, w, fmt.Errorf("input of a command: %w", err)
		}
		info, err := os.Stat(path)
		if err != nil {
			return in, w, fmt.Errorf("input of a command: %w", err)
		}
		sum := sha256.Sum256(data)
		in.Inputs = append(in.Inputs, fileInput{filepath.Base(path), hex.EncodeToString(sum[:])})
		w.files = append(w.files, commandFile{data, info.Mode().Perm()})
	}
	return in, w, nil
}

// variable is the name under which a command finds the folder of stage need.
func variable(need string) string {
	return "VBP_" + strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}, strings.ToUpper(need))
}

// work runs the command in a folder of its own that holds its inputs; what it
// declared as outputs and its two streams are kept. Of a command that fails,
// takes too long or is interrupted, the streams are kept in the run's folder,
// and the error names them.
func (w commandWork) work(ctx context.Context, raw pipeline.Input, rt *pipeline.Runtime) error {
	var in commandInput
	if err := raw.Decode(&in); err != nil {
		return err
	}
	timeout, err := time.ParseDuration(in.Timeout)
	if err != nil {
		return err
	}
	if timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, timeout, fmt.Errorf("it ran longer than its timeout of %s", timeout))
		defer cancel()
	}
	for i, f := range w.files {
		if err := os.WriteFile(filepath.Join(rt.Dir, in.Inputs[i].Name), f.data, f.mode); err != nil {
			return err
		}
	}
	env, err := w.environment(in, rt)
	if err != nil {
		return err
	}
	err = w.run(ctx, in.Run, rt.Dir, env)
	if err := w.redactStreams(rt.Dir); err != nil {
		return err
	}
	said := ""
	if err == nil {
		err = keepOutputs(rt.Dir, in)
	} else {
		said = lastWords(rt.Dir)
	}
	if err == nil {
		return nil
	}
	return fmt.Errorf("command %q: %w%s%s", in.Run, err, said, w.keepStreams(rt))
}

// lastWords is the end of what a command said of its failure.
func lastWords(dir string) string {
	said, _ := os.ReadFile(filepath.Join(dir, stderrFile))
	if len(said) == 0 {
		said, _ = os.ReadFile(filepath.Join(dir, stdoutFile))
	}
	return lastLines(string(said))
}

// keepStreams copies the streams of a command that failed, whose folder goes,
// into the run's folder. It says where they are, as a line of an error.
func (w commandWork) keepStreams(rt *pipeline.Runtime) string {
	if _, err := os.Stat(filepath.Join(rt.Dir, stdoutFile)); err != nil || rt.RunDir == "" {
		return "" // it was not started, or nobody has a place for them
	}
	dir := filepath.Join(rt.RunDir, w.logs)
	err := os.MkdirAll(dir, 0o755)
	for _, name := range []string{stdoutFile, stderrFile} {
		if err == nil {
			err = copyFile(filepath.Join(rt.Dir, name), filepath.Join(dir, name))
		}
	}
	if err != nil {
		return fmt.Sprintf("\n  its output could not be kept: %v", err)
	}
	return fmt.Sprintf("\n  its output: %s, %s", filepath.Join(dir, stdoutFile), filepath.Join(dir, stderrFile))
}

// redactStreams takes secrets out of what the command wrote to its streams.
func (w commandWork) redactStreams(dir string) error {
	for _, name := range []string{stdoutFile, stderrFile} {
		path := filepath.Join(dir, name)
		data, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue // it was not started
		}
		if err != nil {
			return err
		}
		if text := w.secrets.Redact(string(data)); text != string(data) {
			if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
				return err
			}
		}
	}
	return nil
}

// environment is what the command inherits, its own variables, and the
// folders of its needs.
func (w commandWork) environment(in commandInput, rt *pipeline.Runtime) ([]string, error) {
	var env []string
	for _, name := range inherited {
		if v, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+v)
		}
	}
	for k, v := range in.Env {
		v, err := w.secrets.Reveal(v)
		if err != nil {
			return nil, fmt.Errorf("env %s: %w", k, err)
		}
		env = append(env, k+"="+v)
	}
	for _, n := range in.Needs {
		var dirs []string
		for _, id := range n.Needs {
			dir, err := filepath.Abs(rt.Needs[id])
			if err != nil {
				return nil, err
			}
			dirs = append(dirs, dir)
		}
		env = append(env, n.Variable+"="+strings.Join(dirs, string(os.PathListSeparator)))
	}
	return env, nil
}

// run runs a line of shell in dir, under a guardian: it and whatever it
// starts end when ctx does, and when vbp is killed.
func (w commandWork) run(ctx context.Context, line, dir string, env []string) error {
	// The streams are the shell's to redirect: the guardian has one log.
	argv := []string{"sh", "-c", `exec sh -c "$1" >"$2" 2>"$3"`, "sh", line, stdoutFile, stderrFile}
	cmd, stop, err := local.Task(w.self, "command", os.DevNull, w.stateDir, argv)
	if err != nil {
		return err
	}
	cmd.Dir, cmd.Env = dir, env
	if err := cmd.Start(); err != nil {
		return errors.Join(err, stop.Close())
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case err = <-ended:
		_ = stop.Close()
	case <-ctx.Done():
		err = errors.Join(context.Cause(ctx), stop.Close())
		<-ended
	}
	return err
}

func copyFile(from, to string) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, data, 0o644)
}

// keepOutputs checks that every declared output is there, in the command's own
// folder, and removes what was not declared.
func keepOutputs(dir string, in commandInput) error {
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return err
	}
	kept := []string{stdoutFile, stderrFile}
	for _, name := range in.Outputs {
		rel := filepath.Clean(filepath.FromSlash(name))
		info, err := os.Stat(filepath.Join(dir, rel))
		if err != nil || !info.Mode().IsRegular() {
			return fmt.Errorf("it succeeded but did not write its output %s", name)
		}
		// What lies elsewhere can change, and is not ours to make read-only.
		if at, err := filepath.EvalSymlinks(filepath.Join(dir, rel)); err != nil || at != filepath.Join(real, rel) {
			return fmt.Errorf("its output %s is a link, or behind one; let it write the file itself", name)
		}
		kept = append(kept, rel)
	}
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil || slices.Contains(kept, rel) {
			return err
		}
		return os.Remove(path)
	})
}

// lastLines is the end of a stream for an error message.
func lastLines(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	if len(lines) == 1 && lines[0] == "" {
		return ""
	}
	const most = 10
	lines = lines[max(0, len(lines)-most):]
	return "\n  " + strings.Join(lines, "\n  ")
}

// addCommands adds a user's step: once, for each mode, or for each point.
func (b *builder) addCommands(s specs.Stage) error {
	parts := []made{{}}
	switch s.Per {
	case "mode":
		parts = nil
		for _, mode := range b.seriesModes() {
			parts = append(parts, made{mode: mode})
		}
	case "point":
		parts = b.made["load"]
	}
	for _, part := range parts {
		if err := b.addCommand(s, part); err != nil {
			return fmt.Errorf("stage %s: %w", s.Name, err)
		}
	}
	return nil
}

func (b *builder) addCommand(s specs.Stage, part made) error {
	label := ""
	switch {
	case part.at != nil:
		label = " " + pointLabel(part.at.Axes)
		// An axis may lie below the stage's settings.
		i := slices.IndexFunc(part.at.Config.Stages, func(o specs.Stage) bool { return o.Name == s.Name })
		s = part.at.Config.Stages[i]
	case part.mode != "":
		label = " mode=" + part.mode
	}
	in, w, err := newCommandInput(s.Command, b.exp, b.site)
	if err != nil {
		return err
	}
	var needs []string
	for _, stage := range s.Needs {
		ids := b.needed(stage, part)
		in.Needs = append(in.Needs, namedNeed{variable(stage), ids})
		needs = append(needs, ids...)
	}
	raw, err := pipeline.NewInput(in)
	if err != nil {
		return err
	}
	place := s.Name + "/" + runs.FileName(strings.TrimSpace(label))
	w.logs = filepath.Join("logs", filepath.FromSlash(place))
	n := &pipeline.Node{
		ID: s.Name + label, Stage: "command", Group: s.Name, Kind: pipeline.Pure, Input: raw, Needs: needs, Files: s.Command.Inputs,
		Work: w.work, Place: place,
		// What a user's command does to the machine nobody knows: not while a
		// deployment has it to itself.
		Uses: map[string]int{hostResource: 1},
	}
	if err := b.addNode(n); err != nil {
		return err
	}
	b.made[s.Name] = append(b.made[s.Name], made{id: n.ID, mode: part.mode, at: part.at, number: part.number})
	return nil
}
