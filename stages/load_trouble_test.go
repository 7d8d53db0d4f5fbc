package stages

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"vbp/pipeline"
	"vbp/stages/runs"
	"vbp/stages/sample"
)

// dieAt makes the server end when it gets its nth request, from 0, which it
// never answers.
func dieAt(s *server, n int) {
	s.complete = func(_ http.ResponseWriter, r *http.Request, i int) bool {
		if i == n {
			s.die(errors.New("server died (exit status 3)\n  log: out of memory"))
		}
		if i >= n {
			<-r.Context().Done()
		}
		return i >= n
	}
}

// TestLoadOfDyingServer holds that a point in which the server ends is kept
// and not valid, that its record says how, and that its requests are rows,
// those in flight as failures.
func TestLoadOfDyingServer(t *testing.T) {
	w := newWorld(t)
	srv := newServer(t)
	dieAt(srv, 2)
	// What comes after the second request comes late, if at all.
	p := w.point(srv, changed(t, oneMode, "requests: 4", "requests: 30", "qps: [1000]", "qps: [20]", "sent == 4", "failed < 100", "server_metrics: 0s", "server_metrics: 1h"))
	if err := p.work(t.Context()); err != nil {
		t.Fatal(err)
	}
	table := p.samples(t)
	f, sent := table.Meta.Facts, table.Len()
	if sent < 3 || sent >= 30 || f["sent"] != float64(sent) || f["planned"] != 30 || f["healthy_after"] != 0 || f["restarts"] != 0 || f["ok"] != 2 || f["failed"] != float64(sent-2) {
		t.Errorf("%d rows, facts %v", sent, f)
	}
	for i := 2; i < sent; i++ {
		if o := table.Row(i); o.Outcome != sample.ConnectError || o.Error != "the server ended before it answered: server died (exit status 3)" {
			t.Errorf("row %d: %s: %s", i, o.Outcome, o.Error)
		}
	}
	want := fmt.Sprintf("the server ended when %d of 30 requests had been sent: server died (exit status 3)", sent)
	if got := table.Meta.Extra[notesKey]; !strings.HasSuffix(got, want) {
		t.Errorf("notes %q, want %q", got, want)
	}
	std, err := standardOf(nil, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if v := std.judge(f, nil); v.Usable || v.Reason != "healthy_after == 1, it was 0" {
		t.Errorf("verdict %+v", v)
	}
	// The executor's own question is answered as before.
	mustContain(t, p.rt.Service.Check(t.Context()), "out of memory")
}

// TestRunOfDyingServer holds that such a point is in the run's analysis, and
// that other points are measured.
func TestRunOfDyingServer(t *testing.T) {
	w := newWorld(t)
	w.prepare = func(s *server) error {
		if s.deployment.Connector == "" {
			dieAt(s, 1)
		}
		return nil
	}
	a := w.apply(twoModes)
	for id, want := range map[string]pipeline.Verdict{
		"load mode=simple qps=1000 repeat=0": {Reason: "healthy_after == 1, it was 0"},
		"load mode=nixl qps=1000 repeat=0":   {Usable: true},
	} {
		if r := a.Report.Result(id); r.State != pipeline.StateDone || r.Verdict != want {
			t.Errorf("%s: %s, %+v, %v", id, r.State, r.Verdict, r.Err)
		}
	}
	analysis, err := ReadAnalysis(a.RunDir)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(analysis.Warnings, func(s string) bool {
		return strings.HasPrefix(s, "mode=simple qps=1000 repeat=0: the server ended when ") && strings.HasSuffix(s, ": server died (exit status 3)")
	}) {
		t.Errorf("the analysis warns %q", analysis.Warnings)
	}
	if r := analysis.Series[0].Rates[0]; r.Valid {
		t.Errorf("in the analysis it is %+v", r)
	}
	for _, s := range w.started() {
		if s.stops == 0 {
			t.Errorf("%+v was not stopped", s.deployment)
		}
	}
}

// TestLoadOfDeadServer holds that a server that had ended before the first
// request leaves an error and no result.
func TestLoadOfDeadServer(t *testing.T) {
	w := newWorld(t)
	srv := newServer(t)
	srv.die(errors.New("server died (exit status 3)"))
	p := w.point(srv, oneMode)
	mustContain(t, p.work(t.Context()), "0 of 4", "server died (exit status 3)")
	if got := filesBelow(t, p.rt.Dir); len(got) > 0 {
		t.Errorf("it leaves %q all the same", got)
	}
}

// TestLoadOfHangingServer holds how a server that hangs is told from one that
// had too much to do: it does not answer afterwards either.
func TestLoadOfHangingServer(t *testing.T) {
	const hangs = "after the load: the servers hang: after requests had timed out, 1 of 1 further ones had no answer within 100ms either, though /health is answered"
	for _, c := range []struct {
		name    string
		answers func(n int) bool // the nth request
		reason  string
		notes   string
		asked   int
	}{
		{"from the third on", func(n int) bool { return n < 2 }, "healthy_after == 1, it was 0", hangs, 5},
		{"from the first on", func(int) bool { return false }, "healthy_after == 1, it was 0", hangs, 5},
		{"for two requests", func(n int) bool { return n < 2 || n >= 4 }, "", "", 5},
		{"for all but the last", func(n int) bool { return n >= 4 }, "every request failed", "", 5},
		{"never", func(int) bool { return true }, "", "", 4},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			srv := newServer(t)
			srv.complete = func(_ http.ResponseWriter, r *http.Request, n int) bool {
				if !c.answers(n) {
					<-r.Context().Done()
				}
				return !c.answers(n)
			}
			p := w.point(srv, oneMode)
			p.node.Input = changedInput(t, p.node.Input, "timeout", "100ms")
			if err := p.work(t.Context()); err != nil {
				t.Fatal(err)
			}
			table := p.samples(t)
			std, err := standardOf(nil, nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			if v := std.judge(table.Meta.Facts, nil); v.Reason != c.reason || v.Usable != (c.reason == "") {
				t.Errorf("verdict %+v, want %q", v, c.reason)
			}
			if got := table.Meta.Extra[notesKey]; got != c.notes {
				t.Errorf("notes %q, want %q", got, c.notes)
			}
			if got := len(srv.bodies); got != c.asked {
				t.Errorf("it was asked %d times, want %d", got, c.asked)
			}
			// The executor, which asks before every point, starts it again.
			if err := p.rt.Service.Check(t.Context()); (err != nil) != (c.notes != "") {
				t.Errorf("it is well: %v", err)
			}
		})
	}
}

func TestLoadErrors(t *testing.T) {
	w := newWorld(t)
	p := w.point(newServer(t), oneMode)
	p.rt.Service = nil
	mustContain(t, p.work(t.Context()), "no deployment")

	// Cancelled in the middle.
	ctx, cancel := context.WithCancel(t.Context())
	stuck := newServer(t)
	stuck.complete = func(_ http.ResponseWriter, r *http.Request, _ int) bool {
		cancel()
		<-r.Context().Done()
		return true
	}
	q := w.point(stuck, changed(t, oneMode, "server_metrics: 0s", "server_metrics: 1h"))
	if err := q.work(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}

	// An interrupt keeps nothing, also if the server ends with it.
	ctx, cancel = context.WithCancel(t.Context())
	defer cancel()
	both := newServer(t)
	both.complete = func(_ http.ResponseWriter, r *http.Request, n int) bool {
		if n == 0 {
			cancel()
			both.die(errors.New("server died"))
		}
		<-r.Context().Done()
		return true
	}
	b := w.point(both, oneMode)
	if err := b.work(ctx); err == nil {
		t.Error("no error")
	}
	for _, dir := range []string{p.rt.Dir, q.rt.Dir, b.rt.Dir} {
		if got := filesBelow(t, dir); slices.Contains(got, samplesFile) {
			t.Errorf("it leaves %q all the same", got)
		}
	}
}

// TestLoadOfSickServer holds that a load which ran to its end is kept though
// its server is not well afterwards, that the record says so, and that points
// of one deployment are counted.
func TestLoadOfSickServer(t *testing.T) {
	w := newWorld(t)
	w.prepare = func(s *server) error {
		s.check = func() error {
			if len(s.asked()) >= 10 { // after two resets and twice four requests
				return errors.New("health: 500\n  command: engine\n  log: ends with a line")
			}
			return nil
		}
		return nil
	}
	a := w.apply(oneMode, "sweep.qps=[1000, 2000]", "sweep.order=as_written", "stages.load.retries=0")
	for qps, want := range map[int]struct {
		order, healthy float64
		notes          []string
	}{
		1000: {1, 1, nil},
		2000: {2, 0, []string{"after the load: health: 500"}},
	} {
		rec := recordOf(t, a, fmt.Sprintf("load mode=simple qps=%d repeat=0", qps))
		if f := rec.Facts; f["order"] != want.order || f["healthy_after"] != want.healthy || f["sent"] != 4 || !slices.Equal(rec.Notes, want.notes) {
			t.Errorf("at %d/s: facts %v, notes %q", qps, f, rec.Notes)
		}
	}
	analysis, err := ReadAnalysis(a.RunDir)
	if err != nil || !slices.Contains(analysis.Warnings, "mode=simple qps=2000 repeat=0: after the load: health: 500") {
		t.Errorf("the analysis warns %q, %v", analysis.Warnings, err)
	}
}

// TestLoadOfFailures holds that failed requests are rows of a point, which is
// measured, and that one of only failures is not usable.
func TestLoadOfFailures(t *testing.T) {
	for fails, want := range map[int]string{1: runs.Complete, 4: runs.Empty} {
		w := newWorld(t)
		w.prepare = func(s *server) error {
			s.complete = func(w http.ResponseWriter, _ *http.Request, n int) bool {
				if n < fails {
					http.Error(w, "no", http.StatusInternalServerError)
				}
				return n < fails
			}
			return nil
		}
		a := w.apply(oneMode, "stages.load.retries=0")
		rec := recordOf(t, a, "load mode=simple qps=1000 repeat=0")
		if f := rec.Facts; f["failed"] != float64(fails) || f["sent"] != 4 || f[sample.HTTPError] != float64(fails) {
			t.Errorf("%d fail: facts %v", fails, f)
		}
		if got := runs.StateOf(a.RunDir); got != want {
			t.Errorf("%d fail: the run is %s, not %s", fails, got, want)
		}
		analysis, err := ReadAnalysis(a.RunDir)
		if err != nil {
			t.Fatal(err)
		}
		if r := analysis.Series[0].Rates[0]; r.Both != float64(4-fails)/4 || r.Valid != (fails < 4) {
			t.Errorf("%d fail: %+v", fails, r)
		}
	}
}
