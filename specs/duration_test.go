package specs

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestParseDuration(t *testing.T) {
	const day = 24 * time.Hour
	tests := []struct {
		in   string
		want time.Duration
		text string // durationText
	}{
		{"7d", 7 * day, "168h"},
		{"1.5d", 36 * time.Hour, "36h"},
		{"1d12h", 36 * time.Hour, "36h"},
		{"12h1d", 36 * time.Hour, "36h"},
		{".5d", 12 * time.Hour, "12h"},
		{"1.d", day, "24h"},
		{"0d", 0, "0s"},
		{"+1d", day, "24h"},
		{"-1d1h", -25 * time.Hour, "-25h"},
		{"0.001d", 86400 * time.Millisecond, "1m26.4s"},
		{"1d1s", day + time.Second, "24h0m1s"},
		{"106751d", 106751 * day, "2562024h"},
		{"10m", 10 * time.Minute, "10m"},
		{"125ms", 125 * time.Millisecond, "125ms"},
		{"100h30m", 100*time.Hour + 30*time.Minute, "100h30m"},
		{"0", 0, "0s"},
	}
	for _, tt := range tests {
		got, err := parseDuration(tt.in)
		if err != nil || got != tt.want {
			t.Errorf("%s: got %v %v, want %v", tt.in, got, err, tt.want)
		}
		if text := durationText(got); text != tt.text {
			t.Errorf("%s is written %s, want %s", tt.in, text, tt.text)
		}
	}
	for _, in := range []string{"d", "1d5", "1d0", "1 d", "1d-5h", "1m2ds", "1.5.5d", ".d", "1dd", "1D", "1e3d", "106752d", "1d2562047h47m", strings.Repeat("9", 30) + "d", "--1d", "1d "} {
		if got, err := parseDuration(in); err == nil {
			t.Errorf("%q was read as %v", in, got)
		}
	}
}

// What Go reads is read alike with a part of whole days before or behind it,
// and what is written is read as the same length again.
func TestParseDurationLikeGo(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringMatching(`([0-9]{1,3}(\.[0-9]{0,4})?(ns|us|µs|ms|s|m|h)){0,3}`).Draw(t, "text")
		days := rapid.IntRange(0, 1000).Draw(t, "days")
		var rest time.Duration
		if text != "" {
			var err error
			if rest, err = time.ParseDuration(text); err != nil {
				t.Fatal(err)
			}
		}
		want := rest + time.Duration(days)*24*time.Hour
		part := strconv.Itoa(days) + "d"
		for _, in := range []string{part + text, text + part} {
			if got, err := parseDuration(in); err != nil || got != want {
				t.Fatalf("%s: got %v %v, want %v", in, got, err, want)
			}
		}
		if again, err := time.ParseDuration(durationText(want)); err != nil || again != want {
			t.Fatalf("%v is written %s, and read as %v %v", want, durationText(want), again, err)
		}
	})
}

// TestResolvedDays: programs that know no days read the resolved spec, and
// points keep the names that they were given.
func TestResolvedDays(t *testing.T) {
	e := parse(t, `
modes: {m: {args: {a: 7d}}}
sweep: {qps: [1], stages.load.cooldown_limit: [1d, 2h]}
reuse: {max_age: 7d}
stages: {load: {timeout: 1d12h}, c: {uses: command, run: "sleep 1d", timeout: "${NO:-1}d"}}
`, "stages.deploy.ready_timeout=1.5d")
	for _, want := range []string{"max_age: 168h\n", "timeout: 36h\n", "ready_timeout: 36h\n", "timeout: 24h\n", "a: 7d\n", `run: "sleep 1d"`, "cooldown_limit: [1d, 2h]"} {
		if !strings.Contains(string(e.Resolved), want) {
			t.Errorf("there is no %q in\n%s", want, e.Resolved)
		}
	}
	points, err := e.Points()
	if err != nil {
		t.Fatal(err)
	}
	p := points[0]
	if p.Axes[1].Value != "1d" || p.Config.Stages[2].Load.CooldownLimit != 24*time.Hour || p.Config.Reuse.MaxAge != 7*24*time.Hour {
		t.Errorf("got %+v with %+v", p.Axes, p.Config.Stages[2].Load)
	}
}
