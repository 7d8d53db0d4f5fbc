package stages

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"vbp/pipeline"
	"vbp/pipeline/cache"
)

// realModes are three modes of vLLM that need five GPUs together.
const realModes = `modes:
  a: {engine: vllm, tensor_parallel: 2}
  b: {engine: vllm, disaggregated: {connector: nixl}}
  c: {engine: vllm, env: {CUDA_VISIBLE_DEVICES: "7"}}
`

// withVLLM puts an empty program vllm on PATH.
func (w *world) withVLLM() {
	w.t.Setenv("PATH", filepath.Dir(w.write("bin/vllm", "")))
	if err := os.Chmod(filepath.Join(w.dir, "bin/vllm"), 0o755); err != nil {
		w.t.Fatal(err)
	}
}

// Deployments that may be up at the same time never share a GPU: one that
// finds too few free waits.
func TestGPUsAreLeased(t *testing.T) {
	w := newWorld(t)
	w.withVLLM()
	t.Setenv("VBP_GPUS", "GPU-ab,3,5")
	w.prepare = func(s *server) error {
		for _, other := range w.started() {
			other.mu.Lock()
			up := other.stops == 0
			other.mu.Unlock()
			for _, id := range s.options.GPUs {
				if up && slices.Contains(other.options.GPUs, id) {
					t.Errorf("GPU %s is given to two deployments at once", id)
				}
			}
		}
		return nil
	}
	a := w.apply(changed(t, oneMode, "modes: {simple: {engine: simulated}}\n", realModes, "cooldown: 0s", "cooldown: 0s, side_by_side: true"))
	if n := a.Tally(); n.Usable != 3 || n.Lost != 0 {
		t.Errorf("%+v", n)
	}
	if len(w.started()) != 3 {
		t.Fatalf("%d deployments", len(w.started()))
	}
	for _, s := range w.started() {
		want := s.deployment.GPUs()
		if s.deployment.Server != nil && s.deployment.Server.OwnDevices() {
			want = 0
		}
		if len(s.options.GPUs) != want {
			t.Errorf("%d GPUs for one that needs %d", len(s.options.GPUs), want)
		}
	}
}

// What a plan shows can be pasted into a shell: it has the ports and GPUs that
// a start would take.
func TestStarts(t *testing.T) {
	w := newWorld(t)
	w.withVLLM()
	t.Setenv("VBP_GPUS", "4,5,6")
	spec := changed(t, oneMode, "modes: {simple: {engine: simulated}}\n", realModes+`  there: {endpoint: "http://127.0.0.1:9"}`+"\n")
	exp := w.parse(spec, "sweep.order=as_written")
	p, err := PlanOf(t.Context(), exp, w.site, PlanChoices{})
	if err != nil {
		t.Fatal(err)
	}
	starts, err := Starts(t.Context(), p, exp, w.site)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	ports := make(map[int]bool)
	for _, s := range starts {
		for _, proc := range s.Processes {
			lines = append(lines, s.Node+" "+proc.Name+": "+proc.Shell())
			if ports[proc.Port] || proc.Port == 0 {
				t.Errorf("port %d twice", proc.Port)
			}
			ports[proc.Port] = true
		}
	}
	want := []string{ // one after the other, so that each begins with the first GPU
		"deploy mode=a server: CUDA_VISIBLE_DEVICES=4,5 VLLM_SERVER_DEV_MODE=1 vllm serve Qwen/Qwen3-8B ",
		"deploy mode=b prefill-0: CUDA_VISIBLE_DEVICES=4 VLLM_SERVER_DEV_MODE=1 VLLM_NIXL_SIDE_CHANNEL_HOST=127.0.0.1 VLLM_NIXL_SIDE_CHANNEL_PORT=",
		"deploy mode=b decode-0: CUDA_VISIBLE_DEVICES=5 VLLM_SERVER_DEV_MODE=1 VLLM_NIXL_SIDE_CHANNEL_HOST=127.0.0.1 VLLM_NIXL_SIDE_CHANNEL_PORT=",
		"deploy mode=b proxy: " + w.site.Self + " proxy ",
		"deploy mode=c server: VLLM_SERVER_DEV_MODE=1 CUDA_VISIBLE_DEVICES=7 vllm serve Qwen/Qwen3-8B ",
	}
	if len(lines) != len(want) {
		t.Fatalf("got %d lines:\n%s", len(lines), strings.Join(lines, "\n"))
	}
	for i, line := range lines {
		if !strings.HasPrefix(line, want[i]) {
			t.Errorf("got  %s\nwant %s...", line, want[i])
		}
	}
	if starts[len(starts)-1].Endpoint != "http://127.0.0.1:9" || starts[len(starts)-1].Processes != nil || !strings.Contains(starts[len(starts)-1].Trouble, "connection refused") {
		t.Errorf("a server that runs already: %+v", starts[len(starts)-1])
	}
}

// wish is a lease that a test wants, in this process or in a child.
type wish struct {
	Dir  string
	What string
	Host int
	GPUs int
	IDs  []string // of the GPUs that it may have
	Lock []string // names of their locks; nil: the ids
}

func (w wish) leases() *leases {
	units := map[string][]string{gpuResource: w.IDs}
	if w.Lock != nil {
		units[gpuLocks] = w.Lock
	}
	return newLeases(w.Dir, &pipeline.Graph{Units: units}, w.What)
}

func (w wish) node() *pipeline.Node {
	return &pipeline.Node{ID: "deploy " + w.What, Uses: map[string]int{hostResource: w.Host, gpuResource: w.GPUs}}
}

// lease gets what w wishes in this process.
func (w wish) lease(ctx context.Context, emit func(string)) ([]string, func() error, error) {
	granted, release, err := w.leases().lease(ctx, w.node(), emit)
	return granted[gpuResource], release, err
}

// Who has enough of waiting returns at once, with nothing in hand.
func TestLeaseIsCancelled(t *testing.T) {
	for name, w := range map[string]wish{
		"machine":      {Host: hostUnits},
		"part":         {Host: 1},
		"GPUs":         {GPUs: 2, IDs: []string{"0", "1"}},
		"GPUs of all":  {Host: hostUnits, GPUs: 2, IDs: []string{"0", "1"}},
		"GPUs of part": {Host: 1, GPUs: 1, IDs: []string{"1", "0"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w.Dir = tempDir(t)
				held := wish{Dir: w.Dir, What: "apply first", Host: hostUnits, GPUs: 2, IDs: []string{"0", "1"}}
				if w.Host == 1 && w.GPUs > 0 {
					held.Host = 1 // the machine is not what is waited for
				}
				_, release, err := held.lease(t.Context(), nil)
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithCancelCause(t.Context())
				enough := errors.New("enough")
				told := 0
				var end time.Time
				go func() {
					time.Sleep(time.Minute)
					end = time.Now()
					cancel(enough)
				}()
				_, _, err = w.lease(ctx, func(string) { told++ })
				if !errors.Is(err, enough) || told != 1 || !time.Now().Equal(end) {
					t.Errorf("%v after %s, told %d times", err, time.Since(end), told)
				}
				if err := errors.Join(release(), release()); err != nil {
					t.Error(err)
				}
				nothingHeld(t, w.Dir)
				if _, _, err = w.lease(ctx, nil); !errors.Is(err, enough) {
					t.Errorf("one that is over before it begins got a lease: %v", err)
				}
				nothingHeld(t, w.Dir)
			})
		})
	}
}

// nothingHeld holds that every lock in dir can be taken.
func nothingHeld(t *testing.T, dir string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no locks: %v", err)
	}
	for _, f := range files {
		l, holder, err := cache.TryLock(f, "test")
		if l == nil {
			t.Errorf("%s is held by %s: %v", f, holder, err)
		} else if err := l.Release(); err != nil {
			t.Error(err)
		}
	}
}

// A stream of others does not keep anybody waiting for ever: there is always
// one of them that has its lease, and the next comes before it ends.
func TestLeaseDoesNotStarve(t *testing.T) {
	four := []string{"0", "1", "2", "3"}
	for name, c := range map[string]struct{ stream, one wish }{
		"whole machine": {wish{Host: 1}, wish{Host: hostUnits}},
		"part of it":    {wish{Host: hostUnits}, wish{Host: 1}},
		"all GPUs":      {wish{Host: 1, GPUs: 1, IDs: four}, wish{Host: 1, GPUs: 4, IDs: four}},
		"some GPUs":     {wish{Host: 1, GPUs: 2, IDs: four[1:]}, wish{GPUs: 2, IDs: four[:3]}},
		"all at all":    {wish{Host: 1, GPUs: 1, IDs: four[2:]}, wish{Host: hostUnits, GPUs: 4, IDs: four}},
		"mixed":         {wish{Host: hostUnits, GPUs: 3, IDs: four}, wish{Host: 1, GPUs: 1, IDs: four[:1]}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c.stream.Dir = tempDir(t)
				c.one.Dir = c.stream.Dir
				ctx, cancel := context.WithCancel(t.Context())
				var all sync.WaitGroup
				for i := range 5 {
					w := c.stream
					w.What = fmt.Sprint("stream ", i)
					all.Go(func() {
						for time.Sleep(time.Duration(i) * 7 * time.Second); ctx.Err() == nil; {
							_, release, err := w.lease(ctx, func(string) {})
							if err != nil {
								if ctx.Err() == nil {
									t.Error(err)
								}
								return
							}
							time.Sleep(37 * time.Second)
							if err := release(); err != nil {
								t.Error(err)
							}
						}
					})
				}
				time.Sleep(time.Minute)
				late, stop := context.WithTimeout(ctx, time.Hour)
				defer stop()
				c.one.What = "one"
				if _, release, err := c.one.lease(late, func(string) {}); err != nil {
					t.Errorf("did not get its lease in an hour: %v", err)
				} else if err := release(); err != nil {
					t.Error(err)
				}
				cancel()
				all.Wait()
			})
		})
	}
}

// Whatever is asked for by whom: nobody shares a GPU, nobody is beside one who
// has the machine to himself, and all get what they asked for.
func TestLeaseOfRandomRequests(t *testing.T) {
	dir, n := tempDir(t), 0
	rapid.Check(t, func(r *rapid.T) {
		n++
		own := filepath.Join(dir, fmt.Sprint(n))
		steps := randomSteps(r, own)
		var faults []string
		synctest.Test(t, func(*testing.T) { faults = leaseAll(steps) })
		for _, f := range faults {
			r.Error(f)
		}
		if err := os.RemoveAll(own); err != nil {
			r.Fatal(err)
		}
	})
}

// leaseStep is a service of a process that waits, leases, and keeps the lease.
type leaseStep struct {
	wish
	wait, keep time.Duration
}

// randomSteps are the services of some processes, one after the other in each.
func randomSteps(t *rapid.T, dir string) [][]leaseStep {
	ids := []string{"0", "1", "2", "3", "4"}
	locks := []string{"d", "b", "a", "c", "e"} // in another order
	seconds := rapid.IntRange(0, 20)
	var steps [][]leaseStep
	for p := range rapid.IntRange(2, 5).Draw(t, "processes") {
		order := rapid.Permutation([]int{0, 1, 2, 3, 4}).Draw(t, "order")
		own := wish{Dir: dir, What: fmt.Sprint("apply ", p)}
		for _, i := range order[:rapid.IntRange(0, 5).Draw(t, "visible")] {
			own.IDs, own.Lock = append(own.IDs, ids[i]), append(own.Lock, locks[i])
		}
		var mine []leaseStep
		for range rapid.IntRange(1, 4).Draw(t, "services") {
			w := own
			w.Host = rapid.SampledFrom([]int{0, 1, 1, hostUnits}).Draw(t, "host")
			w.GPUs = rapid.IntRange(0, len(own.IDs)).Draw(t, "GPUs")
			mine = append(mine, leaseStep{w, time.Duration(seconds.Draw(t, "wait")) * time.Second, time.Duration(seconds.Draw(t, "keep")) * time.Second})
		}
		steps = append(steps, mine)
	}
	return steps
}

// leaseAll lets all processes lease and returns what must not be.
func leaseAll(steps [][]leaseStep) (faults []string) {
	var mu sync.Mutex
	fault := func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		faults = append(faults, fmt.Sprintf(format, args...))
	}
	holds := make(map[string]string) // id -> who
	units := 0                       // of the machine
	ctx, cancel := context.WithTimeout(context.Background(), 24*time.Hour)
	defer cancel()
	var all sync.WaitGroup
	for _, mine := range steps {
		all.Go(func() {
			for _, s := range mine {
				time.Sleep(s.wait)
				got, release, err := s.lease(ctx, func(string) {})
				if err != nil {
					fault("%+v: %v", s, err)
					return
				}
				mu.Lock()
				if units += s.Host; units > hostUnits {
					faults = append(faults, fmt.Sprintf("%+v is not alone", s))
				}
				for _, id := range got {
					if holds[id] != "" || !slices.Contains(s.IDs, id) {
						faults = append(faults, fmt.Sprintf("%+v has %s, which %q holds", s, id, holds[id]))
					}
					holds[id] = s.What
				}
				mu.Unlock()
				if len(got) != s.GPUs {
					fault("%+v got %v", s, got)
				}
				time.Sleep(s.keep)
				mu.Lock()
				units -= s.Host
				for _, id := range got {
					holds[id] = ""
				}
				mu.Unlock()
				if err := release(); err != nil {
					fault("%+v: %v", s, err)
				}
			}
		})
	}
	all.Wait()
	return faults
}

func TestLeaseErrors(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	_, _, err := wish{Dir: filepath.Join(file, "below"), Host: 1}.lease(t.Context(), nil)
	mustContain(t, err, "this machine's locks cannot be kept", "TMPDIR")
	_, _, err = wish{Dir: t.TempDir(), What: "a", GPUs: 3, IDs: []string{"0", "1"}}.lease(t.Context(), nil)
	mustContain(t, err, "deploy a needs 3 GPUs, and there are 2")
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "gpu-1.lock"), 0o755); err != nil {
		t.Fatal(err)
	}
	_, _, err = wish{Dir: dir, Host: 1, GPUs: 2, IDs: []string{"0", "1"}}.lease(t.Context(), nil)
	mustContain(t, err, "cannot open the lock", "gpu-1.lock")
	if err := os.Remove(filepath.Join(dir, "gpu-1.lock")); err != nil {
		t.Fatal(err)
	}
	nothingHeld(t, dir)
}
