package vllm

import (
	"path/filepath"
	"strings"

	"vbp/stages/deploy"
)

// carriers are the Python packages that move KV for a connector: their version
// is part of what is measured.
var carriers = map[string]string{"nixl": "nixl", "lmcache": "lmcache"}

// Installed identifies the vLLM that a deployment with a connector ("": none)
// and environment env would start: its version, as the package beside its
// command tells it, else a digest of the command itself, and the version of
// the connector's package. Nothing is run.
func Installed(env map[string]string, connector string) (string, error) {
	path, err := deploy.FindProgram(Program, env, "install it (pip install vllm) or activate the Python environment that has it; a server that runs already is measured with endpoint: http://HOST:PORT")
	if err != nil {
		return "", err
	}
	root := path
	if real, err := filepath.EvalSymlinks(path); err == nil {
		root = real
	}
	root = filepath.Dir(filepath.Dir(root))
	identity := ""
	if v := packageVersion(root, Program); v != "" {
		identity = Program + " " + v
	} else if identity, err = deploy.ProgramDigest(path); err != nil {
		return "", err
	}
	if name := carriers[connector]; name != "" {
		if v := packageVersion(root, name); v != "" {
			identity += ", " + name + " " + v
		}
	}
	return identity, nil
}

// packageVersion is the version of a Python package in the environment at
// root, which has bin/vllm beside lib/python3.X/site-packages/NAME-VERSION.dist-info;
// else that of a build of it under a longer name. "" if it cannot be told
// which would be imported.
func packageVersion(root, name string) string {
	for _, form := range []string{name + "-*.dist-info", name + "_*-*.dist-info"} {
		for _, site := range []string{"lib/python3*/site-packages", "lib/python3*/dist-packages", "lib/python3/dist-packages"} {
			found, err := filepath.Glob(filepath.Join(root, site, form))
			if err != nil || len(found) != 1 {
				continue
			}
			if _, version, ok := strings.Cut(strings.TrimSuffix(filepath.Base(found[0]), ".dist-info"), "-"); ok {
				return version
			}
		}
	}
	return ""
}
