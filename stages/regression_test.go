package stages

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"vbp/pipeline"
)

// TestTwinModes holds that two modes of one deployment, as for finding out how
// much two measurements of the same differ, each keep their own measurement.
func TestTwinModes(t *testing.T) {
	w := newWorld(t)
	spec := changed(t, oneMode, "modes: {simple: {engine: simulated}}", "modes: {a: {engine: simulated}, b: {engine: simulated}}")
	first := w.apply(spec)
	p, err := PlanOf(t.Context(), w.parse(spec), w.site, PlanChoices{})
	if err != nil {
		t.Fatal(err)
	}
	attempts := make(map[string]bool)
	for _, d := range p.Decisions {
		if d.Node.Kind == pipeline.Measurement {
			attempts[d.Artefact.Attempt] = true
		} else if d.Action == pipeline.Run || d.Action == pipeline.Pending {
			t.Errorf("%s: %s, %s", d.Node.ID, d.Action, d.Why)
		}
	}
	if len(attempts) != 2 {
		t.Errorf("two modes show one measurement: %v", attempts)
	}
	if again := w.apply(spec); again.New || again.RunDir != first.RunDir {
		t.Errorf("the same again makes %s", again.RunDir)
	}
}

// TestFigureWhere holds that figures are made for the series only that where
// lets through.
func TestFigureWhere(t *testing.T) {
	w := newWorld(t)
	a := w.apply(twoModes + "\nfigures: [{file: x, kind: attainment, for: mode, where: \"mode == 'nixl'\"}]\n")
	var plots []string
	for _, r := range a.Report.Results {
		if r.Node.Stage == "plot" {
			plots = append(plots, r.Node.ID+" "+string(r.State))
		}
	}
	if want := []string{"plot x mode=nixl done"}; !slices.Equal(plots, want) {
		t.Errorf("plots %q, want %q", plots, want)
	}
}

// TestWarmupTellsNoSecret holds that servers which repeat their key do not
// reach the terminal with it.
func TestWarmupTellsNoSecret(t *testing.T) {
	w := newWorld(t)
	w.env["KEY"] = "hush-hush"
	w.prepare = func(s *server) error {
		s.complete = func(w http.ResponseWriter, _ *http.Request, n int) bool {
			http.Error(w, "bad key hush-hush", http.StatusUnauthorized)
			return true
		}
		return nil
	}
	spec := changed(t, oneMode, "{engine: simulated}", `{endpoint: "http://127.0.0.1:9", headers: {Authorization: "Bearer ${secret:KEY}"}}`,
		"warmup: {requests: 0}", "warmup: {requests: 1}")
	_, err := w.applyWith(t.Context(), ApplyOptions{Emit: func(e pipeline.Event) {
		if strings.Contains(e.Text, "hush") {
			t.Errorf("%s tells %q", e.Node.ID, e.Text)
		}
	}}, spec)
	if err != nil {
		t.Fatal(err)
	}
}

// TestScoringNeedsNoSecret holds that other objectives can be scored without
// the key of the server that was measured.
func TestScoringNeedsNoSecret(t *testing.T) {
	w := newWorld(t)
	w.env["KEY"] = "hush"
	spec := changed(t, oneMode, "engine: simulated", `engine: simulated, env: {A: "${secret:KEY}"}`)
	w.apply(spec)
	delete(w.env, "KEY")
	if _, err := w.applyWith(t.Context(), ApplyOptions{}, spec, "slo.tpot=15ms"); err != nil {
		t.Errorf("nothing is to be started: %v", err)
	}
}

// TestTwinsKeepApart holds that twins show two measurements in whatever
// experiment they are, and that one whose own is not usable is measured again
// instead of showing the other's.
func TestTwinsKeepApart(t *testing.T) {
	w := newWorld(t)
	spec := changed(t, oneMode, "modes: {simple: {engine: simulated}}", "modes: {a: {engine: simulated}, b: {engine: simulated}}", "sweep: {", "sweep: {order: as_written, ")
	w.apply(spec)
	decisions := func(spec string) map[string]pipeline.Decision {
		t.Helper()
		p, err := PlanOf(t.Context(), w.parse(spec), w.site, PlanChoices{})
		if err != nil {
			t.Fatal(err)
		}
		out := make(map[string]pipeline.Decision)
		for _, d := range p.Decisions {
			if d.Node.Kind == pipeline.Measurement {
				out[d.Node.ID] = d
			}
		}
		return out
	}
	const a, b = "load mode=a qps=1000 repeat=0", "load mode=b qps=1000 repeat=0"
	for what, changes := range map[string][]string{
		"another name": {"name: small", "name: other"},
		"an axis":      {"sweep: {", "sweep: {workload.seed: [0], "},
	} {
		d := decisions(changed(t, spec, changes...))
		var dirs []string
		for id, e := range d {
			if e.Action != pipeline.Reuse {
				t.Fatalf("%s: %s: %s, %s", what, id, e.Action, e.Why)
			}
			dirs = append(dirs, e.Artefact.Dir)
		}
		if len(dirs) != 2 || dirs[0] == dirs[1] {
			t.Errorf("%s: the twins show %q", what, dirs)
		}
	}
	// The second of two points on one deployment breaks the rule.
	d := decisions(changed(t, spec, `valid: ["sent == 4"]`, `valid: ["order < 2"]`))
	if d[a].Action != pipeline.Reuse || d[b].Action != pipeline.Run {
		t.Errorf("a: %s, %s; b: %s, %s", d[a].Action, d[a].Why, d[b].Action, d[b].Why)
	}
	// A third name has no measurement of its own.
	third := changed(t, spec, "b: {engine: simulated}}", "b: {engine: simulated}, c: {engine: simulated}}")
	if d := decisions(third); d["load mode=c qps=1000 repeat=0"].Action != pipeline.Run || d[b].Action != pipeline.Reuse {
		t.Errorf("with a third: %+v", d)
	}
}
