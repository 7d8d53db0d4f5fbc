package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"vbp/pipeline/cache"
	"vbp/specs"
)

// schemaFile is the schema's name beside a spec, as the specs that init writes
// and the examples name it.
const schemaFile = "vbp.schema.json"

// schemaMark is in every schema of vbp.
const schemaMark = `"title": "vbp spec"`

func newSchema() *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use:   "schema",
		Short: "Write the JSON Schema of the spec, for completion and checks in an editor",
		Long: `Schema writes the JSON Schema (draft 2020-12) of the spec. An editor with a YAML
language server then completes keys, shows what each means, and underlines
mistakes, if the spec's first line names the file:

  # yaml-language-server: $schema=` + schemaFile + `

The name is relative to the spec. The schema holds the shape of a spec; names
that refer to each other, expressions and files are checked by vbp validate.`,
		Example: "  vbp schema --out " + schemaFile + "\n  vbp schema | jq '.properties | keys'",
		Args:    none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return writeMade(cmd.OutOrStdout(), out, specs.Schema(), schemaMark)
		},
	}
	cmd.Flags().StringVar(&out, "out", "", "`file` to write instead of stdout")
	return cmd
}

// writeMade writes what vbp makes to a file, or to stdout if none is named. It
// replaces only a file that holds mark, so one that vbp made before: a slip
// must not cost somebody's spec.
func writeMade(stdout io.Writer, file string, data []byte, mark string) error {
	if file == "" {
		_, err := stdout.Write(data)
		return err
	}
	switch was, err := os.ReadFile(file); {
	case err == nil && !bytes.Contains(was, []byte(mark)):
		return bad(fmt.Errorf("%s is there and was not written by this command; name another file, or remove it", file))
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return bad(fmt.Errorf("cannot write %s: %w", file, reason(err)))
	}
	if !isDir(filepath.Dir(file)) {
		return bad(fmt.Errorf("cannot write %s: there is no folder %s", file, filepath.Dir(file)))
	}
	if err := cache.WriteFile(file, data); err != nil {
		return bad(err)
	}
	return nil
}

// reason is an error without the operation and the path, which the message
// around it names.
func reason(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}
