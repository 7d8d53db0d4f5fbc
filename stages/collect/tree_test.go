package collect

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"vbp/stages/sample"
)

func TestPointDirNamesEveryAxis(t *testing.T) {
	for _, c := range []struct {
		axes []sample.Axis
		want string
	}{
		{[]sample.Axis{{Name: "mode", Value: "simple", Set: true}, {Name: "qps", Value: "2.0", Set: true}, {Name: "repeat", Value: "0", Set: true}}, "mode=simple/qps=2/repeat=0"},
		{[]sample.Axis{{Name: "mode", Value: "nixl", Set: true}, {Name: "modes.simple.args.max-model-len"}, {Name: "qps", Value: "5e-1", Set: true}}, "mode=nixl/modes.simple.args.max-model-len=__HIVE_DEFAULT_PARTITION__/qps=0.5"},
		{[]sample.Axis{{Name: "a/b=c d", Value: "100% ä", Set: true}}, "a%2Fb%3Dc d=100%25%20%C3%A4"},
		{[]sample.Axis{{Name: "version", Value: "0.10", Set: true}}, "version=0.10"},
		{[]sample.Axis{{Name: "x", Value: "__HIVE_DEFAULT_PARTITION__", Set: true}}, "x=%5F_HIVE_DEFAULT_PARTITION__"},
		{[]sample.Axis{{Name: "x", Value: "../..", Set: true}}, "x=..%2F.."},
	} {
		if got := filepath.ToSlash(PointDir(c.axes)); got != c.want {
			t.Errorf("got %s, want %s", got, c.want)
		}
	}
}

// python runs a script and decodes the JSON that it prints; it skips the test
// where Python or a module is missing.
func python(t *testing.T, module, script string, out any, args ...string) {
	t.Helper()
	if testing.Short() {
		t.Skip("starting Python is left out of short runs")
	}
	if err := exec.Command("python3", "-c", "import "+module).Run(); err != nil {
		t.Skipf("python3 with the module %s is not installed: %v", module, err)
	}
	cmd := exec.Command("python3", append([]string{"-c", script}, args...)...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	printed, err := cmd.Output()
	if err != nil {
		t.Fatalf("python3: %v\n%s", err, stderr.String())
	}
	if err := json.Unmarshal(printed, out); err != nil {
		t.Fatalf("%v in %s", err, printed)
	}
}

// foreignRow is what another reader finds of one point.
type foreignRow struct {
	Mode, Axis *string
	Rate       float64
	Requests   int
	Failed     int
	TTFT       float64 // sum
	Gaps       int64   // sum, us
	Sent       int64   // sum, ns
}

const axisOfOneMode = "modes.simple.args.kv cache-é"

// hiveTree writes two modes at rates 0.5, 2 and 10, the one of them with an
// axis that the other lacks, and returns what a reader should find, by mode,
// value of the axis and rate.
func hiveTree(t *testing.T, root string) []foreignRow {
	t.Helper()
	var want []foreignRow
	nixl, simple := "nixl", "simple"
	auto, eight := "auto", "fp8 100%"
	for _, m := range []struct {
		mode, axis *string
	}{{&nixl, nil}, {&simple, &auto}, {&simple, &eight}} {
		for _, rate := range []float64{0.5, 2, 10} {
			axis := sample.Axis{Name: axisOfOneMode}
			if m.axis != nil {
				axis.Value, axis.Set = *m.axis, true
			}
			axes := []sample.Axis{
				{Name: "mode", Value: *m.mode, Set: true},
				axis,
				{Name: "qps", Value: fmt.Sprint(rate), Set: true},
				{Name: "repeat", Value: "0", Set: true},
			}
			table := plainTable(int(10 * rate))
			table.Meta.Axes, table.Meta.Rate = axes, rate
			failed := sample.NewOutcome("failed")
			failed.Outcome, failed.Error = sample.HTTPError, "503"
			table.Append(failed)
			row := foreignRow{Mode: m.mode, Axis: m.axis, Rate: rate, Requests: table.Len(), Failed: 1}
			for i := range table.Len() - 1 {
				row.TTFT += table.TTFT[i]
				row.Sent += table.Sent[i]
				for _, g := range table.Gaps[i] {
					row.Gaps += int64(g)
				}
			}
			want = append(want, row)
			if err := WriteSamples(filepath.Join(root, PointDir(axes), SamplesFile), table); err != nil {
				t.Fatal(err)
			}
		}
	}
	return want
}

func compareRows(t *testing.T, got, want []foreignRow) {
	t.Helper()
	text := func(s *string) string {
		if s == nil {
			return "null"
		}
		return *s
	}
	if len(got) != len(want) {
		t.Fatalf("found %d points, want %d: %+v", len(got), len(want), got)
	}
	for i, g := range got {
		w := want[i]
		if text(g.Mode) != text(w.Mode) || text(g.Axis) != text(w.Axis) || g.Rate != w.Rate ||
			g.Requests != w.Requests || g.Failed != w.Failed || g.Gaps != w.Gaps || g.Sent != w.Sent ||
			g.TTFT < w.TTFT*(1-1e-12) || g.TTFT > w.TTFT*(1+1e-12) {
			t.Errorf("point %d: %s %s %+v, want %s %s %+v", i, text(g.Mode), text(g.Axis), g, text(w.Mode), text(w.Axis), w)
		}
	}
}

func TestDuckDBReadsATreeInOneQuery(t *testing.T) {
	root := t.TempDir()
	want := hiveTree(t, root)
	var got []foreignRow
	python(t, "duckdb", `
import duckdb, json, sys
axis = sys.argv[2].replace('"', '""')
rows = duckdb.sql(f"""
  select mode, "{axis}", rate, count(*), count(*) filter (outcome <> 'ok'), sum(ttft_s),
         sum(list_sum(gaps_us)), sum(sent_ns)
  from read_parquet('{sys.argv[1]}/**/samples.parquet', hive_partitioning = true)
  group by all order by mode, 2 nulls first, rate""").fetchall()
print(json.dumps([dict(Mode=a, Axis=b, Rate=c, Requests=d, Failed=e, TTFT=f, Gaps=int(g), Sent=int(h))
                  for a, b, c, d, e, f, g, h in rows]))
`, &got, root, axisOfOneMode)
	compareRows(t, got, want)
}

func TestPyarrowReadsATree(t *testing.T) {
	root := t.TempDir()
	want := hiveTree(t, root)
	var got []foreignRow
	python(t, "pyarrow", `
import json, sys, pyarrow.compute as pc, pyarrow.dataset as ds
rows = {}
for r in ds.dataset(sys.argv[1], format="parquet", partitioning="hive").to_table().to_pylist():
    k = (r["mode"], r[sys.argv[2]], r["rate"])
    p = rows.setdefault(k, dict(Mode=k[0], Axis=k[1], Rate=k[2], Requests=0, Failed=0, TTFT=0.0, Gaps=0, Sent=0))
    p["Requests"] += 1
    p["Failed"] += r["outcome"] != "ok"
    p["TTFT"] += r["ttft_s"] or 0
    p["Gaps"] += sum(r["gaps_us"] or [])
    p["Sent"] += r["sent_ns"] or 0
print(json.dumps([rows[k] for k in sorted(rows, key=lambda k: (k[0], k[1] or "", k[2]))]))
`, &got, root, axisOfOneMode)
	compareRows(t, got, want)
}
