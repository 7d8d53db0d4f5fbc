package specs

import (
	"math"
	"strings"
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
