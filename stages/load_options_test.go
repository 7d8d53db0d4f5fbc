package stages

import (
	"math"
	"net/http"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"vbp/pipeline"
	"vbp/stages/load"
	"vbp/stages/load/loop"
	"vbp/stages/sample"
)

// measure is the file that the only point of a spec leaves, with a server that
// answers at once.
func (w *world) measure(text string) *sample.Table {
	w.t.Helper()
	p := w.point(newServer(w.t), text)
	if err := p.work(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	return p.samples(w.t)
}

// crowd notes how many requests a server had at a time. It answers none before
// it has as many as are awaited.
type crowd struct {
	mu            sync.Mutex
	now, most, in int
	full          chan struct{}
	await         int
}

func (c *crowd) join(*http.Request) {
	c.mu.Lock()
	c.now++
	c.most = max(c.most, c.now)
	if c.in++; c.in == c.await {
		close(c.full)
	}
	c.mu.Unlock()
}

// TestLoadConcurrency holds that no more than max_concurrency requests are in
// flight, that who waited for a slot was not sent late by the client, and that
// the record says so.
func TestLoadConcurrency(t *testing.T) {
	w := newWorld(t)
	srv := newServer(t)
	c := &crowd{full: make(chan struct{}), await: 2}
	srv.complete = func(_ http.ResponseWriter, r *http.Request, _ int) bool {
		c.join(r)
		<-c.full
		c.mu.Lock()
		c.now--
		c.mu.Unlock()
		return false
	}
	// All are due within 4 us: the third before any can have been answered.
	p := w.point(srv, changed(t, oneMode, "requests: 4", "requests: 4, max_concurrency: 2", "qps: [1000]", "qps: [1000000]"))
	if err := p.work(t.Context()); err != nil {
		t.Fatal(err)
	}
	table := p.samples(t)
	if c.most != 2 {
		t.Errorf("the server had %d requests at a time, not 2", c.most)
	}
	for i := range 4 {
		o := table.Row(i)
		late := float64(o.Sent-table.Scheduled[i]) / 1e9
		if waits := i >= 2; (o.SlotWait > 0) != waits || o.SlotWait > late {
			t.Errorf("request %d was sent %v s late, of which it waited %v for a slot", i, late, o.SlotWait)
		}
	}
	f := table.Meta.Facts
	if f["slot_waited"] != 0.5 || !(f["slot_wait_max_ms"] > 0) || !(f["slot_wait_p99_ms"] > 0) || f["streams_max"] != 2 {
		t.Errorf("facts %v", f)
	}
	// Without a limit there is nothing to wait for.
	table = w.measure(oneMode)
	if o := table.Row(0); !math.IsNaN(o.SlotWait) {
		t.Errorf("without a limit it waited %v s for a slot", o.SlotWait)
	}
	if _, told := table.Meta.Facts["slot_waited"]; told || table.Meta.Extra[notesKey] != "" {
		t.Errorf("without a limit: facts %v, notes %q", table.Meta.Facts, table.Meta.Extra[notesKey])
	}
}

// TestLoadConcurrencyAsAxis holds that a limit can be swept, that each point
// has its own, and that the one that a spec without the axis had is reused.
func TestLoadConcurrencyAsAxis(t *testing.T) {
	w := newWorld(t)
	w.apply(changed(t, oneMode, "requests: 4", "requests: 4, max_concurrency: 4"))
	a := w.apply(changed(t, oneMode, "sweep: {", "sweep: {workload.max_concurrency: [1, 4], "))
	if done := a.Report.Result("load mode=simple workload.max_concurrency=4 qps=1000 repeat=0"); done.State != pipeline.StateReused {
		t.Errorf("the limit that was measured already: %s", done.State)
	}
	for limit, most := range map[string]float64{"1": 1, "4": 4} {
		table := samplesIn(t, filepath.Join(a.RunDir, "samples/mode=simple/workload.max_concurrency="+limit+"/qps=1000/repeat=0"))
		if got := table.Meta.Facts["streams_max"]; got > most || table.Len() != 4 {
			t.Errorf("limit %s: %d rows, %v at a time", limit, table.Len(), got)
		}
	}
}

// TestLoadEnds holds what ends a point, of a number of requests and a duration.
func TestLoadEnds(t *testing.T) {
	w := newWorld(t)
	for name, c := range map[string]struct {
		spec string // instead of "requests: 4"
		want int
		last time.Duration // of the schedule
	}{
		"duration":                 {"duration: 50ms", 50, 50 * time.Millisecond},
		"the duration comes first": {"requests: 300, duration: 20ms", 20, 20 * time.Millisecond},
		"requests come first":      {"requests: 6, duration: 1h", 6, 6 * time.Millisecond},
	} {
		spec := changed(t, oneMode, "requests: 4", "arrivals: constant, "+c.spec, "sent == 4", "sent > 0")
		table := w.measure(spec)
		if table.Len() != c.want || table.Meta.Facts["planned"] != float64(c.want) || table.Meta.Facts["sent"] != float64(c.want) {
			t.Errorf("%s: %d rows, not %d; facts %v", name, table.Len(), c.want, table.Meta.Facts)
			continue
		}
		for i, at := range table.Scheduled {
			if want := int64(i+1) * int64(time.Millisecond); at-table.Scheduled[0] != want-int64(time.Millisecond) {
				t.Errorf("%s: request %d is due at %d ns, not %d", name, i, at, want)
			}
		}
		if got := w.build(spec).Node("load mode=simple qps=1000 repeat=0").Expect; got != c.last {
			t.Errorf("%s: it is expected to take %v, not %v", name, got, c.last)
		}
	}
}

// TestLoadArrivals holds that what a spec says of arrivals is what is sent,
// and that the samples say it.
func TestLoadArrivals(t *testing.T) {
	w := newWorld(t)
	gaps := func(spec string) ([]int64, *sample.Table) {
		table := w.measure(changed(t, oneMode, "requests: 4", "requests: 100, "+spec, "sent == 4", "sent == 100", "qps: [1000]", "qps: [2000]"))
		out := []int64{table.Scheduled[0]}
		for i := 1; i < table.Len(); i++ {
			out = append(out, table.Scheduled[i]-table.Scheduled[i-1])
		}
		return out, table
	}
	sum := func(x []int64) (s int64) {
		for _, v := range x {
			s += v
		}
		return s
	}
	var told []string
	tell := func(t *sample.Table) { told = append(told, t.Meta.Extra["arrivals"]) }

	drawn, table := gaps("arrivals: poisson")
	tell(table)
	rescaled, table := gaps("arrivals: poisson, rescale: true")
	tell(table)
	// 100 requests at 2000/s: the last is due at 50 ms, and all gaps are
	// longer or shorter by one factor.
	if got := sum(rescaled); got < 50e6-1000 || got > 50e6+1000 {
		t.Errorf("rescaled, the last is due at %d ns, not at 50 ms", got)
	}
	factor := float64(sum(drawn)) / 50e6
	if math.Abs(factor-1) < 1e-3 {
		t.Errorf("as drawn, the last is due at 50 ms by itself")
	}
	for i := range drawn {
		if math.Abs(float64(drawn[i])-factor*float64(rescaled[i])) > 100 {
			t.Errorf("gap %d is %d ns as drawn and %d rescaled, by a factor of %v", i, drawn[i], rescaled[i], factor)
			break
		}
	}

	even, table := gaps("arrivals: gamma, burstiness: 1000")
	tell(table)
	// The variation of gaps is 1/sqrt(1000): at most 25 % within a hundred.
	if slices.Min(even) < 375e3 || slices.Max(even) > 625e3 {
		t.Errorf("gaps of a burstiness of 1000 are from %d to %d ns, not about 500 us", slices.Min(even), slices.Max(even))
	}

	rising, table := gaps("arrivals: ramp, ramp: {shape: linear, from: 0%}")
	tell(table)
	// From nothing the rate 2000 t/T is reached at T = 2 N/rate = 100 ms, and
	// half of the requests are due after T/sqrt(2).
	if first, all := sum(rising[:50]), sum(rising); first < 55e6 || first > 85e6 || all < 85e6 || all > 115e6 {
		t.Errorf("of a ramp from nothing, half is due at %d ns and the last at %d, not at about 71 and 100 ms", first, all)
	}
	for i, want := range []string{"as drawn: not rescaled", "rescaled", "gamma of burstiness 1000", "whose rate rises (linear) from 0"} {
		if !strings.Contains(told[i], want) {
			t.Errorf("the samples say %q of arrivals, not %q", told[i], want)
		}
	}
}

// TestLoadTransport holds which transport loads what, that it is part of a
// point's key, and what is said where it cannot be.
func TestLoadTransport(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the event loop is Linux's; elsewhere everything is loaded over net/http")
	}
	w := newWorld(t)
	for _, c := range []struct {
		mode, settings string
		client         string
		wrong          []string
	}{
		{"engine: simulated", "", loop.Protocol, nil},
		{"engine: simulated", "transport: auto", loop.Protocol, nil},
		{"engine: simulated", "transport: epoll", loop.Protocol, nil},
		{"engine: simulated", "transport: net/http", load.Protocol, nil},
		{"engine: simulated", "loops: 2, source_addresses: [127.0.0.1, 127.0.0.9]", loop.Protocol, nil},
		{`endpoint: "http://127.0.0.1:9"`, "", loop.Protocol, nil},
		{`endpoint: "https://127.0.0.1:9"`, "", load.Protocol, nil},
		{`endpoint: "https://127.0.0.1:9"`, "transport: net/http", load.Protocol, nil},
		{`endpoint: "https://127.0.0.1:9"`, "transport: epoll", "", []string{"modes.simple", "stages.load.transport", "epoll cannot be used", "https", "use auto or net/http"}},
		{`endpoint: "https://127.0.0.1:9"`, "source_addresses: [127.0.0.1]", "", []string{"modes.simple", "stages.load.source_addresses", "goes with the transport epoll"}},
		{"engine: simulated", "transport: net/http, source_addresses: [127.0.0.1]", "", []string{"stages.load.source_addresses", "goes with the transport epoll"}},
	} {
		spec := changed(t, oneMode, "engine: simulated", c.mode, "load: {cooldown: 0s", "load: {cooldown: 0s, "+c.settings)
		g, err := Build(w.parse(spec), w.site)
		if c.client == "" {
			mustContain(t, err, c.wrong...)
			continue
		}
		if err != nil {
			t.Errorf("%s, %s: %v", c.mode, c.settings, err)
			continue
		}
		var in loadInput
		if err := g.Node("load mode=simple qps=1000 repeat=0").Input.Decode(&in); err != nil || in.Client != c.client {
			t.Errorf("%s, %s: the key says %q, not %q, %v", c.mode, c.settings, in.Client, c.client, err)
		}
	}
	for settings, client := range map[string]string{
		"transport: epoll": loop.Protocol, "transport: net/http": load.Protocol,
		"loops: 3, source_addresses: [127.0.0.1, 127.0.0.9]": loop.Protocol,
	} {
		table := w.measure(changed(t, oneMode, "load: {cooldown: 0s", "load: {cooldown: 0s, "+settings))
		if got := table.Meta.Extra["client"]; got != client || table.Failed() != 0 || table.Len() != 4 {
			t.Errorf("%s: %d requests, %d failed, over %q", settings, table.Len(), table.Failed(), got)
		}
		if _, told := table.Meta.Facts["client_busy"]; told != (client == loop.Protocol) {
			t.Errorf("%s: facts %v", settings, table.Meta.Facts)
		}
	}
}

// TestLoadFromSourceAddresses holds that requests come from the addresses that
// are named, and that one which is not this machine's is refused before
// anything is sent.
func TestLoadFromSourceAddresses(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("all of 127.0.0.0/8 is this machine's on Linux only")
	}
	w := newWorld(t)
	srv := newServer(t)
	var mu sync.Mutex
	from := make(map[string]int)
	srv.complete = func(_ http.ResponseWriter, r *http.Request, _ int) bool {
		host, _, _ := strings.Cut(r.RemoteAddr, ":")
		mu.Lock()
		defer mu.Unlock()
		from[host]++
		return false
	}
	p := w.point(srv, changed(t, oneMode, "load: {cooldown: 0s", "load: {cooldown: 0s, source_addresses: [127.0.0.7]"))
	if err := p.work(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(from) != 1 || from["127.0.0.7"] != 4 {
		t.Errorf("requests came from %v", from)
	}
	// An address of documentation (RFC 5737), which nobody has.
	p = w.point(srv, changed(t, oneMode, "load: {cooldown: 0s", "load: {cooldown: 0s, source_addresses: [127.0.0.7, 203.0.113.5]"))
	mustContain(t, p.work(t.Context()), "source address 203.0.113.5", "must be an address of this machine")
	if n := len(srv.bodies); n != 4 { // those of the first point
		t.Errorf("%d requests were sent, not 4", n)
	}
}
