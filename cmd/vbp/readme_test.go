package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// blocks returns the fenced blocks of a language in a Markdown text.
func blocks(text, language string) []string {
	var out []string
	for {
		_, rest, ok := strings.Cut(text, "```"+language+"\n")
		if !ok {
			return out
		}
		block, after, _ := strings.Cut(rest, "```")
		out = append(out, block)
		text = after
	}
}

func readme(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// TestReadmeCommands runs every command that the README shows, in its order,
// where its examples are. Only the number of requests is smaller, so that
// the first does not take a minute, and doctor is content with more. The one that
// it leaves out is the tests' own.
func TestReadmeCommands(t *testing.T) {
	skipIfShort(t)
	dir := t.TempDir()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	for link, to := range map[string]string{
		"examples": filepath.Join(root, "examples"), "bench": filepath.Join(root, "cmd/vbp/testdata/bench"),
	} {
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	standIn(t)                       // for examples of vLLM
	shown := make(map[string]string) // command -> what the README shows of its output
	var last string
	for _, line := range strings.Split(strings.Join(blocks(readme(t), "sh"), ""), "\n") {
		if line == "" || line == "go test ./..." {
			continue
		}
		command := strings.Replace(line, "go run ./cmd/vbp", "vbp", 1)
		if strings.Contains(command, "examples/quickstart.yaml") {
			command += " --set workload.requests=6 --set 'valid=[\"sent == 6\"]'"
		}
		if strings.HasPrefix(command, "vbp doctor") {
			command += " --within 1m" // how busy the machine is, a test cannot know
		}
		cmd := exec.CommandContext(t.Context(), "sh", "-c", command)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", line, err, out)
		}
		shown[line], last = string(out), line
	}
	if last == "" {
		t.Fatal("the README shows no command")
	}

	// The output that the README shows of the first command has the lines of
	// the real one, other numbers aside.
	outputs := blocks(readme(t), "text")
	if len(outputs) != 2 {
		t.Fatalf("the README shows %d outputs, not those of apply and plan", len(outputs))
	}
	sameShape(t, outputs[0], shown["go run ./cmd/vbp apply examples/quickstart.yaml"])
	sameShape(t, outputs[1], shown["vbp plan examples/quickstart.yaml --set slo.tpot=15ms"])
}

// sameShape holds that the lines of want are in got, if words only count.
func sameShape(t *testing.T, want, got string) {
	t.Helper()
	words := func(line string) string {
		line, _, _ = strings.Cut(line, " measured under") // and how long ago
		var out []string
		for _, w := range strings.Fields(line) {
			if !strings.ContainsAny(w, "0123456789") {
				out = append(out, w)
			}
		}
		return strings.Join(out, " ")
	}
	have := make(map[string]bool)
	for line := range strings.Lines(got) {
		have[words(line)] = true
	}
	for line := range strings.Lines(want) {
		if w := words(line); !have[w] && !strings.HasPrefix(w, "capacity") {
			t.Errorf("the README shows %q, which is not in the output:\n%s", strings.TrimSpace(line), got)
		}
	}
}

// TestReadmeSpec holds that the spec in the README is the example itself, and
// that the command stage that it shows runs.
func TestReadmeSpec(t *testing.T) {
	data, err := os.ReadFile("../../examples/quickstart.yaml")
	if err != nil {
		t.Fatal(err)
	}
	got := blocks(readme(t), "yaml")
	if len(got) != 2 || got[0] != string(data) {
		t.Fatalf("the README's spec is not examples/quickstart.yaml")
	}
	// The stage that it shows, in a spec of its own.
	dir := t.TempDir()
	spec := "modes: {a: {engine: simulated}}\nworkload: {requests: 3}\nsweep: {qps: [100]}\n" + got[1] + "  warmup: {requests: 0}\n"
	for name, text := range map[string]string{"spec.yaml": spec, "summarise.sh": "#!/bin/sh\necho top $TOP; ls $VBP_ANALYZE\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if _, stderr, code := vbp(t, dir, "apply", "spec.yaml"); code != 0 {
		t.Fatalf("exit code %d:\n%s", code, stderr)
	}
	made, _ := filepath.Glob(filepath.Join(dir, "results/spec/*/summary/summary.md"))
	if len(made) != 1 {
		t.Fatalf("summaries: %q", made)
	}
	if text, err := os.ReadFile(made[0]); err != nil || !strings.Contains(string(text), "top 5\nanalysis.csv\nanalysis.json") {
		t.Errorf("the summary says %q, %v", text, err)
	}
}
