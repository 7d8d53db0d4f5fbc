package stages

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"vbp/pipeline"
	"vbp/stages/collect"
	"vbp/stages/sample"
)

// tableOf is n requests that were answered with the given latencies, and
// failed ones after them.
func tableOf(n, failed int, ttft, tpot float64) *sample.Table {
	t := &sample.Table{}
	for i := range n + failed {
		o := sample.NewOutcome(string(rune('a' + i)))
		o.Scheduled, o.Sent = int64(i)*1e9, int64(i)*1e9
		o.Outcome = sample.HTTPError
		if i < n {
			o.Outcome, o.TTFT, o.TPOT, o.OutputTokens = sample.OK, ttft, tpot, 5
			o.FirstToken = o.Sent + int64(ttft*1e9)
			o.LastToken = o.FirstToken + int64(4*tpot*1e9)
		}
		t.Append(o)
	}
	t.Meta.Facts = map[string]float64{"sent": float64(n + failed), "failed": float64(failed)}
	return t
}

// axesOf names the coordinates of a point; a value of "-" does not apply.
func axesOf(pairs ...string) (axes []sample.Axis) {
	for i := 0; i < len(pairs); i += 2 {
		a := sample.Axis{Name: pairs[i]}
		if pairs[i+1] != "-" {
			a.Value, a.Set = pairs[i+1], true
		}
		axes = append(axes, a)
	}
	return axes
}

// collected lays out a tree of three points: one measured with metrics, one
// measured without, one that could not be measured.
func collected(t *testing.T) (dir string, needs map[string]string) {
	t.Helper()
	needs = make(map[string]string)
	for id, rate := range map[string]float64{"load 1": 1, "load 2": 2} {
		from := t.TempDir()
		needs[id] = from
		table := tableOf(3, 1, 0.1, 0.01)
		// What the point itself knew: fewer axes, and its own configuration.
		table.Meta.Axes = axesOf("qps", "0", "repeat", "0")
		table.Meta.Rate, table.Meta.Config = rate, map[string]string{"seen": "yes"}
		if err := collect.WriteSamples(filepath.Join(from, samplesFile), table); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(needs["load 2"], metricsFile), []byte("metrics"), 0o644); err != nil {
		t.Fatal(err)
	}
	values := func(texts ...string) (out []*string) {
		for _, v := range texts {
			if v == "-" {
				out = append(out, nil)
			} else {
				out = append(out, &v)
			}
		}
		return out
	}
	in, err := pipeline.NewInput(collectInput{
		Axes: []string{"mode", "modes.b.args.x", "qps", "repeat"},
		Kinds: []collectKind{
			{GPUs: 2, Config: map[string]string{"declared": "2"}},
			{GPUs: 3, Config: map[string]string{"declared": "3"}},
			{GPUs: 1, Config: map[string]string{"declared": "1"}},
		},
		Points: []collectPoint{
			{Need: "load 2", Kind: 0, Values: values("b", "a/b", "2", "0")},
			{Need: "load 3", Kind: 1, Values: values("a", "-", "4.5", "1")},
			{Need: "load 1", Kind: 2, Values: values("a", "-", "1", "0")},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	dir = t.TempDir()
	rt := &pipeline.Runtime{Dir: dir, Needs: needs}
	if err := collectWork(t.Context(), in, rt); err != nil {
		t.Fatal(err)
	}
	return dir, needs
}

func TestCollect(t *testing.T) {
	dir, needs := collected(t)
	const one = "mode=a/modes.b.args.x=__HIVE_DEFAULT_PARTITION__/qps=1/repeat=0"
	const two = "mode=b/modes.b.args.x=a%2Fb/qps=2/repeat=0"
	want := []string{
		"points.json", "samples/" + one + "/samples.parquet", "samples/" + two + "/samples.parquet",
		"server_metrics/" + two + "/metrics.parquet",
	}
	if got := filesBelow(t, dir); !slices.Equal(got, want) {
		t.Errorf("the tree holds %q\nwant %q", got, want)
	}
	if a, b := contentOf(t, dir, "samples", two, samplesFile), contentOf(t, needs["load 2"], samplesFile); a != b {
		t.Error("its samples are others than the point's")
	}

	entries, tables, err := readPoints(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for i, e := range entries {
		got = append(got, axesLabel(e.Axes)+" in "+e.Path)
		if rows := tables[i].Len(); rows != map[bool]int{true: 4, false: 0}[e.Path != ""] {
			t.Errorf("%s: %d rows", axesLabel(e.Axes), rows)
		}
	}
	// In the order of the sweep.
	if want := []string{"mode=b modes.b.args.x=a/b qps=2 repeat=0 in samples/" + two, "mode=a qps=4.5 repeat=1 in ", "mode=a qps=1 repeat=0 in samples/" + one}; !slices.Equal(got, want) {
		t.Errorf("points %q\nwant   %q", got, want)
	}
	// Coordinates and GPUs are the run's; the configuration is what was
	// measured, and what was declared where nothing was.
	for i, want := range []sample.Meta{
		{GPUs: 2, Config: map[string]string{"seen": "yes"}},
		{GPUs: 3, Config: map[string]string{"declared": "3"}},
		{GPUs: 1, Config: map[string]string{"seen": "yes"}},
	} {
		m := tables[i].Meta
		if m.GPUs != want.GPUs || !reflect.DeepEqual(m.Config, want.Config) || !reflect.DeepEqual(m.Axes, entries[i].Axes) {
			t.Errorf("point %d: %+v", i, m)
		}
	}
	if f := entries[0].Facts; f["sent"] != 4 || f["failed"] != 1 || entries[1].Facts != nil {
		t.Errorf("facts %v and %v", f, entries[1].Facts)
	}
}

func TestCollectDamaged(t *testing.T) {
	dir, needs := collected(t)
	file := filepath.Join(needs["load 1"], samplesFile)
	if err := os.WriteFile(file, []byte("PAR1"), 0o644); err != nil {
		t.Fatal(err)
	}
	in, err := pipeline.NewInput(collectInput{Kinds: []collectKind{{}}, Points: []collectPoint{{Need: "load 1"}}})
	if err != nil {
		t.Fatal(err)
	}
	mustContain(t, collectWork(t.Context(), in, &pipeline.Runtime{Dir: t.TempDir(), Needs: needs}), file)

	if err := os.WriteFile(filepath.Join(dir, pointsFile), []byte("[{"), 0o644); err != nil {
		t.Fatal(err)
	}
	_, _, err = readPoints(dir)
	mustContain(t, err, filepath.Join(dir, pointsFile))
	if _, _, err = readPoints(t.TempDir()); !os.IsNotExist(err) {
		t.Errorf("error %v", err)
	}
}

// TestCollectOfFailedNeed holds that a point which cannot be measured keeps
// its place in the run, and that the others' results are there.
func TestCollectOfFailedNeed(t *testing.T) {
	w := newWorld(t)
	w.prepare = func(s *server) error {
		if s.deployment.Connector != "" {
			return os.ErrDeadlineExceeded
		}
		return nil
	}
	a := w.apply(twoModes)
	entries, err := readEntries(a.RunDir)
	if err != nil || len(entries) != 2 || entries[0].Path == "" || entries[1].Path != "" {
		t.Fatalf("points %+v, %v", entries, err)
	}
	analysis, err := ReadAnalysis(a.RunDir)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(analysis.Warnings, func(s string) bool {
		return strings.Contains(s, "nixl: not measured at rate 1000") && strings.Contains(s, "the journal tells why")
	}) {
		t.Errorf("warnings %q", analysis.Warnings)
	}
	// When it can be measured after all, the tree is made again.
	w.prepare = nil
	a = w.apply(twoModes)
	entries, err = readEntries(a.RunDir)
	if err != nil || entries[1].Path == "" {
		t.Errorf("points %+v, %v", entries, err)
	}
}
