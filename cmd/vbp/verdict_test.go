package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// sickSpec loads a server that is a script three times, with rates that take a
// fraction of a second and no rule that a busy machine could break.
const sickSpec = `
name: sick
model: Qwen/Qwen3-0.6B
gpus: none
modes: {simple: {engine: command, run: "exec sh server.sh {port}"}}
workload: {requests: 8, dataset: {kind: random, input_tokens: 32, output_tokens: 4, range_ratio: 0}}
slo: {ttft: 9s, tpot: 9s}
sweep: {qps: [50, 60, 70], order: as_written}
stages:
  warmup: {requests: 0}
  load: {cooldown: 0s, timeout: 20s}
  collect: {server_metrics: 0s}
  plot: {formats: [svg]}
valid: ["sent == 8"]
`

// sick is a server that has one nature when it is first started and another
// from then on, each said by flags of vbp engine, and what becomes of its
// points. One completion is asked for at a start, then eight a point.
type sick struct {
	first, then string
	set         []string
	code        int
	apply       []string            // of what apply says on stderr
	points      map[string][]string // rate -> of the point's line in show
	shown       []string            // in other lines of show
	not         []string            // nowhere in show
}

var sicks = map[string]sick{
	"exits in mid-load and is well again": {
		first: "--exit-after 12", // in the second point
		code:  exitDone,
		points: map[string][]string{
			"50": {" valid ", "measured"},
			"60": {" valid ", "measured, 2nd attempt; 1 rejected: healthy_after == 1, it was 0"},
			"70": {" valid ", "measured"},
		},
		shown: []string{"mode=simple: started again (1 of 2): ", "server died (exit status 1)"},
		not:   []string{"failure", "warmup_slowdown"},
	},
	"exits in mid-load, with one try": {
		first: "--exit-after 12", set: []string{"stages.load.retries=0"},
		code:  exitPartial,
		apply: []string{"partial: 1 of 3 points have no usable result; the same command tries again"},
		points: map[string][]string{
			"50": {" valid "},
			"60": {"not valid: healthy_after == 1, it was 0"},
			"70": {" valid "},
		},
		shown: []string{"started again (1 of 2)", "of 8 requests had been sent: server died (exit status 1)", "note     mode=simple qps=60 repeat=0: the server ended when "},
	},
	"hangs": {
		first: "--stall-after 12", set: []string{"stages.load.retries=0", "stages.load.timeout=1s"},
		code: exitPartial,
		points: map[string][]string{
			"50": {" valid "},
			"60": {"not valid: healthy_after == 1, it was 0"},
			"70": {" valid "},
		},
		shown: []string{
			"note     mode=simple qps=60 repeat=0: after the load: the servers hang: after requests had timed out, 1 of 1 further ones had no answer within 1s either",
			"mode=simple: started again (1 of 2): ",
		},
	},
	"comes back slower": { // a warm-up of six comes before the points
		first: "--exit-after 18", then: "--step-base 40ms", set: []string{"stages.warmup.requests=6"},
		code:  exitDone,
		apply: []string{"2 of 3 points are not valid"},
		points: map[string][]string{
			"50": {" valid "},
			"60": {"not valid: warmup_slowdown < 1.5, it was ", "2nd attempt; 2 rejected: healthy_after == 1, it was 0; warmup_slowdown < 1.5, it was "},
			"70": {"not valid: warmup_slowdown < 1.5, it was "},
		},
		shown: []string{"started again (1 of 2)"},
	},
	"comes back as another version": {
		first: "--exit-after 12", then: "--engine-version sim/9", set: []string{"stages.load.retries=0"},
		code:  exitPartial,
		apply: []string{"it came back as another server: engine_version: sim/1 -> sim/9", "2 of 3 points have no usable result"},
		points: map[string][]string{
			"50": {" valid "},
			"60": {"not valid: healthy_after == 1, it was 0"},
			"70": {"failed"},
		},
		shown: []string{"could not be started again: it came back as another server: engine_version: sim/1 -> sim/9"},
	},
	"exits more often than it is started again": {
		first: "--exit-after 4", then: "--exit-after 4", set: []string{"stages.load.retries=0", "stages.deploy.restarts=1"},
		code:  exitNothing,
		apply: []string{"no point has a usable result; the logs of servers that were started are in "},
		points: map[string][]string{
			"50": {"not valid: healthy_after == 1, it was 0"},
			"60": {"not valid: healthy_after == 1, it was 0"},
			"70": {"failed"},
		},
		shown: []string{"started again (1 of 1)", "deploy mode=simple no longer works, and was started again once", "server died (exit status 1)"},
	},
}

// TestVerdictsOfSickServers holds that whatever a server does in the night
// ends in the documented verdict (see stages/verdict.go), which show tells,
// and that nothing is left running.
func TestVerdictsOfSickServers(t *testing.T) {
	skipIfShort(t)
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Skip("there is no /proc here to see processes in")
	}
	for name, s := range sicks {
		t.Run(name, func(t *testing.T) { s.check(t) })
	}
}

func (s sick) check(t *testing.T) {
	w := newSickbed(t, s)
	stderr, code := w.apply(s.set)
	if code != s.code || !containsAll(stderr, s.apply) {
		t.Errorf("apply ends with %d, not %d, and should say %q:\n%s", code, s.code, s.apply, stderr)
	}
	if left := processes(w.program); len(left) > 0 {
		t.Errorf("processes are left: %q", left)
	}
	shown := w.show()
	if !containsAll(shown, s.shown) || slices.ContainsFunc(s.not, func(text string) bool { return strings.Contains(shown, text) }) {
		t.Errorf("show should say %q, and not %q:\n%s", s.shown, s.not, shown)
	}
	for rate, words := range s.points {
		if line := pointLine(shown, rate); !containsAll(line, words) {
			t.Errorf("show should say %q of the point at %s/s:\n%s", words, rate, shown)
		}
	}
}

// TestAnotherVersionIsMeasuredAnew holds that no figure mixes what two
// versions of an engine answered: the apply after the one in which the server
// came back as another measures all points under that.
func TestAnotherVersionIsMeasuredAnew(t *testing.T) {
	skipIfShort(t)
	s := sicks["comes back as another version"]
	w := newSickbed(t, s)
	w.apply(s.set)
	if stderr, code := w.apply(s.set); code != exitDone {
		t.Fatalf("the next apply ends with %d:\n%s", code, stderr)
	}
	shown := w.show()
	for rate, words := range map[string][]string{"50": {" valid ", "measured, 2nd attempt"}, "60": {" valid ", "measured, 2nd attempt; 1 rejected: "}, "70": {" valid ", "measured"}} {
		if line := pointLine(shown, rate); !containsAll(line, words) {
			t.Errorf("show should say %q of the point at %s/s:\n%s", words, rate, shown)
		}
	}
	journal, err := os.ReadFile(filepath.Join(w.lastRun(), "journal.jsonl"))
	if err != nil || !bytes.Contains(journal, []byte(`"text":"the environment differs: engine_version: sim/1 -\u003e sim/9"`)) {
		t.Errorf("the journal does not say why the first point was measured again: %v\n%s", err, journal)
	}
}

// sickbed is a folder in which a spec with such a server is applied.
type sickbed struct {
	t            *testing.T
	dir, program string
}

func newSickbed(t *testing.T, s sick) *sickbed {
	t.Helper()
	if _, err := exec.LookPath("sh"); err != nil {
		t.Skip("there is no sh here to start servers with")
	}
	w := &sickbed{t, t.TempDir(), vbpProgram(t)}
	script := fmt.Sprintf("if mkdir was-here 2>/dev/null; then exec '%[1]s' engine --port $1 %[2]s; fi\nexec '%[1]s' engine --port $1 %[3]s\n", w.program, s.first, s.then)
	for name, text := range map[string]string{"spec.yaml": sickSpec, "server.sh": script} {
		if err := os.WriteFile(filepath.Join(w.dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

// run runs the vbp whose processes are counted.
func (w *sickbed) run(args ...string) (stdout, stderr string, code int) {
	w.t.Helper()
	cmd := exec.CommandContext(w.t.Context(), w.program, args...)
	cmd.Dir = w.dir
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		w.t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

func (w *sickbed) apply(set []string) (stderr string, code int) {
	w.t.Helper()
	args := []string{"apply", "spec.yaml"}
	for _, s := range set {
		args = append(args, "--set", s)
	}
	_, stderr, code = w.run(args...)
	return stderr, code
}

// lastRun is the folder of the newest run.
func (w *sickbed) lastRun() string {
	w.t.Helper()
	runs, _ := filepath.Glob(filepath.Join(w.dir, "results", "sick", "*"))
	if len(runs) == 0 {
		w.t.Fatal("there is no run")
	}
	slices.Sort(runs) // two of one second: the later has a number behind
	return runs[len(runs)-1]
}

// show is what vbp show says of the newest run.
func (w *sickbed) show() string {
	w.t.Helper()
	stdout, stderr, code := w.run("show", w.lastRun())
	if code != exitDone {
		w.t.Fatalf("show ends with %d:\n%s", code, stderr)
	}
	return stdout
}

// pointLine is show's line about the point at a rate.
func pointLine(shown, rate string) string {
	for line := range strings.Lines(shown) {
		if strings.HasPrefix(line, "mode=simple qps="+rate+" repeat=0 ") {
			return line
		}
	}
	return ""
}

func containsAll(text string, words []string) bool {
	return !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(text, w) })
}
