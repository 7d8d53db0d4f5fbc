package main

import (
	"bytes"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"vbp/specs"
)

// starters are the specs that init writes; each can be applied as it is.
//
//go:embed init/*.yaml
var starters embed.FS

// starterURL is the address in the starter for a server that runs.
const starterURL = `"http://127.0.0.1:8000"`

func newInit() *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use:   "init [simple | nixl | endpoint [URL]]",
		Short: "Write a commented spec to start from",
		Long: `Init writes a spec to start from, with a reason beside each key, and the schema
for editors beside it (see vbp schema):

  simple    one vLLM instance (the default)
  nixl      prefill and decode instances of vLLM against one instance
  endpoint  a server that already runs, at URL

It asks nothing, starts nothing, and never overwrites a file.`,
		Example: "  vbp init\n  vbp init nixl --out compare.yaml\n  vbp init endpoint http://127.0.0.1:8000",
		Args: func(_ *cobra.Command, args []string) error {
			switch {
			case len(args) > 0 && args[0] != "simple" && args[0] != "nixl" && args[0] != "endpoint":
				return usageError{fmt.Errorf("there is simple, nixl and endpoint, not %q", args[0])}
			case len(args) > 1 && args[0] != "endpoint", len(args) > 2:
				return usageError{fmt.Errorf("unexpected argument %q", args[len(args)-1])}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			kind, url := "simple", ""
			if len(args) > 0 {
				kind = args[0]
			}
			if len(args) > 1 {
				url = args[1]
			}
			if out == "" {
				out = kind + ".yaml"
			}
			spec, err := starter(kind, url)
			if err != nil {
				return err
			}
			kept, err := writeStarter(out, spec)
			if err != nil {
				return bad(err)
			}
			w := cmd.OutOrStdout()
			fmt.Fprintf(w, "wrote  %s\n", out)
			beside := filepath.Join(filepath.Dir(out), schemaFile)
			if kept {
				fmt.Fprintf(w, "kept   %s, which is another one; vbp schema --out %s writes it anew\n", beside, beside)
			} else {
				fmt.Fprintf(w, "schema %s: editors with a YAML language server complete and check keys by it\n", beside)
			}
			_, err = fmt.Fprintf(w, "next   vbp validate %[1]s\n       vbp plan %[1]s   (%[2]s)\n       vbp apply %[1]s\n", out, map[string]string{
				"simple":   "shows the command lines that it would start; needs the program vllm and a GPU",
				"nixl":     "shows the command lines that it would start; needs the program vllm with nixl, and two GPUs",
				"endpoint": "asks the server what it serves",
			}[kind])
			return err
		},
	}
	cmd.Flags().StringVar(&out, "out", "", "`file` to write (default: simple.yaml, nixl.yaml or endpoint.yaml)")
	return cmd
}

// starter is the spec of a kind, with the address of a server in it.
func starter(kind, url string) ([]byte, error) {
	spec, err := starters.ReadFile("init/" + kind + ".yaml")
	if err != nil || url == "" {
		return spec, err
	}
	quoted, err := json.Marshal(url) // which YAML reads, too
	if err != nil {
		return nil, err
	}
	spec = bytes.Replace(spec, []byte(starterURL), quoted, 1)
	// The language knows what an address is.
	var wrong specs.Errors
	if _, err := specs.Parse("endpoint.yaml", spec, specs.Options{SkipFiles: true}); errors.As(err, &wrong) {
		text := strings.TrimPrefix(wrong[0].Msg, "modes.server.")
		if wrong[0].Hint != "" {
			text += " (" + wrong[0].Hint + ")"
		}
		return nil, usageError{errors.New(text)}
	}
	return spec, nil
}

// writeStarter writes a spec that is not there yet and the schema beside it.
// A schema that is there already is left alone; kept tells that it is not this
// vbp's.
func writeStarter(file string, spec []byte) (kept bool, err error) {
	if dir := filepath.Dir(file); !isDir(dir) {
		return false, fmt.Errorf("cannot write %s: there is no folder %s", file, dir)
	}
	if err := create(file, spec); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return false, fmt.Errorf("%s is there already, and init never overwrites; --out names another file", file)
		}
		return false, fmt.Errorf("cannot write %s: %w", file, reason(err))
	}
	beside := filepath.Join(filepath.Dir(file), schemaFile)
	switch err := create(beside, specs.Schema()); {
	case errors.Is(err, fs.ErrExist):
		was, err := os.ReadFile(beside)
		return err != nil || !bytes.Equal(was, specs.Schema()), nil
	case err != nil:
		return false, errors.Join(fmt.Errorf("cannot write %s: %w", beside, reason(err)), os.Remove(file))
	}
	return false, nil
}

// create writes a file that must not be there; nothing of it stays if that
// fails.
func create(file string, data []byte) error {
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, os.Remove(file))
	}
	return nil
}
