//go:build linux

package local

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"vbp/stages/deploy"
	"vbp/stages/deploy/probe"
)

func TestDeathInMidLife(t *testing.T) {
	r := start(t, single(arg("daemon", t.TempDir()), arg("no-reset", true)), options(t))
	if all, err := r.ResetCaches(t.Context()); all || err != nil {
		t.Errorf("reset of a server that cannot: %v, %v", all, err)
	}
	select {
	case <-r.Died():
		t.Fatal(r.Err())
	default:
	}
	get(t, "POST", r.Endpoint().URL+"/die")
	<-r.Died()
	contains(t, r.Err().Error(), "server died (exit status 7)\n", "engine --model m", "| engine: dying as asked")
	if err := r.Check(t.Context()); err != r.Err() {
		t.Errorf("Check: %v", err)
	}
	eventually(t, "the guardian kills what is left", func() bool { return len(players()) == 0 })
}

// Engines whose caches are in use are waited for side by side; only the clock
// is not the real one.
func TestResetCachesInUse(t *testing.T) {
	free := map[string]time.Duration{
		"1": 0, "2": 20 * time.Second, "4": time.Hour,
		"3": 30 * time.Second, // when a lease of vLLM's ends
	}
	engine := func(port int, role deploy.Role) *process {
		return &process{Process: deploy.Process{Name: string(role) + "-" + strconv.Itoa(port), Role: role, Port: port}}
	}
	for _, c := range []struct {
		processes []*process
		all       bool
		took      time.Duration
		says      string
	}{
		{[]*process{engine(1, deploy.Prefill), engine(2, deploy.Decode), engine(3, deploy.Decode), engine(9, deploy.Proxy)}, true, 30 * time.Second, ""},
		{[]*process{engine(4, deploy.Prefill), engine(4, deploy.Prefill), engine(3, deploy.Decode)}, false, probe.ResetLimit, "prefill-4: reset its prefix cache: the prefix cache is in use"},
		{[]*process{engine(5, deploy.Server), engine(2, deploy.Server)}, false, 20 * time.Second, ""}, // 5 cannot
	} {
		synctest.Test(t, func(t *testing.T) {
			begun := time.Now()
			var mu sync.Mutex
			reset := map[string]int{}
			r := &running{processes: c.processes, timeout: time.Second, http: &http.Client{Transport: transport(func(q *http.Request) *http.Response {
				mu.Lock()
				defer mu.Unlock()
				answer := &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Request: q}
				body := `{"success":false}`
				switch at, can := free[q.URL.Port()]; {
				case !can:
					answer.StatusCode = http.StatusNotFound
				case time.Since(begun) >= at:
					reset[q.URL.Port()]++
					body = `{"success":true}`
				}
				answer.Body = io.NopCloser(strings.NewReader(body))
				return answer
			})}}
			all, err := r.ResetCaches(t.Context())
			if took := time.Since(begun); all != c.all || took != c.took || (err != nil) != (c.says != "") {
				t.Errorf("%v after %v, error %v", all, took, err)
			}
			if c.says != "" && (!errors.Is(err, probe.ErrCacheInUse) || !strings.Contains(err.Error(), c.says)) {
				t.Errorf("error %q", err)
			}
			for port, n := range reset {
				if n != 1 {
					t.Errorf("the cache at port %s was emptied %d times", port, n)
				}
			}
		})
	}
}

// transport answers without a network.
type transport func(*http.Request) *http.Response

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r), nil }

func TestCheckOfHungServer(t *testing.T) {
	r := start(t, single(), options(t))
	pid := r.Endpoint().Instances[0].PID
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the server is stopped", func() bool {
		stat, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
		return strings.Contains(string(stat), ") T ")
	})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.Check(ctx); err != context.Canceled {
		t.Errorf("Check with a cancelled context: %v", err)
	}
	r.timeout = 100 * time.Millisecond
	err := r.Check(t.Context())
	if err == nil {
		t.Fatal("no error")
	}
	contains(t, err.Error(), "lives but does not answer /health")
	// Stop, by Cleanup, has to kill it: a stopped process hears no SIGTERM.
	r.grace = 100 * time.Millisecond
}

func TestStopManyTimes(t *testing.T) {
	o := options(t)
	r := start(t, single(arg("deaf", true), arg("daemon", t.TempDir())), o)
	r.grace = 100 * time.Millisecond
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			if err := r.Stop(context.Background()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	nothingLeft(t, o.StateDir)
	select {
	case <-r.Died():
		t.Errorf("a stop counts as a death: %v", r.Err())
	default:
	}
	if r.Check(t.Context()) == nil {
		t.Error("a stopped deployment passes its check")
	}
}

// A cancelled context makes haste; the server is deaf and has a long grace.
func TestStopInHaste(t *testing.T) {
	o := options(t)
	r := start(t, single(arg("deaf", true)), o)
	r.grace = time.Hour
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := r.Stop(ctx); err != nil {
		t.Error(err)
	}
	nothingLeft(t, o.StateDir)
}

func TestNothingLeaks(t *testing.T) {
	once := func() {
		o := options(t)
		r, err := New(os.Args[0]).Start(t.Context(), single(), o)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	}
	count := func() (goroutines, fds int) {
		names, err := readNames("/proc/" + strconv.Itoa(os.Getpid()) + "/fd")
		if err != nil {
			t.Fatal(err)
		}
		return runtime.NumGoroutine(), len(names)
	}
	once() // what the runtime keeps for ever is there now
	var g0, f0 int
	eventually(t, "idle", func() bool { g0, f0 = count(); return g0 < 10 })
	for range 3 {
		once()
	}
	eventually(t, "goroutines and file descriptors as before", func() bool {
		g, f := count()
		return g <= g0 && f <= f0
	})
}
