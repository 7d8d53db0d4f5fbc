package main

import (
	"os"
	"path/filepath"

	"github.com/rogpeppe/go-internal/testscript"
)

// standIns are programs called vllm, each in a folder of a script's own.
var standIns = map[string]string{
	"dies":     "#!/bin/sh\necho 'RuntimeError: The NVIDIA driver on your system is too old: CUDA driver version is insufficient' >&2\nexit 3\n",
	"versions": "#!/bin/sh\nexec vbp engine \"$@\" --engine-version \"$VERSION\"\n",
}

func writeStandIns(env *testscript.Env) error {
	for dir, script := range standIns {
		dir = filepath.Join(env.WorkDir, dir)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, "vllm"), []byte(script), 0o755); err != nil {
			return err
		}
	}
	return nil
}
