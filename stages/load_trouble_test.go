package stages

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"vbp/pipeline"
	"vbp/pipeline/history"
	"vbp/stages/sample"
)

// TestLoadOfDyingServer holds that a point in which the server dies leaves no
// result, its error says why, and other points are measured.
func TestLoadOfDyingServer(t *testing.T) {
	w := newWorld(t)
	w.prepare = func(s *server) error {
		if s.deployment.Connector != "" {
			return nil
		}
		s.complete = func(_ http.ResponseWriter, r *http.Request, n int) bool {
			if n == 1 {
				s.die(errors.New("server exited with status 3; last lines: out of memory"))
				<-r.Context().Done()
			}
			return n >= 1
		}
		return nil
	}
	a := w.apply(twoModes)
	const bad, good = "load mode=simple qps=1000 repeat=0", "load mode=nixl qps=1000 repeat=0"
	r := a.Report.Result(bad)
	if r.State != pipeline.StateFailed || r.Artefact != nil {
		t.Errorf("%s: %s, %v", bad, r.State, r.Artefact)
	}
	mustContain(t, r.Err, "server exited with status 3; last lines: out of memory")
	if r := a.Report.Result(good); r.State != pipeline.StateDone {
		t.Errorf("%s: %s, %v", good, r.State, r.Err)
	}
	if got, want := a.Tally(), (Tally{Usable: 1, Lost: 1}); got != want {
		t.Errorf("tally %+v, want %+v", got, want)
	}
	if got := stateOf(a.RunDir); got != RunPartial {
		t.Errorf("the run is %s", got)
	}
	records, _, err := history.Read(filepath.Join(a.RunDir, history.FileName))
	if err != nil || !slices.ContainsFunc(records, func(r history.Record) bool {
		return r.Kind == history.NodeFailed && r.Node == bad && strings.Contains(r.Error, "out of memory")
	}) {
		t.Errorf("the journal does not tell of it: %+v, %v", records, err)
	}
	for _, s := range w.started() {
		if s.stops == 0 {
			t.Errorf("%+v was not stopped", s.deployment)
		}
	}
	// Nothing of it is in the store: it is planned again, as if never done.
	p, err := PlanOf(t.Context(), w.parse(twoModes), w.site, false)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range p.Decisions {
		if d.Node.ID == bad && (d.Action != pipeline.Run || d.Why != "not done yet") {
			t.Errorf("%s: %s, %s", bad, d.Action, d.Why)
		}
	}
	if entries, err := os.ReadDir(filepath.Join(w.site.Results, storeDir, "tmp")); err != nil || len(entries) > 0 {
		t.Errorf("drafts are left: %v, %v", entries, err)
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
	for _, dir := range []string{p.rt.Dir, q.rt.Dir} {
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
	a := w.apply(oneMode, "sweep.qps=[1000, 2000]")
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
	for fails, want := range map[int]string{1: RunComplete, 4: RunEmpty} {
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
		a := w.apply(oneMode)
		rec := recordOf(t, a, "load mode=simple qps=1000 repeat=0")
		if f := rec.Facts; f["failed"] != float64(fails) || f["sent"] != 4 || f[sample.HTTPError] != float64(fails) {
			t.Errorf("%d fail: facts %v", fails, f)
		}
		if got := stateOf(a.RunDir); got != want {
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
