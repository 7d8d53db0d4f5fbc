package specs

import (
	"reflect"
	"slices"
	"testing"
	"time"
)

func TestSet(t *testing.T) {
	const spec = `
modes: {qwen3-0.6b: {args: {max-model-len: 4096}}, qwen3-0: {}}
sweep: {qps: [1]}
stages: {strict: {uses: analyze}}
`
	tests := []struct {
		set  []string
		get  func(e *Experiment) any
		want any
	}{
		{[]string{"slo.tpot=15ms"}, func(e *Experiment) any { return e.SLO.TPOT }, 15 * time.Millisecond},
		{[]string{"sweep.qps=[1,2]", "sweep.qps=[3]"}, func(e *Experiment) any { return e.Sweep.QPS }, []float64{3}},
		{[]string{"modes.qwen3-0.6b.args.max-model-len=1", "modes.qwen3-0.6b.args.a.b=[x]"}, func(e *Experiment) any { return e.Modes[0].Args }, []Arg{{"max-model-len", int64(1)}, {"a.b", []any{"x"}}}},
		{[]string{"modes.new={engine: simulated}", "modes.new.args.x="}, func(e *Experiment) any { return e.Modes[2].Args }, []Arg{{"x", nil}}},
		{[]string{"stages.strict.slo.ttft=1s"}, func(e *Experiment) any { return e.Stages[6].Analyze.SLO.TTFT }, time.Second},
		{[]string{"stages.load.side_by_side=true"}, func(e *Experiment) any { return e.Stages[2].Load.SideBySide }, true},
		{[]string{"sweep.modes.qwen3-0.6b.args.a=[1,2]"}, func(e *Experiment) any { return e.Sweep.Axes }, []Axis{{Path: "modes.qwen3-0.6b.args.a", Mode: "qwen3-0.6b", Values: []any{int64(1), int64(2)}}}},
		{[]string{"workload.requests=${NO:-12}"}, func(e *Experiment) any { return e.Workload.Requests }, 12},
		{[]string{"name=a=b", "name=x-1"}, func(e *Experiment) any { return e.Name }, "x-1"},
		{[]string{"slo.target=80%", "slo="}, func(e *Experiment) any { return e.SLO.Target }, 0.9},
	}
	for _, tt := range tests {
		if got := tt.get(parse(t, spec, tt.set...)); !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%q: got %#v, want %#v", tt.set, got, tt.want)
		}
	}
}

func TestSplitPath(t *testing.T) {
	root, errs := readYAML([]byte("modes: {a: {}, a.b: {}, args: {}}"), "")
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	tests := []struct {
		path string
		want []string
	}{
		{"model", []string{"model"}},
		{"sweep.modes.a.x", []string{"sweep", "modes.a.x"}},
		{"modes.a", []string{"modes", "a"}},
		{"modes.a.b", []string{"modes", "a.b"}},
		{"modes.a.b.args.x.y-z", []string{"modes", "a.b", "args", "x.y-z"}},
		{"modes.a.args.args.x", []string{"modes", "a", "args", "args.x"}},
		{"modes.args.args", []string{"modes", "args", "args"}},
		{"modes.a.disaggregated.prefill.args.b.c", []string{"modes", "a", "disaggregated", "prefill", "args", "b.c"}},
		{"workload.body.a.b", []string{"workload", "body", "a", "b"}},
	}
	for _, tt := range tests {
		if got, err := splitPath(root, tt.path); err != nil || !slices.Equal(got, tt.want) {
			t.Errorf("%s: got %q %v, want %q", tt.path, got, err, tt.want)
		}
	}
	for _, path := range []string{"", ".", "slo.", "modes.", "modes.a.", "modes..x", "sweep."} {
		if got, err := splitPath(root, path); err == nil {
			t.Errorf("%q: got %q", path, got)
		}
	}
}
