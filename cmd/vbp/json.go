package main

import (
	"encoding/json"
	"io"
)

// printJSON is how every command with --json prints what it knows.
func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}
