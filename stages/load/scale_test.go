package load_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"vbp/stages/collect"
	"vbp/stages/load"
	"vbp/stages/load/workload"
	"vbp/stages/sample"
)

// These measure how much memory a long point takes, from what a transport
// tells to the samples file: a child process of this test binary, for a
// process never gives back the record of what it once took.

// scaleChild is the variable that makes the child: a folder to work in.
const scaleChild = "VBP_TEST_SCALE_CHILD"

const (
	scaleRequests = 1_000_000
	scaleGaps     = 32
)

// scaleReport is what the child tells.
type scaleReport struct {
	Measure, Write float64 // s
	Rows           int
	MeasuredMB     float64 // peak until all was measured
	PeakMB         float64
	FileMB         float64
	SpoolMB        float64
}

// fewPrompts are as many prompts as there are requests, made when asked for.
type fewPrompts int

func (p fewPrompts) Len() int                   { return int(p) }
func (p fewPrompts) Prompt(int) workload.Prompt { return workload.Prompt{Text: "x", MaxTokens: 64} }
func (p fewPrompts) MaxTokens(int) int          { return 64 }
func (p fewPrompts) TokenIDs() bool             { return false }

// flood tells of requests as fast as it can, with a thousand in flight: they
// end in another order than they began.
type flood struct{}

func (flood) Protocol() string { return "flood 1" }

func (flood) Run(_ context.Context, plan load.Plan, rec load.Recorder) (load.Stats, error) {
	o := sample.NewOutcome("")
	gaps := make([]int32, scaleGaps)
	x := uint64(1)
	const flight = 1000
	for from := 0; from < len(plan.At); from += flight {
		for k := range min(flight, len(plan.At)-from) {
			i := from + (k*7)%min(flight, len(plan.At)-from) // 7 has no factor in common with 1000
			at := int64(plan.At[i])
			o.Sent = at + 20_000 + int64(x%50_000)
			rec.Sent(i, o.Sent)
			o.FirstEvent = o.Sent + 60e6 + int64(x%10_000_000)
			o.FirstToken, o.LastToken = o.FirstEvent, o.FirstEvent
			for j := range gaps {
				x = x*6364136223846793005 + 1442695040888963407
				gaps[j] = 10_000 + int32(x>>54)
				o.LastToken += int64(gaps[j]) * 1000
			}
			rec.First(i, o.FirstToken)
			o.PromptTokens, o.OutputTokens, o.Events = int64(x%1000), scaleGaps+1, scaleGaps+1
			o.E2E = float64(o.LastToken-o.Sent) / 1e9
			o.Gaps, o.Finish, o.Outcome, o.Status, o.Error = gaps, "length", sample.OK, 200, ""
			if i%1000 == 0 {
				o.Outcome, o.Error = sample.Timeout, fmt.Sprintf("no complete answer within 1s; %d events with tokens had come", i)
			}
			rec.Done(i, o.LastToken, &o)
		}
	}
	return load.Stats{}, nil
}

// TestScaleChild is the child, and nothing by itself.
func TestScaleChild(t *testing.T) {
	dir := os.Getenv(scaleChild)
	if dir == "" {
		t.Skip("it is only of use as the child of TestAMillionRequests")
	}
	arrivals := make([]time.Duration, scaleRequests)
	for i := range arrivals {
		arrivals[i] = time.Duration(i) * time.Millisecond
	}
	spool := filepath.Join(dir, "rows")
	start := time.Now()
	m, err := load.Measure(t.Context(), load.Config{
		Target: load.Target{URL: "http://localhost:1", Model: "m"}, API: load.Completions, Timeout: time.Second,
		Prompts: fewPrompts(scaleRequests), Arrivals: arrivals, Spool: spool,
	}, flood{}, func(load.Event) {})
	if err != nil {
		t.Fatal(err)
	}
	r := scaleReport{Measure: time.Since(start).Seconds(), Rows: m.Len(), SpoolMB: megabytes(t, spool), MeasuredMB: peak(t)}
	start = time.Now()
	file := filepath.Join(dir, collect.SamplesFile)
	if err := errors.Join(collect.WriteRows(file, m.Meta, m), m.Close()); err != nil {
		t.Fatal(err)
	}
	r.Write, r.FileMB, r.PeakMB = time.Since(start).Seconds(), megabytes(t, file), peak(t)
	out, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "report.json"), out, 0o644); err != nil {
		t.Fatal(err)
	}
}

func megabytes(t *testing.T, file string) float64 {
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	return float64(info.Size()) / 1e6
}

// peak is the most memory that this process ever had, in 10^6 bytes.
func peak(t *testing.T) float64 {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, err := strconv.Atoi(strings.Fields(rest)[0])
			if err != nil {
				t.Fatal(err)
			}
			return float64(kib) * 1024 / 1e6
		}
	}
	t.Fatal("/proc/self/status does not tell VmHWM")
	return 0
}

// scale runs the child, and returns its report and the samples that it wrote.
func scale(t testing.TB) (r scaleReport, file string) {
	if _, err := os.Stat("/proc/self/status"); err != nil {
		t.Skip("this system has no /proc/self/status, which tells how much memory a process had")
	}
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestScaleChild$")
	cmd.Env = append(os.Environ(), scaleChild+"="+dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	b, err := os.ReadFile(filepath.Join(dir, "report.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &r); err != nil {
		t.Fatal(err)
	}
	return r, filepath.Join(dir, collect.SamplesFile)
}

func TestAMillionRequestsNeedLittleMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes a quarter of a minute; run without -short")
	}
	r, file := scale(t)
	t.Logf("%+v", r)
	if r.PeakMB > 300 {
		t.Errorf("%d requests took %.0f MB", r.Rows, r.PeakMB)
	}
	table, err := collect.ReadColumns(file, "request_id", "scheduled_ns", "outcome")
	if err != nil {
		t.Fatal(err)
	}
	if table.Len() != scaleRequests || table.Failed() != scaleRequests/1000 || table.Meta.Facts["sent"] != scaleRequests {
		t.Fatalf("%d rows, %d failed, %v", table.Len(), table.Failed(), table.Meta.Facts)
	}
	for i, at := range table.Scheduled {
		if at != int64(i)*1e6 || i%99_991 == 0 && table.ID[i] != load.RequestID("", i) {
			t.Fatalf("row %d was scheduled at %d and is called %s", i, at, table.ID[i])
		}
	}
}

func BenchmarkAMillionRequests(b *testing.B) {
	for b.Loop() {
		r, _ := scale(b)
		b.ReportMetric(r.PeakMB, "peak-MB")
		b.ReportMetric(r.Measure*1e9/scaleRequests, "ns/request-recorded")
		b.ReportMetric(r.Write*1e9/scaleRequests, "ns/request-written")
		b.ReportMetric(r.SpoolMB*1e6/scaleRequests, "B/request-spooled")
		b.ReportMetric(r.FileMB*1e6/scaleRequests, "B/request-stored")
	}
}
