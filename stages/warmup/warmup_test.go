package warmup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"vbp/stages/load"
)

func options(n int) Options {
	return Options{Requests: n, API: load.Completions, Timeout: 10 * time.Second}
}

const answer = "data: {\"choices\":[{\"text\":\"a\",\"finish_reason\":\"length\"}]}\n\ndata: [DONE]\n\n"

func TestReachesEveryInstance(t *testing.T) {
	// A proxy that goes round three decode instances, and answers nobody
	// before three requests are there: they must come together.
	var turn atomic.Int64
	var mu sync.Mutex
	prompts := map[string]bool{}
	three := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body struct{ Prompt string }
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			t.Error(err)
		}
		mu.Lock()
		prompts[body.Prompt] = true
		mu.Unlock()
		n := turn.Add(1)
		if n == 3 {
			close(three)
		}
		<-three
		w.Header().Set("X-Vbp-Decode", fmt.Sprintf("decode-%d", n%3))
		io.WriteString(w, answer)
	}))
	defer server.Close()
	o := options(2)
	o.MinConcurrent = 3
	r, err := Run(t.Context(), load.Target{URL: server.URL, Model: "m"}, o)
	if err != nil {
		t.Fatal(err)
	}
	if r.Sent != 3 || r.Failed != 0 || !slices.Equal(r.Instances, []string{"decode-0", "decode-1", "decode-2"}) {
		t.Errorf("%+v", r)
	}
	if len(prompts) != 3 {
		t.Errorf("%d different prompts", len(prompts))
	}
	for p := range prompts {
		if !strings.HasPrefix(p, Prefix) {
			t.Errorf("prompt %q could be a measured one", p)
		}
	}
}

func TestFailuresAreReportedAndNoError(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, `{"error":{"message":"engine is dead"}}`, 500)
	}))
	defer server.Close()
	r, err := Run(t.Context(), load.Target{URL: server.URL, Model: "m"}, options(4))
	if err != nil {
		t.Fatal(err)
	}
	if r.Sent != 4 || r.Failed != 4 || !strings.Contains(r.String(), "4 failed: status 500: engine is dead") {
		t.Errorf("%+v: %s", r, r)
	}
}

func TestEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		cancel()
		<-r.Context().Done()
	}))
	defer server.Close()
	if _, err := Run(ctx, load.Target{URL: server.URL, Model: "m"}, options(2)); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

func TestNothingToDo(t *testing.T) {
	if r, err := Run(t.Context(), load.Target{}, options(0)); err != nil || r.Sent != 0 {
		t.Errorf("%+v, %v", r, err)
	}
	if _, err := Run(t.Context(), load.Target{URL: "nowhere"}, options(1)); err == nil || !strings.Contains(err.Error(), "warm-up: load: address") {
		t.Errorf("error %v", err)
	}
}

func TestPromptsDependOnTheSeed(t *testing.T) {
	if a, b := prompts(2, 1), prompts(2, 1); a[0].Text != b[0].Text {
		t.Error("one seed, two texts")
	}
	if a, b := prompts(2, 1), prompts(2, 2); a[0].Text[:len(Prefix)+8] == b[0].Text[:len(Prefix)+8] {
		t.Error("two seeds begin alike")
	}
}
