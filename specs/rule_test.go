package specs

import (
	"math"
	"strings"
	"sync"
	"testing"
)

func TestRule(t *testing.T) {
	facts := map[string]any{"schedule_kept": 0.98, "send_lag_p99_ms": 4, "failed": int64(3), "engine": "vllm", "nan": math.NaN(), "none": nil, "reset": true}
	tests := []struct {
		src   string
		holds bool
		wrong string
	}{
		{"schedule_kept > 0.97", true, ""},
		{"schedule_kept > 0.99", false, ""},
		{"send_lag_p99_ms < 5 && failed <= 3", true, ""},
		{"engine == 'vllm' && reset", true, ""},
		{"reset", true, ""},
		{"let x = failed; x > 2 && len([x]) == 1", true, ""},
		{"missing < 5", false, "the fact missing is missing"},
		{"reset || missing < 5", false, "the fact missing is missing"},
		{"!(nan > 1)", false, "the fact nan is missing"},
		{"none == nil", false, "the fact none is missing"},
		{"engine > 3", false, "string > int"},
		{"failed", false, "neither true nor false"},
	}
	for _, tt := range tests {
		r, err := CompileRule(tt.src)
		if err != nil {
			t.Errorf("%s: %v", tt.src, err)
			continue
		}
		holds, err := r.Holds(facts)
		if holds != tt.holds || (err != nil) != (tt.wrong != "") || err != nil && !strings.Contains(err.Error(), tt.wrong) {
			t.Errorf("%s: %v %v, want %v %s", tt.src, holds, err, tt.holds, tt.wrong)
		}
	}
	for _, src := range []string{"", "a >", "1", "now() > 1", "date('2024-01-01') > 1", "f(x)", "$env['a'] > 1", strings.Repeat("1 + ", 2000) + "1 > 0"} {
		if _, err := CompileRule(src); err == nil {
			t.Errorf("%.30s was compiled", src)
		}
	}
}

// TestRuleBroken: what Broken says of facts is what Holds and Failure say of
// them, by many at once and whatever was judged before.
func TestRuleBroken(t *testing.T) {
	all := map[string]float64{"schedule_kept": 0.98, "send_lag_p99_ms": 11.93, "failed": 3, "sent": 300, "planned": 300, "nan": math.NaN(), "zero": 0, "big": 2100}
	none := map[string]float64{}
	tests := []struct{ src, all, none string }{
		{"schedule_kept > 0.97", "", "schedule_kept > 0.97: the fact schedule_kept is missing"},
		{"sent < 5", "sent < 5, it was 300", "sent < 5: the fact sent is missing"},
		{"big < 500", "big < 500, it was 2100", "big < 500: the fact big is missing"},
		{"send_lag_p99_ms < 5", "send_lag_p99_ms < 5, it was 11.9", "send_lag_p99_ms < 5: the fact send_lag_p99_ms is missing"},
		{"sent == planned", "", "sent == planned: the fact planned is missing"},
		{"failed > 0.02 * sent", "failed > 0.02 * sent, it was failed 3, sent 300", "failed > 0.02 * sent: the fact failed is missing"},
		{"nan < 1", "nan < 1: the fact nan is missing", "nan < 1: the fact nan is missing"},
		{"let x = failed; x > 2 && zero == 0", "", "let x = failed; x > 2 && zero == 0: the fact failed is missing"},
		{"failed > 2 && (let failed = 1; failed == 1)", "", "invalid operation: <nil> > int in `failed > 2 && (let failed = 1; failed == 1)` at character 8"},
		{"1 < 2", "", ""},
		{"2 < 1", "2 < 1 does not hold", "2 < 1 does not hold"},
		{"failed contains 'x'", "interface conversion: interface {} is float64, not string in `failed contains 'x'` at character 8", "failed contains 'x': the fact failed is missing"},
	}
	boxed := func(facts map[string]float64) map[string]any {
		out := map[string]any{}
		for k, v := range facts {
			out[k] = v
		}
		return out
	}
	inWords := func(r *Rule, facts map[string]any) string {
		switch ok, err := r.Holds(facts); {
		case err != nil:
			return err.Error()
		case !ok:
			return r.Failure(facts)
		}
		return ""
	}
	var group sync.WaitGroup
	for _, tt := range tests {
		r, err := CompileRule(tt.src)
		if err != nil {
			t.Errorf("%s: %v", tt.src, err)
			continue
		}
		group.Go(func() {
			for range 20 {
				for _, c := range []struct {
					facts map[string]float64
					want  string
				}{{all, tt.all}, {none, tt.none}} {
					got, same := r.Broken(c.facts), inWords(r, boxed(c.facts))
					if got != same {
						t.Errorf("%s: Broken says %q, Holds and Failure %q", tt.src, got, same)
					}
					if got != c.want {
						t.Errorf("%s: got %q, want %q", tt.src, got, c.want)
					}
				}
			}
		})
	}
	group.Wait()
}

func TestWhere(t *testing.T) {
	labels := map[string]string{"mode": "simple", "workload.requests": "20", "modes.simple.args.x": "y"}
	tests := []struct {
		src  string
		want bool
	}{
		{"mode == 'simple'", true},
		{"mode in ['nixl', 'lmcache']", false},
		{`axis["workload.requests"] >= 20`, true},
		{`axis["modes.simple.args.x"] == "y"`, true},
		{`axis["modes.nixl.args.x"] > 3`, false}, // not an axis of this series
		{`axis["modes.nixl.args.x"] == nil`, true},
	}
	for _, tt := range tests {
		w, err := CompileWhere(tt.src)
		if err != nil {
			t.Errorf("%s: %v", tt.src, err)
			continue
		}
		if got, err := w.Matches(labels); err != nil || got != tt.want {
			t.Errorf("%s: got %v %v, want %v", tt.src, got, err, tt.want)
		}
	}
	if _, err := CompileWhere("qps > 3"); err == nil {
		t.Error("a series has no qps")
	}
	w, err := CompileWhere(`axis["workload.requests"] > "a"`)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Matches(labels); err == nil {
		t.Error("a number was compared with a text")
	}
}
