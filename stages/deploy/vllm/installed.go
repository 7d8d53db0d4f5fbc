package vllm

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// ErrMissing is the error of a program that is not there.
type ErrMissing struct {
	Program, Path, Hint string
}

func (e *ErrMissing) Error() string {
	return fmt.Sprintf("there is no program %s on PATH (%s); %s", e.Program, e.Path, e.Hint)
}

// Installed identifies the vLLM that a deployment with environment env would
// start: its version, as the package beside its command tells it, else a
// digest of the command itself. Nothing is run.
func Installed(env map[string]string) (string, error) {
	path, err := Find(Program, env, "install it (pip install vllm) or activate the Python environment that has it; a server that runs already is measured with endpoint: http://HOST:PORT")
	if err != nil {
		return "", err
	}
	if v := packageVersion(path); v != "" {
		return "vllm " + v, nil
	}
	return Digest(path)
}

// Find is the path of a program as a shell with environment env, over vbp's
// own, would find it.
func Find(program string, env map[string]string, hint string) (string, error) {
	path, own := env["PATH"]
	if !own {
		path = os.Getenv("PATH")
	}
	if strings.ContainsRune(program, filepath.Separator) {
		if _, err := exec.LookPath(program); err != nil {
			return "", fmt.Errorf("the program %s cannot be run: %w; %s", program, err, hint)
		}
		return program, nil
	}
	for _, dir := range filepath.SplitList(path) {
		candidate := filepath.Join(dir, program)
		if !filepath.IsAbs(candidate) {
			continue // as exec does, for safety
		}
		if found, err := exec.LookPath(candidate); err == nil {
			return found, nil
		}
	}
	return "", &ErrMissing{program, path, hint}
}

// packageVersion is the version of the Python package that the command at
// path belongs to: its environment has bin/vllm beside
// lib/python3.X/site-packages/vllm-VERSION.dist-info.
func packageVersion(path string) string {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	root := filepath.Dir(filepath.Dir(path))
	for _, form := range []string{"vllm-*.dist-info", "vllm_*-*.dist-info"} { // itself, else a build under another name
		for _, site := range []string{"lib/python3*/site-packages", "lib/python3*/dist-packages", "lib/python3/dist-packages"} {
			found, err := filepath.Glob(filepath.Join(root, site, form))
			if err != nil || len(found) != 1 { // several: it cannot be told which is imported
				continue
			}
			name := strings.TrimSuffix(filepath.Base(found[0]), ".dist-info")
			if _, version, ok := strings.Cut(name, "-"); ok {
				return version
			}
		}
	}
	return ""
}

// Digest identifies a program by its content.
func Digest(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("the program cannot be identified: %w", err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", fmt.Errorf("the program cannot be identified: %w", err)
	}
	return filepath.Base(path) + " sha256:" + hex.EncodeToString(h.Sum(nil)[:8]), nil
}
