package stages

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"vbp/pipeline"
	"vbp/pipeline/cache"
	"vbp/specs"
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

// namedNeed says which variable names the folder of a need.
type namedNeed struct {
	Variable string `json:"variable"`
	Need     string `json:"need"`
}

// Files that a command's streams are kept in.
const (
	stdoutFile = "stdout.txt"
	stderrFile = "stderr.txt"
)

// commandWork knows where the inputs lie; their content is in the input.
type commandWork struct {
	paths  []string
	reveal func(string) (string, error)
}

func newCommandInput(s *specs.CommandStage, reveal func(string) (string, error)) (commandInput, commandWork, error) {
	in := commandInput{Run: s.Run, Outputs: s.Outputs, Env: s.Env, Timeout: s.Timeout.String()}
	for _, path := range s.Inputs {
		data, err := os.ReadFile(path)
		if err != nil {
			return in, commandWork{}, fmt.Errorf("input of a command: %w", err)
		}
		sum := sha256.Sum256(data)
		in.Inputs = append(in.Inputs, fileInput{filepath.Base(path), hex.EncodeToString(sum[:])})
	}
	return in, commandWork{s.Inputs, reveal}, nil
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
// declared as outputs and its two streams are kept.
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
	for i, path := range w.paths {
		if err := copyInput(path, filepath.Join(rt.Dir, in.Inputs[i].Name)); err != nil {
			return err
		}
	}
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, "sh", "-c", in.Run)
	cmd.Dir, cmd.Stdout, cmd.Stderr = rt.Dir, &stdout, &stderr
	cmd.Env = os.Environ()
	for k, v := range in.Env {
		if v, err = w.reveal(v); err != nil {
			return fmt.Errorf("env %s: %w", k, err)
		}
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	for _, n := range in.Needs {
		dir, err := filepath.Abs(rt.Needs[n.Need])
		if err != nil {
			return err
		}
		cmd.Env = append(cmd.Env, n.Variable+"="+dir)
	}
	// Its children end with it: the whole group is killed.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second // for a grandchild that left the group and holds the streams
	if err := cmd.Run(); err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return fmt.Errorf("command %q: %w%s", in.Run, err, lastLines(stderr.String()))
	}
	return errors.Join(
		keepOutputs(rt.Dir, in),
		os.WriteFile(filepath.Join(rt.Dir, stdoutFile), stdout.Bytes(), 0o644),
		os.WriteFile(filepath.Join(rt.Dir, stderrFile), stderr.Bytes(), 0o644),
	)
}

// keepOutputs checks that every declared output is there and removes what was
// not declared.
func keepOutputs(dir string, in commandInput) error {
	for _, name := range in.Outputs {
		info, err := os.Stat(filepath.Join(dir, filepath.FromSlash(name)))
		if err != nil || !info.Mode().IsRegular() {
			return fmt.Errorf("command %q succeeded but did not write its output %s", in.Run, name)
		}
	}
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		if slices.Contains(in.Outputs, filepath.ToSlash(rel)) {
			return nil
		}
		return os.Remove(path)
	})
}

func copyInput(from, to string) error {
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if err := cache.WriteFile(to, data); err != nil {
		return err
	}
	return os.Chmod(to, info.Mode().Perm())
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
