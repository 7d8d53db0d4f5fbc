package specs

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// FuzzParse: no spec panics, what is wrong is Errors with a message, and what
// is right is the same when its resolved form is read.
func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data, "slo.tpot=15ms")
		f.Add(data[:len(data)/2], "modes.simple.args.x={a: [1")
	}
	f.Fuzz(func(t *testing.T, data []byte, set string) {
		if len(data) > 4096 {
			return
		}
		e, err := Parse("testdata/x.yaml", data, Options{Set: []string{set}, Env: noEnv})
		if err != nil {
			errs, ok := err.(Errors)
			if !ok || len(errs) == 0 || errs.Error() == "" {
				t.Fatalf("%T %v", err, err)
			}
			return
		}
		if points, err := e.Points(); err != nil || len(points) == 0 || points[len(points)-1].Config == nil {
			t.Fatalf("no points: %v", err)
		}
		again, err := Parse("testdata/x.yaml", e.Resolved, Options{Env: noEnv})
		if err != nil {
			t.Fatalf("the resolved spec is wrong: %v\n%s", err, e.Resolved)
		}
		again.src, e.src = nil, nil
		again.Resolved, e.Resolved = nil, nil
		if !reflect.DeepEqual(again, e) {
			t.Fatalf("read again: %+v\nwant %+v", again, e)
		}
	})
}

// TestResolvedTexts: whatever text comes from the file or the environment, in
// a field of any type, is the same after it was written and read.
func TestResolvedTexts(t *testing.T) {
	piece := rapid.SampledFrom([]string{
		"a", "5", "0", ".", "-", "+", "e", " ", "\n", "\t", ": ", "#", " #", "'", `"`, "\\", "!", "&", "*", "|", ">", "%", "@", "`",
		"{", "}", "[", "]", ",", "?", "~", "null", "true", "yes", "<<", "---", "...", "${", "$", "é", "\u2028", "\ufeff", "\x00", "\x07", "\r", "0x1f", "2024-01-01", ".nan", "=",
	})
	rapid.Check(t, func(t *rapid.T) {
		text := strings.Join(rapid.SliceOfN(piece, 0, 5).Draw(t, "text"), "")
		env := func(string) (string, bool) { return text, true }
		spec := `{modes: {m: {args: {a: "${V}", b: [ "${V:-}" ], c: "x${V}"}, env: {A: "${V}"}}}, sweep: {qps: [1]}, workload: {body: {s: ` +
			quoteYAML(strings.ReplaceAll(text, "${", "$${")) + `}}}`
		e, err := Parse("x.yaml", []byte(spec), Options{Env: env})
		if err != nil {
			if strings.Contains(err.Error(), "no request and no command line") || strings.Contains(err.Error(), "escape") {
				t.Skip("not a value")
			}
			t.Fatalf("%v\nin %s", err, spec)
		}
		if got := e.Workload.Body["s"]; got != text {
			t.Fatalf("read %q, want %q", got, text)
		}
		again, err := Parse("x.yaml", e.Resolved, Options{Env: noEnv})
		if err != nil {
			t.Fatalf("%v\nin %s", err, e.Resolved)
		}
		if !reflect.DeepEqual(again.Modes, e.Modes) || !reflect.DeepEqual(again.Workload, e.Workload) {
			t.Fatalf("%+v\nread again %+v\nfrom %s", e.Modes, again.Modes, e.Resolved)
		}
	})
}

// quoteYAML writes s in double quotes as YAML reads them.
func quoteYAML(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		if r < ' ' || r == '"' || r == '\\' || r > '~' {
			fmt.Fprintf(&b, `\u%04x`, r)
		} else {
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}
