package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"vbp/stages/collect"
)

// treeSpec has two modes, rates whose text order is not their order, and an
// axis that only one mode has.
const treeSpec = `
name: tree
model: Qwen/Qwen3-8B
modes:
  simple: {engine: simulated}
  nixl: {engine: simulated, disaggregated: {connector: nixl}}
workload: {requests: 3, dataset: {kind: random, input_tokens: 32, output_tokens: 4}}
sweep:
  qps: [0.5, 2, 10]
  modes.simple.args.max-num-seqs: [64, 128]
stages: {warmup: {requests: 0}, plot: {formats: [svg]}, load: {cooldown: 0s, side_by_side: true}}
valid: ["sent == 3"]
`

// treeQuery reads the whole tree at once. Its rows: rate, mode, max-num-seqs,
// requests, output tokens, the sum of TTFT.
const treeQuery = `
import json, sys, duckdb
rows = duckdb.sql(f"""
  select rate, mode, "modes.simple.args.max-num-seqs" as seqs, count(*), sum(output_tokens), sum(ttft_s)
  from read_parquet('{sys.argv[1]}/**/samples.parquet', hive_partitioning = true)
  where qps = rate
  group by all order by rate, mode, seqs""").fetchall()
print(json.dumps([[r[0], r[1], None if r[2] is None else str(r[2]), r[3], int(r[4]), r[5]] for r in rows]))
`

const treePyArrow = `
import json, sys, pyarrow.dataset as ds
t = ds.dataset(sys.argv[1], partitioning="hive", exclude_invalid_files=False, format="parquet").to_table(columns=["rate", "output_tokens"])
print(json.dumps([t.num_rows, sum(t["output_tokens"].to_pylist()), sorted(set(t["rate"].to_pylist()))]))
`

// TestTreeIsReadByOthers applies a spec and has DuckDB and pyarrow read the
// tree of samples whole.
func TestTreeIsReadByOthers(t *testing.T) {
	if err := exec.Command("python3", "-c", "import duckdb, pyarrow").Run(); err != nil {
		t.Skip("python3 with duckdb and pyarrow is not here; .ci/run installs them")
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "spec.yaml"), []byte(treeSpec), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, stderr, code := vbp(t, dir, "apply", "spec.yaml"); code != 0 {
		t.Fatalf("exit code %d:\n%s", code, stderr)
	}
	trees, _ := filepath.Glob(filepath.Join(dir, "results/tree/*/samples"))
	if len(trees) != 1 {
		t.Fatalf("trees: %q", trees)
	}

	// Ours, from each file by its place in the tree.
	var want []string
	requests, tokens := 0, int64(0)
	for _, rate := range []string{"0.5", "2", "10"} {
		for _, place := range []string{
			"mode=nixl/modes.simple.args.max-num-seqs=__HIVE_DEFAULT_PARTITION__",
			"mode=simple/modes.simple.args.max-num-seqs=128",
			"mode=simple/modes.simple.args.max-num-seqs=64",
		} {
			table, err := collect.ReadSamples(filepath.Join(trees[0], place, "qps="+rate, "repeat=0", "samples.parquet"))
			if err != nil {
				t.Fatal(err)
			}
			mode, seqs, _ := strings.Cut(place, "/modes.simple.args.max-num-seqs=")
			n, sum := int64(0), 0.0
			for i := range table.Len() {
				n += table.OutputTokens[i]
				sum += table.TTFT[i]
			}
			requests, tokens = requests+table.Len(), tokens+n
			if strings.HasPrefix(seqs, "__") {
				seqs = "null"
			}
			want = append(want, fmt.Sprintf("%s %s %s %d %d %.9f", rate, strings.TrimPrefix(mode, "mode="), seqs, table.Len(), n, sum))
		}
	}

	var rows [][]any
	python(t, treeQuery, trees[0], &rows)
	var got []string
	for _, r := range rows {
		seqs := "null"
		if r[2] != nil {
			seqs = r[2].(string)
		}
		got = append(got, fmt.Sprintf("%v %v %s %v %v %.9f", r[0], r[1], seqs, r[3], r[4], r[5]))
	}
	// DuckDB may have typed the axis as a number or as text: order within a
	// rate is not what is asked.
	byRate := func(s []string) [][]string {
		var out [][]string
		for g := range slices.Chunk(s, 3) {
			g = slices.Clone(g)
			slices.Sort(g)
			out = append(out, g)
		}
		return out
	}
	if fmt.Sprint(byRate(got)) != fmt.Sprint(byRate(want)) {
		t.Errorf("DuckDB reads\n%s\nand we\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}

	var arrow []any
	python(t, treePyArrow, trees[0], &arrow)
	if got, want := fmt.Sprint(arrow), fmt.Sprintf("[%d %d [0.5 2 10]]", requests, tokens); got != want {
		t.Errorf("pyarrow reads %s, and we %s", got, want)
	}
}

func python(t *testing.T, program, arg string, v any) {
	t.Helper()
	out, err := exec.Command("python3", "-c", program, arg).Output()
	if err != nil {
		var stderr []byte
		if e, ok := err.(*exec.ExitError); ok {
			stderr = e.Stderr
		}
		t.Fatalf("python3: %v\n%s", err, stderr)
	}
	if err := json.Unmarshal(out, v); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
}
