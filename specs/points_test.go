package specs

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func parse(t testing.TB, spec string, set ...string) *Experiment {
	t.Helper()
	e, err := Parse("testdata/test.yaml", []byte(spec), Options{Set: set, Env: func(string) (string, bool) { return "", false }})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// show writes points as their coordinates, an axis of another mode as -.
func show(t testing.TB, e *Experiment) []string {
	t.Helper()
	points, err := e.Points()
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, p := range points {
		var words []string
		for _, a := range p.Axes {
			if !a.Set {
				a.Value = "-"
			}
			words = append(words, a.Value)
		}
		out = append(out, strings.Join(words, " "))
	}
	return out
}

func TestPointsOrder(t *testing.T) {
	e := parse(t, `
modes: {simple: {}, nixl: {disaggregated: {}}}
sweep:
  mode: [nixl, simple]
  qps: [2, 0.5]
  repeat: 2
  modes.simple.args.max-model-len: [4096, 8192]
  workload.requests: [10, 20]
  exclude:
    - mode == "nixl" && repeat == 1
    - axis["modes.simple.args.max-model-len"] > 5000 && qps < 1
    - axis["workload.requests"] == 20 && qps == 2
`)
	// mode, max-model-len, requests, qps, repeat; worked out by hand.
	want := []string{
		"nixl - 10 2 0",
		"nixl - 10 0.5 0",
		"nixl - 20 0.5 0",
		"simple 4096 10 2 0",
		"simple 4096 10 2 1",
		"simple 4096 10 0.5 0",
		"simple 4096 10 0.5 1",
		"simple 4096 20 0.5 0",
		"simple 4096 20 0.5 1",
		"simple 8192 10 2 0",
		"simple 8192 10 2 1",
	}
	if got := show(t, e); !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	points, _ := e.Points()
	var names []string
	for _, a := range points[0].Axes {
		names = append(names, a.Name)
	}
	if want := []string{"mode", "modes.simple.args.max-model-len", "workload.requests", "qps", "repeat"}; !slices.Equal(names, want) {
		t.Errorf("axes %v, want %v", names, want)
	}
	if p := points[10]; p.Mode != "simple" || p.QPS != 2 || p.Repeat != 1 {
		t.Errorf("last point %+v", p)
	}
}

func TestPointsConfig(t *testing.T) {
	e := parse(t, `
modes: {simple: {args: {a: 1}}, nixl: {disaggregated: {prefill: {instances: 2}}}, third: {}}
workload: {requests: 5}
sweep:
  qps: [1, 2]
  workload.requests: [10, 20]
  modes.simple.args.a: [x, [1, 2]]
  stages.load.timeout: [1s]
`)
	points, err := e.Points()
	if err != nil {
		t.Fatal(err)
	}
	byName := map[string]*Experiment{}
	distinct := map[*Experiment]bool{}
	for _, p := range points {
		name := p.Mode
		for _, a := range p.Axes[1:4] {
			name += " " + a.Value
		}
		if was := byName[name]; was != nil && was != p.Config {
			t.Errorf("points of %s do not share a Config", name)
		}
		byName[name] = p.Config
		distinct[p.Config] = true
	}
	// simple has 2 x 2 of its own; nixl and third are the same 2.
	if len(distinct) != 6 {
		t.Errorf("%d Configs, want 6", len(distinct))
	}
	c := byName["simple 20 [1,2] 1s"]
	if c == nil {
		t.Fatalf("no such combination among %v", byName)
	}
	if got := fmt.Sprint(c.Workload.Requests, c.Modes[0].Args, c.Stages[2].Load.Timeout, c.Modes[1].Disaggregated.Prefill.Instances); got != "20 [{a [1 2]}] 1s 2" {
		t.Errorf("Config has %s", got)
	}
	if n := byName["nixl 10  1s"]; n == nil || n.Modes[0].Args[0].Value != int64(1) || n.Workload.Requests != 10 {
		t.Errorf("an axis of simple changed the Config of nixl: %+v", n)
	}
	if e.Workload.Requests != 5 {
		t.Error("expansion changed the experiment itself")
	}
}

func TestPointsWithoutParse(t *testing.T) {
	e := &Experiment{Sweep: Sweep{Modes: []string{"m"}, QPS: []float64{1, 2}, Repeat: 1}}
	if got := show(t, e); !slices.Equal(got, []string{"m 1 0", "m 2 0"}) {
		t.Errorf("got %v", got)
	}
	e.Sweep.Axes = []Axis{{Path: "workload.requests", Values: []any{int64(1)}}}
	if _, err := e.Points(); err == nil {
		t.Error("an axis without a tree was expanded")
	}
}

func TestExcludedCombinationsAreNotChecked(t *testing.T) {
	e := parse(t, `
gpus: 4
modes: {nixl: {disaggregated: {}}}
sweep:
  qps: [1]
  modes.nixl.disaggregated.prefill.instances: [1, 3]
  modes.nixl.disaggregated.decode.instances: [1, 3]
  exclude: ['axis["modes.nixl.disaggregated.prefill.instances"] + axis["modes.nixl.disaggregated.decode.instances"] > 4']
`)
	if got, want := show(t, e), []string{"nixl 1 1 1 0", "nixl 1 3 1 0", "nixl 3 1 1 0"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestExpandRange(t *testing.T) {
	tests := []struct {
		in   string
		want []float64
	}{
		{"8..16/4", []float64{8, 12, 16}},
		{"0.1..0.5/0.1", []float64{0.1, 0.2, 0.3, 0.4, 0.5}},
		{" 1 .. 1 / 3 ", []float64{1}},
		{"0.25..1/0.25", []float64{0.25, 0.5, 0.75, 1}},
	}
	for _, tt := range tests {
		got, wrong := expandRange(tt.in)
		if wrong != "" || !slices.Equal(got, tt.want) {
			t.Errorf("%q: %v %s, want %v", tt.in, got, wrong, tt.want)
		}
	}
}

// TestPointsShare: more repeats cost no further allocations but for the rooms
// that coordinates are laid out in, and points of one combination share all
// but their coordinates.
func TestPointsShare(t *testing.T) {
	spec := func(repeat int) string {
		return fmt.Sprintf("modes: {simple: {}, nixl: {disaggregated: {}}}\nsweep: {qps: [\"1..50/1\"], repeat: %d, exclude: [qps > 49]}\nfigures: []\n", repeat)
	}
	allocations := func(repeat int) float64 {
		text := spec(repeat)
		return testing.AllocsPerRun(3, func() {
			if _, err := parse(t, text).Points(); err != nil {
				t.Fatal(err)
			}
		})
	}
	few, many := allocations(1), allocations(200) // 98 points and 19,600
	if many-few > 500 {
		t.Errorf("%v allocations for a repeat, %v for 200", few, many)
	}
	points, err := parse(t, spec(200)).Points()
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range points {
		if p.Config != points[0].Config || len(p.Axes) != 3 || cap(p.Axes) != 3 {
			t.Fatalf("point %d is %+v", i, p)
		}
		if want := []string{p.Mode, canonical(p.QPS), fmt.Sprint(p.Repeat)}; p.Axes[0].Value != want[0] || p.Axes[1].Value != want[1] || p.Axes[2].Value != want[2] {
			t.Fatalf("point %d is %+v, want %v", i, p, want)
		}
	}
	if len(points) != 2*49*200 {
		t.Errorf("%d points", len(points))
	}
}
