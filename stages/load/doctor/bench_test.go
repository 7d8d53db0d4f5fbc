package doctor

import (
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"vbp/stages/load"
	"vbp/stages/load/limits"
	"vbp/stages/load/loop"
	"vbp/stages/load/metronome"
)

// Environment variables that make this test binary one of its own children.
const (
	serverChild = "VBP_TEST_METRONOME"
	clientChild = "VBP_TEST_CLIENT"
)

// transports are those that are compared, one beside the other.
var transports = []Client{{"epoll", epoll()}, {"nethttp", load.NewHTTP()}}

// epoll is nil where the system has none.
func epoll(sources ...netip.Addr) load.Transport {
	t, err := loop.New(loop.Options{Sources: sources})
	if err != nil {
		return nil
	}
	return t
}

// TestMain makes this test binary the server or the client of a benchmark.
func TestMain(m *testing.M) {
	var err error
	switch {
	case os.Getenv(serverChild) != "":
		raiseFiles()
		err = metronome.RunChild(os.Stdin, os.Stdout)
	case os.Getenv(clientChild) != "":
		raiseFiles()
		err = runClient()
	default:
		os.Exit(m.Run())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// order is what a client is told to do, told what it tells back.
type order struct {
	URL       string
	Transport int // index in transports
	Pace      metronome.Pace
	Rate      float64
	Requests  int
	Prompt    int
	Sources   bool // leave from two addresses
}

type told struct {
	Err   string
	Taken *taken
	Peak  float64 // MB: most memory that was resident
}

// runClient is the whole of a client's process.
func runClient() error {
	runtime.GOMAXPROCS(max(2, runtime.GOMAXPROCS(0))) // kept to one core, Go would do with one thread at a time

	var o order
	if err := gob.NewDecoder(os.Stdin).Decode(&o); err != nil {
		return err
	}
	t := trial{pace: o.Pace, rate: o.Rate, requests: o.Requests, prompt: o.Prompt}
	transport := transports[o.Transport].Transport
	if o.Sources {
		transport = epoll(netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("127.0.0.2"))
	}
	c, err := t.drive(context.Background(), o.URL, transport)
	r := told{Taken: c, Peak: peak()}
	if err != nil {
		r.Err = err.Error()
	}
	return gob.NewEncoder(os.Stdout).Encode(r)
}

// peak is VmHWM in 10^6 bytes; 0 where there is no such thing.
func peak() float64 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(status)) {
		if kb, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			n, _ := strconv.ParseFloat(strings.Fields(kb)[0], 64)
			return n * 1024 / 1e6 // the kernel's kB are of 1024 bytes
		}
	}
	return 0
}

// child is this test binary with that variable set.
func child(tb testing.TB, variable string) *exec.Cmd {
	tb.Helper()
	self, err := os.Executable()
	if err != nil {
		tb.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), variable+"=1")
	cmd.Stderr = os.Stderr
	return cmd
}

// figures are one line of the benchmark.
type figures struct {
	*Reading
	peak   float64 // MB
	server float64 // s of processor time of the server for a million events
}

// measure runs a trial with the server in one process and the client in
// another, each on a core of its own where there are two.
func measure(transport int, t trial, serverCmd, clientCmd *exec.Cmd) (f figures, err error) {
	serverCore, clientCore := 0, 0
	if cores := metronome.Cores(); len(cores) > 1 {
		serverCore, clientCore = cores[0], cores[1]
	}
	server, err := metronome.StartChild(serverCmd, metronome.Config{Pace: t.pace, Requests: t.requests, Core: serverCore})
	if err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, server.Close()) }()
	in, err := clientCmd.StdinPipe()
	if err != nil {
		return f, err
	}
	out, err := clientCmd.StdoutPipe()
	if err != nil {
		return f, err
	}
	if err := metronome.StartOn(clientCmd, clientCore); err != nil {
		return f, err
	}
	before, err := server.CPU()
	if err != nil {
		return f, err
	}
	var r told
	err = gob.NewEncoder(in).Encode(order{URL: server.URL(), Transport: transport, Pace: t.pace, Rate: t.rate, Requests: t.requests, Prompt: t.prompt, Sources: transports[transport].Name == "epoll" && t.overlap() && t.requests > halfOfPorts})
	if err == nil {
		err = gob.NewDecoder(out).Decode(&r)
	}
	in.Close()
	err = errors.Join(err, clientCmd.Wait())
	if err == nil && r.Err != "" {
		err = errors.New(r.Err)
	}
	if err != nil {
		return f, err
	}
	after, err := server.CPU()
	if err != nil {
		return f, err
	}
	records, err := server.Records()
	if err != nil {
		return f, err
	}
	f.Reading, err = t.judge(r.Taken, records)
	f.peak, f.server = r.Peak, (after-before).Seconds()/float64(t.requests*t.pace.Tokens)*1e6
	return f, err
}

// halfOfPorts is where a connection from the same address becomes slow to
// open; finding.go says why.
const halfOfPorts = 14_000

// benched are the trials of BenchmarkLoad. Prompts are of 4.5 KB.
var benched = []struct {
	name string
	trial
}{
	{"Saturation", trial{pace: metronome.Pace{Tokens: 200_000, Events: 16}, requests: 64, prompt: 768}},
	{"Paced100k", trial{pace: steps(false), rate: 800, requests: 3200, prompt: 768}},
	{"Streams10k", trial{pace: manyStreams10Hz, rate: 5000, requests: 10_000, prompt: 768}},
	{"Streams20k", trial{pace: manyStreams5Hz, rate: 5000, requests: 20_000, prompt: 768}},
	{"Rate200", trial{pace: steps(true), rate: 200, requests: 800, prompt: 768}},
	{"Rate400", trial{pace: steps(true), rate: 400, requests: 1600, prompt: 768}},
	{"Rate800", trial{pace: steps(true), rate: 800, requests: 3200, prompt: 768}},
}

func steps(aligned bool) metronome.Pace {
	return metronome.Pace{First: 20 * time.Millisecond, Gap: 10 * time.Millisecond, Tokens: 128, Events: 1, Aligned: aligned}
}

var (
	manyStreams10Hz = metronome.Pace{First: 20 * time.Millisecond, Gap: 100 * time.Millisecond, Tokens: 60, Events: 1}
	manyStreams5Hz  = metronome.Pace{First: 20 * time.Millisecond, Gap: 200 * time.Millisecond, Tokens: 30, Events: 1}
)

// BenchmarkLoad measures the client against a metronome: how far its figures
// are from the server's own, and what it costs. Every line is one run, bounded
// in count and some 5 s long, whatever -benchtime says; the server's own
// lateness beside it tells whether the machine was up to it. The table at the
// end sets the transports side by side, since on a machine that does other
// things too only their ratio counts; of -count runs it shows the median.
func BenchmarkLoad(b *testing.B) {
	got := map[string][]figures{}
	for _, t := range benched {
		for i, c := range transports {
			b.Run(t.name+"/"+c.Name, func(b *testing.B) {
				if c.Transport == nil {
					b.Skip("this system has no epoll, so that transport does not exist")
				}
				if most := raiseFiles(); t.overlap() && uint64(t.requests)+limits.SpareFiles > most {
					// So many then; the metric streams tells how many.
					t.requests = int(most) - limits.SpareFiles
				}
				var f figures
				for range b.N {
					var err error
					if f, err = measure(i, t.trial, child(b, serverChild), child(b, clientChild)); err != nil {
						b.Fatal(err)
					}
				}
				got[t.name+"/"+c.Name] = append(got[t.name+"/"+c.Name], f)
				f.report(b, t.rate > 0)
			})
		}
	}
	// A benchmark with parts has no line of its own to log beside.
	fmt.Print(table(got))
}

// overlap says whether all answers of a trial are under way at a time.
func (t trial) overlap() bool {
	return t.rate > 0 && t.length().Seconds() > float64(t.requests)/t.rate
}

// report writes a line of the benchmark.
func (f figures) report(b *testing.B, paced bool) {
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(f.Events, "events/s")
	b.ReportMetric(1e6/f.CPU, "events/core-s")
	b.ReportMetric(f.CPU, "cpu-s/Mevent")
	b.ReportMetric(f.Core, "cores")
	b.ReportMetric(f.peak, "peak-MB")
	b.ReportMetric(f.Allocs, "allocs/event")
	b.ReportMetric(f.PerRead, "events/read")
	b.ReportMetric(float64(f.Failed), "failed")
	b.ReportMetric(float64(f.Streams), "streams")
	b.ReportMetric(f.server, "server-cpu-s/Mevent")
	if paced {
		b.ReportMetric(f.TTFT.P50, "ttft-p50-us")
		b.ReportMetric(f.TTFT.P99, "ttft-p99-us")
		b.ReportMetric(f.TPOT.P99, "tpot-p99-us")
		b.ReportMetric(f.Lateness.P50, "late-p50-us")
		b.ReportMetric(f.Lateness.P99, "late-p99-us")
		b.ReportMetric(f.Server.P99, "server-late-p99-us")
	}
}

// bars are what the transport on epoll is held to, on two cores at rest.
var bars = []struct {
	name, of, unit string
	least, aim     float64
	value          func(figures) float64
}{
	{"events/s a core, 16 a segment", "Saturation", "million", 3, 4, func(f figures) float64 { return 1 / f.CPU }},
	{"allocations an event", "Saturation", "", 0, 0, func(f figures) float64 { return f.Allocs }},
	{"CPU of a million events, paced", "Paced100k", "s", 5.5, 4, func(f figures) float64 { return f.CPU }},
	{"10,000 streams: memory", "Streams10k", "MB", 60, 60, func(f figures) float64 { return f.peak }},
	{"10,000 streams: processor", "Streams10k", "cores", .6, .6, func(f figures) float64 { return f.Core }},
	{"20,000 streams: memory", "Streams20k", "MB", 0, 0, func(f figures) float64 { return f.peak }},
	{"TTFT error p50, 400 requests/s", "Rate400", "us", 50, 50, func(f figures) float64 { return f.TTFT.P50 }},
	{"TTFT error p99", "Rate400", "us", 1000, 100, func(f figures) float64 { return f.TTFT.P99 }},
	{"TPOT error p99", "Rate400", "us", 1, .2, func(f figures) float64 { return f.TPOT.P99 }},
	{"lateness p50", "Rate400", "us", 40, 40, func(f figures) float64 { return f.Lateness.P50 }},
	{"lateness p99", "Rate400", "us", 300, 70, func(f figures) float64 { return f.Lateness.P99 }},
	{"memory", "Rate400", "MB", 0, 0, func(f figures) float64 { return f.peak }},
	{"TTFT error p50, 800 requests/s", "Rate800", "us", 60, 60, func(f figures) float64 { return f.TTFT.P50 }},
	{"TTFT error p99", "Rate800", "us", 5000, 200, func(f figures) float64 { return f.TTFT.P99 }},
}

// table sets what was measured beside the bars.
func table(got map[string][]figures) string {
	var out strings.Builder
	w := tabwriter.NewWriter(&out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "\tbar\taim\tepoll\tnet/http\tratio\t  unit")
	cell := func(x float64, known bool) string {
		if !known {
			return "-"
		}
		return strconv.FormatFloat(x, 'g', 3, 64)
	}
	for _, bar := range bars {
		x, haveEpoll := median(got[bar.of+"/epoll"], bar.value)
		y, haveHTTP := median(got[bar.of+"/nethttp"], bar.value)
		if !haveEpoll && !haveHTTP {
			continue
		}
		ratio := y / x
		if bar.unit == "million" { // more is better
			ratio = x / y
		}
		set := bar.least > 0 || bar.unit == ""
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t  %s\n", bar.name, cell(bar.least, set), cell(bar.aim, set),
			cell(x, haveEpoll), cell(y, haveHTTP), cell(ratio, haveEpoll && haveHTTP && x > 0), bar.unit)
	}
	w.Flush()
	return out.String()
}

// median of a value of some runs, if there are any.
func median(runs []figures, value func(figures) float64) (float64, bool) {
	var all []float64
	for _, f := range runs {
		all = append(all, value(f))
	}
	if len(all) == 0 {
		return 0, false
	}
	slices.Sort(all)
	return all[len(all)/2], true
}
