package load

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"vbp/stages/load/workload"
	"vbp/stages/sample"
)

// scripted is a transport without a network: it is told what to tell.
type scripted func(ctx context.Context, plan Plan, rec Recorder) (Stats, error)

func (scripted) Protocol() string { return "scripted 1" }

func (s scripted) Run(ctx context.Context, plan Plan, rec Recorder) (Stats, error) {
	return s(ctx, plan, rec)
}

// backwards ends requests in the opposite order of the schedule, but for every
// seventh, which it leaves out, from two goroutines that use one Outcome each
// again and again.
func backwards(_ context.Context, plan Plan, rec Recorder) (Stats, error) {
	var both sync.WaitGroup
	for half := range 2 {
		both.Go(func() {
			o := sample.NewOutcome("")
			gaps := make([]int32, 0, 10)
			for i := len(plan.At) - 1; i >= 0; i-- {
				if i%2 != half || i%7 == 3 {
					continue
				}
				gaps = gaps[:0]
				for j := range i % 10 {
					gaps = append(gaps, int32(i+j))
				}
				o.Gaps, o.Events, o.Outcome, o.Finish = gaps, int64(i%10)+1, sample.OK, "stop"
				o.OutputTokens = o.Events
				o.Sent = int64(plan.At[i]) + 1000
				o.FirstToken, o.LastToken = o.Sent+5e6, o.Sent+9e6
				o.SlotWait = float64(i%2) / 1e6
				o.Error = ""
				if i == 8 {
					o.Outcome, o.Error = sample.HTTPError, "status 400: key is hunter2"
				}
				rec.Sent(i, o.Sent)
				rec.Done(i, o.LastToken, &o)
			}
		})
	}
	both.Wait()
	return Stats{Busy: 0.5, Notes: []string{"first", "second"}}, nil
}

// manyRequests is a point of n requests, one every microsecond.
func manyRequests(n int) Config {
	c := Config{
		Target: Target{URL: "http://localhost:1", Model: "m"}, API: Completions, Timeout: time.Second, IDPrefix: "p",
		Prompts: make(workload.List, n), Arrivals: make([]time.Duration, n),
	}
	for i := range n {
		c.Prompts.(workload.List)[i] = workload.Prompt{Text: "a", MaxTokens: 100}
		c.Arrivals[i] = time.Duration(i) * time.Microsecond
	}
	return c
}

// In memory and in a file the same rows come back, in the order of the
// schedule, whoever ended first.
func TestMeasuredRowsAreInTheOrderOfTheSchedule(t *testing.T) {
	const n = 3000
	for _, path := range []string{"", filepath.Join(t.TempDir(), "rows")} {
		c := manyRequests(n)
		c.Spool, c.MaxConcurrency = path, 4
		c.Redact = func(s string) string { return strings.ReplaceAll(s, "hunter2", "***") }
		last := Event{}
		seen := 0
		m, err := Measure(t.Context(), c, scripted(backwards), func(e Event) {
			seen++
			if e.Kind == Done && e.Index == 8 {
				last = e
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		table, err := m.Table(0, m.Len())
		if err != nil {
			t.Fatal(err)
		}
		row := 0
		for i := range n {
			if i%7 == 3 {
				continue
			}
			o := table.Row(row)
			row++
			if o.ID != RequestID("p", i) || o.Scheduled != int64(i)*1000 || o.Sent != o.Scheduled+1000 || len(o.Gaps) != i%10 || o.SlotWait != float64(i%2)/1e6 {
				t.Fatalf("row %d is %+v", row-1, o)
			}
			for j, gap := range o.Gaps {
				if gap != int32(i+j) {
					t.Fatalf("row %d has gaps %v", row-1, o.Gaps)
				}
			}
		}
		if row != m.Len() || seen != 2*row {
			t.Errorf("%d rows, %d wanted, %d events", m.Len(), row, seen)
		}
		if e := last.Outcome; e.ID != RequestID("p", 8) || e.TTFT != 0.005 || e.Error != "status 400: key is ***" || e.Error != table.Error[7] {
			t.Errorf("told %+v", e)
		}
		some, err := m.Table(100, 103)
		if err != nil || some.Len() != 3 || some.ID[2] != table.ID[102] || some.Meta.Facts["sent"] != float64(row) {
			t.Errorf("a part: %v, %v", some, err)
		}
		for _, bad := range [][2]int{{-1, 2}, {3, 2}, {0, row + 1}} {
			if _, err := m.Table(bad[0], bad[1]); err == nil {
				t.Errorf("rows %v of %d were had", bad, row)
			}
		}
		f := table.Meta.Facts
		if f["planned"] != n || f["failed"] != 1 || f["client_busy"] != 0.5 || f["slot_waited"] < 0.49 || f["send_lag_max_ms"] != 0.001 {
			t.Errorf("facts %v", f)
		}
		if notes := strings.Join(Notes(table.Meta.Extra), "; "); notes != "first; second" {
			t.Errorf("notes %q", notes)
		}
		if path != "" {
			if info, err := os.Stat(path); err != nil || info.Size() == 0 {
				t.Errorf("the spool: %v, %v", info, err)
			}
		}
		if err := m.Close(); err != nil {
			t.Error(err)
		}
		if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), "*")); path != "" && len(left) > 0 {
			t.Errorf("left are %q", left)
		}
	}
}

// A point whose rows cannot be kept ends at once, and says so; nothing else of
// it is worth anything.
func TestMeasureEndsWhenRowsCannotBeKept(t *testing.T) {
	c := manyRequests(1)
	c.Spool = filepath.Join(t.TempDir(), "none", "rows")
	if m, err := Measure(t.Context(), c, scripted(backwards), nil); m != nil || !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), c.Spool) {
		t.Errorf("%v, %v", m, err)
	}
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("this system has no /dev/full, the device that is always full")
	}
	c.Spool = filepath.Join(t.TempDir(), "rows")
	if err := os.Symlink("/dev/full", c.Spool); err != nil {
		t.Fatal(err)
	}
	m, err := Measure(t.Context(), c, scripted(func(ctx context.Context, plan Plan, rec Recorder) (Stats, error) {
		o := sample.NewOutcome("")
		o.Outcome, o.Error = sample.HTTPError, strings.Repeat("x", 2*spoolBlock)
		rec.Done(0, 1, &o)
		rec.Done(0, 1, &o) // begins a second block, so that the first is written
		<-ctx.Done()
		return Stats{}, ctx.Err()
	}), nil)
	if m != nil || !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("%v, %v", m, err)
	}
}

// What the recorder does for a request allocates nothing, but for a block of
// rows now and then.
func TestDoneAllocatesNothing(t *testing.T) {
	c := manyRequests(1)
	rows, err := newSpool("", nil)
	if err != nil {
		t.Fatal(err)
	}
	rec := newRecorder(&c, rows, nil)
	o := sample.NewOutcome("")
	o.Outcome, o.Finish, o.OutputTokens, o.Events, o.Gaps = sample.OK, "length", 100, 100, make([]int32, 99)
	o.Sent = 1
	n := testing.AllocsPerRun(1000, func() {
		rec.tally.lags = rec.tally.lags[:0]
		rec.Sent(0, 1)
		rec.First(0, 1)
		rec.Done(0, 1, &o)
	})
	if n >= 1 {
		t.Errorf("%v allocations a request", n)
	}
}

func BenchmarkDone(b *testing.B) {
	c := manyRequests(1)
	rows, err := newSpool(filepath.Join(b.TempDir(), "rows"), func(err error) { b.Error(err) })
	if err != nil {
		b.Fatal(err)
	}
	rec := newRecorder(&c, rows, nil)
	o := sample.NewOutcome("")
	o.Outcome, o.Finish, o.OutputTokens, o.Events, o.Gaps = sample.OK, "length", 32, 32, make([]int32, 32)
	for i := range o.Gaps {
		o.Gaps[i] = 10_000 + int32(i)
	}
	b.ReportAllocs()
	for b.Loop() {
		rec.tally.lags = rec.tally.lags[:0]
		rec.Done(0, 1, &o)
	}
	if err := errors.Join(rec.close(), rows.close()); err != nil {
		b.Error(err)
	}
}

func ExampleMeasured() {
	c := manyRequests(3)
	m, err := Measure(context.Background(), c, scripted(backwards), nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer m.Close()
	for from := 0; from < m.Len(); from += 2 { // a few rows at a time
		t, err := m.Table(from, min(from+2, m.Len()))
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(t.Len(), t.TTFT)
	}
	// Output:
	// 2 [0.005 0.005]
	// 1 [0.005]
}
