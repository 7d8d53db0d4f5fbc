package specs

import (
	"reflect"
	"testing"
)

// TestConfigs: the Config of a combination is the spec in which its values
// stand themselves.
func TestConfigs(t *testing.T) {
	const base = `
modes:
  simple: {args: {a: 1}, env: {E: "1"}}
  nixl: {disaggregated: {prefill: {instances: 2}}}
workload: {requests: 5, body: {top_p: 1}}
stages: {step: {uses: command, per: point, run: x}}
`
	axes := `
  modes.simple.args.a: [x, [1, 2]]
  workload.requests: [10, 20]
  stages.load.cooldown_limit: [1d, 2m]
  modes.nixl.disaggregated.decode.instances: [1, 3]
  modes.simple.args.new: [1, 2]
  workload.body.z: [1, {k: v}]
  stages.step.env.Q: [q, r]
  model: [m1, m2]
`
	points, err := parse(t, base+"sweep:\n  qps: [1]\n"+axes).Points()
	if err != nil {
		t.Fatal(err)
	}
	if want := 128 + 64; len(points) != want { // simple has seven axes, nixl six
		t.Fatalf("%d points, want %d", len(points), want)
	}
	for _, p := range points {
		set := []string{"sweep={qps: [1]}"}
		for _, a := range p.Axes {
			if a.Name != "mode" && a.Name != "qps" && a.Name != "repeat" && a.Set {
				set = append(set, a.Name+"="+a.Value)
			}
		}
		want := parse(t, base, set...)
		got := p.Config
		if got.Model != want.Model || !reflect.DeepEqual(got.Modes, want.Modes) || !reflect.DeepEqual(got.Workload, want.Workload) || !reflect.DeepEqual(got.Stages, want.Stages) {
			t.Fatalf("%v: got\n%+v %+v %+v\nwant\n%+v %+v %+v", set, got.Modes, got.Workload, got.Stages, want.Modes, want.Workload, want.Stages)
		}
	}
}
