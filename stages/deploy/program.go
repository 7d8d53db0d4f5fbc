package deploy

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

// MissingProgram is the error of a program that is not there.
type MissingProgram struct {
	Program, Path, Hint string
}

func (e *MissingProgram) Error() string {
	return fmt.Sprintf("there is no program %s on PATH (%s); %s", e.Program, e.Path, e.Hint)
}

// FindProgram is the path of a program as a shell with environment env, over vbp's
// own, would find it.
func FindProgram(program string, env map[string]string, hint string) (string, error) {
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
	return "", &MissingProgram{program, path, hint}
}

// ProgramDigest identifies a program by its content.
func ProgramDigest(path string) (string, error) {
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
