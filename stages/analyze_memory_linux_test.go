package stages

import (
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"testing"

	"vbp/pipeline"
	"vbp/specs"
	"vbp/stages/analyze"
	"vbp/stages/collect"
	"vbp/stages/sample"
)

// millionRows is a million requests, made when they are asked for.
type millionRows struct{}

func (millionRows) Len() int { return 1_000_000 }

func (millionRows) Table(from, to int) (*sample.Table, error) {
	t := &sample.Table{}
	for i := from; i < to; i++ {
		o := sample.NewOutcome("00000000-0000-4000-8000-" + strconv.Itoa(i+1e12))
		o.Scheduled, o.Sent = int64(i)*1e6, int64(i)*1e6+int64(i%97)
		o.FirstToken, o.LastToken = o.Sent+int64(i%1000)*1e5, o.Sent+int64(i%1000)*1e6
		o.OutputTokens, o.E2E, o.Outcome, o.Finish = 32, float64(i%1000)/1000, sample.OK, "length"
		if i%100 == 0 {
			o.Outcome, o.Error = sample.StreamError, "the server said no to request "+strconv.Itoa(i)
		}
		o.Derive()
		t.Append(o)
	}
	return t, nil
}

// TestAnalyzeInBoundedMemory analyzes, and asks anew of, a run of three points
// of a million requests each, in a process of its own, whose memory is
// measured.
func TestAnalyzeInBoundedMemory(t *testing.T) {
	const key = "VBP_TEST_ANALYZE_RUN"
	if run := os.Getenv(key); run != "" {
		in := analyzeInput{SLO: sloInput{"50ms", "20ms", 0.9}, Scales: specs.DefaultSLOScales()}
		a, _, err := analyzing(t, run, in)
		if err != nil {
			t.Fatal(err)
		}
		r, err := OpenToAsk(run, "")
		if err != nil {
			t.Fatal(err)
		}
		q := nothing()
		q.Window = &analyze.Window{From: analyze.Edge{Share: 0.1, Set: true}}
		b, err := Ask([]*Results{r}, q)
		if err != nil {
			t.Fatal(err)
		}
		status, err := os.ReadFile("/proc/self/status")
		if err != nil {
			t.Fatal(err)
		}
		_, peak, _ := strings.Cut(string(status), "VmHWM:")
		peak, _, _ = strings.Cut(peak, "kB")
		fmt.Println("peak", strings.TrimSpace(peak), "sent", a.Series[0].Rates[0].Sent, b.Series[0].Rates[0].Sent, b.Series[0].Rates[0].Repeats)
		return
	}
	if testing.Short() {
		t.Skip("writing and reading three million requests is left out of short runs")
	}
	if info, ok := debug.ReadBuildInfo(); ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"}) {
		t.Skip("the race detector takes several times the memory that is to be measured")
	}
	from := t.TempDir()
	in := collectInput{Kinds: []collectKind{{GPUs: 1}}, Axes: []string{"mode", "qps", "repeat"}}
	needs := make(map[string]string)
	for i, at := range [][3]string{{"simple", "1000", "0"}, {"simple", "1000", "1"}, {"simple", "2000", "0"}} {
		id := strconv.Itoa(i)
		needs[id] = filepath.Join(from, id)
		m := sample.Meta{Start: sample.Absent, Length: math.NaN(), Facts: map[string]float64{"sent": 1e6}}
		m.Rate, _ = strconv.ParseFloat(at[1], 64)
		m.Repeat, _ = strconv.Atoi(at[2])
		if err := collect.WriteRows(filepath.Join(needs[id], samplesFile), m, millionRows{}); err != nil {
			t.Fatal(err)
		}
		in.Points = append(in.Points, collectPoint{Need: id, Values: []*string{&at[0], &at[1], &at[2]}})
	}
	raw, err := pipeline.NewInput(in)
	if err != nil {
		t.Fatal(err)
	}
	run := t.TempDir()
	if err := collectWork(t.Context(), raw, &pipeline.Runtime{Dir: run, Needs: needs}); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	child := exec.CommandContext(t.Context(), self, "-test.run=^TestAnalyzeInBoundedMemory$", "-test.v")
	child.Env = append(os.Environ(), key+"="+run)
	out, err := child.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var peak, one, trimmed, repeats int
	_, told, _ := strings.Cut(string(out), "peak ")
	if _, err := fmt.Sscanf("peak "+told, "peak %d sent %d %d %d", &peak, &one, &trimmed, &repeats); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if one != 2_000_000 || trimmed != 1_800_000 || repeats != 2 {
		t.Errorf("it counted %d requests, in the window %d, of %d repeats", one, trimmed, repeats)
	}
	const most = 400
	t.Logf("%d MB at the most, %v of CPU time", peak>>10, child.ProcessState.UserTime()+child.ProcessState.SystemTime())
	if peak>>10 > most {
		t.Errorf("the analysis of three points of a million requests took %d MB; %d are allowed", peak>>10, most)
	}
}
