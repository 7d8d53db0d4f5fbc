package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// mayImport is the direction in which data flows: for each package of the
// house, the others of the house that it may import directly.
var mayImport = map[string][]string{
	"specs":                      {},
	"pipeline":                   {"pipeline/cache", "pipeline/history"},
	"pipeline/cache":             {},
	"pipeline/history":           {},
	"stages/sample":              {},
	"stages/analyze":             {"stages/sample"},
	"stages/collect":             {"stages/sample"},
	"stages/load":                {"stages/sample", "stages/load/answer", "stages/load/workload"},
	"stages/load/answer":         {"stages/sample"},
	"stages/load/doctor":         {"stages/sample", "stages/load", "stages/load/arrivals", "stages/load/limits", "stages/load/metronome", "stages/load/workload"},
	"stages/load/limits":         {},
	"stages/load/loop":           {"stages/sample", "stages/load", "stages/load/answer"},
	"stages/load/metronome":      {},
	"stages/load/workload/count": {},
	"stages/load/arrivals":       {"stages/load/seed"},
	"stages/load/seed":           {},
	"stages/load/workload":       {"stages/load/seed"},
	"stages/warmup":              {"stages/sample", "stages/load", "stages/load/workload", "stages/load/arrivals", "stages/load/seed"},
	"stages/plot":                {"stages/analyze", "stages/plot/render"},
	"stages/plot/render":         {},
	"stages/deploy":              {},
	"stages/deploy/attach":       {"stages/deploy", "stages/deploy/probe"},
	"stages/deploy/engine":       {},
	"stages/deploy/local":        {"stages/deploy", "stages/deploy/probe", "stages/deploy/vllm"},
	"stages/deploy/probe":        {"stages/deploy"},
	"stages/deploy/proxy":        {},
	"stages/deploy/vllm":         {"stages/deploy"},
	// These two are about what pipeline wrote, never about how it runs; specs
	// tell upkeep where figures outside of a run's folder were put.
	"stages/runs":   {"pipeline/history"},
	"stages/upkeep": {"stages/runs", "pipeline/cache", "pipeline/history", "specs"},
	"stages":        {"*"},
	"cmd/vbp":       {"*"},
}

// banned are packages that must not even be reached through others.
var banned = map[string][]string{
	"stages/analyze":     {"net/http", "os/exec", "github.com/wcharczuk/go-chart/v2"},
	"stages/sample":      {"net/http", "encoding/json", "os/exec"},
	"stages/plot/render": {"net/http"},
	"stages/load":        {"vbp/stages/analyze", "vbp/stages/collect", "vbp/stages/deploy"},
	"stages/runs":        {"net/http", "os/exec", "vbp/specs"},
	"stages/upkeep":      {"net/http", "os/exec", "vbp/pipeline", "vbp/stages/load", "vbp/stages/deploy"},
	"specs":              {"net/http", "os/exec"},
	"pipeline":           {"net/http", "gopkg.in/yaml.v3"},
}

// TestImportDirections holds the house: who may know whom.
func TestImportDirections(t *testing.T) {
	goTool, err := exec.LookPath("go")
	if err != nil {
		t.Skip("the go command is not on PATH, so imports cannot be listed")
	}
	cmd := exec.Command(goTool, "list", "-json=ImportPath,Imports,Deps", "vbp/...")
	cmd.Stderr = new(bytes.Buffer)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, cmd.Stderr)
	}
	seen := make(map[string]bool)
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p struct {
			ImportPath    string
			Imports, Deps []string
		}
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimPrefix(p.ImportPath, "vbp/")
		seen[name] = true
		allowed, known := mayImport[name]
		if !known {
			t.Errorf("package %s has no place in the house: add it to mayImport, after reading the design", name)
			continue
		}
		for _, imp := range p.Imports {
			of, ours := strings.CutPrefix(imp, "vbp/")
			if ours && !slices.Contains(allowed, of) && !slices.Contains(allowed, "*") {
				t.Errorf("%s must not import %s", name, of)
			}
			if name != "specs" && imp == "gopkg.in/yaml.v3" {
				t.Errorf("%s imports yaml; only specs reads YAML", name)
			}
		}
		for _, ban := range banned[name] {
			if slices.Contains(p.Deps, ban) {
				t.Errorf("%s reaches %s, which it must not know", name, ban)
			}
		}
		for _, word := range []string{"util", "common", "helper"} {
			if strings.Contains(name, word) {
				t.Errorf("%s: a package is named for what it holds", name)
			}
		}
	}
	for name := range mayImport {
		if !seen[name] {
			t.Errorf("mayImport names %s, which is not there", name)
		}
	}
}
