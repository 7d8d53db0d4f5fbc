package doctor

import (
	"context"
	"errors"
	"os/exec"
	"strings"
	"testing"
	"time"

	"vbp/stages/load"
	"vbp/stages/sample"
)

func TestBounds(t *testing.T) {
	b := boundsOf(5 * time.Millisecond)
	if b != (Bounds{P50: 500, P99: 5000, TPOTP99: 100}) {
		t.Fatalf("%+v", b)
	}
	edge := Reading{
		TTFT: Spread{P50: 500, P99: 5000, Max: 1e9}, Lateness: Spread{P50: 500, P99: 5000, Max: 1e9},
		TPOT: Spread{P99: 100},
	}
	for want, change := range map[string]func(*Reading){
		"":                         func(*Reading) {},
		"1 of 0 requests failed":   func(r *Reading) { r.Failed = 1 },
		"median of the TTFT error": func(r *Reading) { r.TTFT.P50 += .1 },
		"p99 of the TTFT error":    func(r *Reading) { r.TTFT.P99++ },
		"median of the lateness":   func(r *Reading) { r.Lateness.P50++ },
		"p99 of the lateness":      func(r *Reading) { r.Lateness.P99++ },
		"p99 of the TPOT error":    func(r *Reading) { r.TPOT.P99++ },
	} {
		r := edge
		change(&r)
		if got := b.breaks(&r); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// The limits of the machine bound what is tried.
func TestStreamsWithinLimits(t *testing.T) {
	for _, c := range []struct {
		m    Machine
		want int // how many rungs
	}{
		{Machine{}, 2},
		{Machine{Files: 2048}, 0},
		{Machine{Files: 2100}, 1},
		{Machine{Files: 20_000, PortFirst: 32768, PortLast: 60999}, 2},
		{Machine{Files: 20_000, PortFirst: 32768, PortLast: 36999}, 1},
	} {
		if got := (ladder{machine: &c.m}).streams(); len(got) != c.want {
			t.Errorf("%+v: %v", c.m, got)
		}
	}
}

// All streams of a trial are open together, whatever their number.
func TestStreamsOverlap(t *testing.T) {
	for _, n := range []int{2000, 10_000} {
		tr := ladder{}.byStreams(n)
		if last := time.Duration(n) * time.Second / opening; tr.length() <= last+100*time.Millisecond {
			t.Errorf("%d streams: the last begins after %v, an answer takes %v", n, last, tr.length())
		}
	}
}

// wrong is a client that sees the first token late by what a test says.
type wrong struct {
	load.Transport
	by time.Duration
}

func (w wrong) Run(ctx context.Context, plan load.Plan, rec load.Recorder) (load.Stats, error) {
	return w.Transport.Run(ctx, plan, wrongRecorder{rec, int64(w.by)})
}

type wrongRecorder struct {
	load.Recorder
	by int64
}

func (r wrongRecorder) Done(i int, at int64, o *sample.Outcome) {
	o.FirstToken += r.by
	r.Recorder.Done(i, at, o)
}

// broken is a client that cannot measure.
type broken struct{}

func (broken) Protocol() string { return "broken 1" }

func (broken) Run(context.Context, load.Plan, load.Recorder) (load.Stats, error) {
	return load.Stats{}, errors.New("no more sockets")
}

// A client that is wrong is found out, and one that fails is told of, while
// the others are examined all the same. The bounds are so wide that a busy
// machine is not taken for a client that is wrong.
func TestExamine(t *testing.T) {
	if testing.Short() {
		t.Skip("an examination takes some seconds: left out with -short")
	}
	r, err := Examine(t.Context(), Options{
		Clients: []Client{
			{"http", load.NewHTTP()},
			{"wrong", wrong{load.NewHTTP(), 20 * time.Second}},
			{"broken", broken{}},
		},
		Server: func() *exec.Cmd { return child(t, serverChild) },
		Within: 10 * time.Second, Quick: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Clients) != 3 || r.Schema != "vbp.doctor/v1" {
		t.Fatalf("%+v", r)
	}
	h, w, b := r.Clients[0], r.Clients[1], r.Clients[2]
	if w.Rate != 0 || w.Bound != None || len(w.Rungs) == 0 || w.Rungs[0].Beyond != "median of the TTFT error" {
		t.Errorf("a client that is wrong by 20 s: %+v", w)
	}
	if b.Rate != 0 || !strings.Contains(b.Error, "no more sockets") {
		t.Errorf("a client that fails: %+v", b)
	}
	if h.Protocol != load.Protocol || h.Error != "" || len(h.Rungs) == 0 || h.Rungs[0].Reading.Sent < 20 {
		t.Errorf("a client that works: %+v", h)
	}
	if h.Rate == 0 && h.Rungs[0].Limit == "" {
		t.Errorf("10 s were not enough for a client that works: %+v", h.Rungs[0])
	}
	if r.Machine.Cores < 1 || r.Machine.OS == "" {
		t.Errorf("%+v", r.Machine)
	}
}

func TestExamineRefuses(t *testing.T) {
	server := func() *exec.Cmd { return exec.Command("/nonexistent/metronome") }
	clients := []Client{{"http", load.NewHTTP()}}
	for name, o := range map[string]Options{
		"no clients": {Server: server},
		"no server":  {Clients: clients},
		"negative":   {Clients: clients, Server: server, Within: -1},
		"no program": {Clients: clients, Server: server, Quick: true},
	} {
		if _, err := Examine(t.Context(), o); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// The end of a context ends an examination.
func TestExamineIsCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	_, err := Examine(ctx, Options{
		Clients: []Client{{"http", load.NewHTTP()}}, Quick: true,
		Server:   func() *exec.Cmd { return child(t, serverChild) },
		Progress: func(what string) { cancel() },
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}
