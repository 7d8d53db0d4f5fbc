package pipeline

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"vbp/pipeline/cache"
)

// sweep is a graph of n points on one deployment, all of them collected, with
// an analysis and a figure. Loads write a small file, or nothing.
func sweep(tb testing.TB, n int, write bool) *Graph {
	tb.Helper()
	g := &Graph{Scope: "sweep"}
	add := func(node *Node, input any) {
		in, err := NewInput(input)
		if err != nil {
			tb.Fatal(err)
		}
		node.Input = in
		if err := g.Add(node); err != nil {
			tb.Fatal(err)
		}
	}
	work := func(_ context.Context, _ Input, rt *Runtime) error {
		if !write || rt.Dir == "" {
			return nil
		}
		return os.WriteFile(filepath.Join(rt.Dir, "out"), []byte("result"), 0o644)
	}
	none := stub{func() map[string]string { return nil }, func(context.Context) error { return nil }}
	add(&Node{ID: "deploy", Kind: Service, Start: func(context.Context, Input, *Runtime) (Handle, error) { return none, nil }}, 1)
	add(&Node{ID: "warmup", Kind: Effect, Needs: []string{"deploy"}, Work: work}, 1)
	loads := make([]string, n)
	for i := range n {
		loads[i] = fmt.Sprintf("load mode=simple qps=%d repeat=0", i)
		add(
			&Node{ID: loads[i], Stage: "load", Kind: Measurement, Needs: []string{"warmup"}, Work: work, Uses: map[string]int{"load": 1}},
			map[string]any{
				"deployment": map[string]any{"engine": "vllm", "args": []map[string]any{{"name": "max-model-len", "value": "4096"}}},
				"qps":        i, "repeat": 0, "seed": 0, "dataset_digest": "0123456789abcdef0123456789abcdef", "host": "host",
			},
		)
	}
	add(&Node{ID: "collect", Stage: "collect", Kind: Pure, Needs: loads, Tolerant: true, Work: work}, 1)
	add(&Node{ID: "analyze", Stage: "analyze", Kind: Pure, Needs: []string{"collect"}, Work: work}, 1)
	add(&Node{ID: "plot", Stage: "plot", Kind: Pure, Needs: []string{"analyze"}, Work: work}, 1)
	return g
}

func benchStore(b *testing.B) *cache.Store {
	b.Helper()
	s, err := cache.Open(filepath.Join(tempDir(b), "store"))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = s.Close() })
	return s
}

func perNode(b *testing.B, nodes int) {
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(nodes), "ns/node")
}

func BenchmarkBuildGraph(b *testing.B) {
	for _, n := range []int{1_000, 10_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				sweep(b, n, false)
			}
			perNode(b, n)
		})
	}
}

// The store is empty: everything is to run.
func BenchmarkPlanCold(b *testing.B) {
	for _, n := range []int{1_000, 10_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			g, s := sweep(b, n, false), benchStore(b)
			b.ReportAllocs()
			for b.Loop() {
				if p, err := Make(g, s, PlanOptions{Now: time.Now()}); err != nil || p.Todo() != n+3 {
					b.Fatal(err)
				}
			}
			perNode(b, n)
		})
	}
}

// Everything is in the store: one manifest and one stat a point.
func BenchmarkPlanWarm(b *testing.B) {
	for _, n := range []int{1_000, 10_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			g, s := sweep(b, n, true), benchStore(b)
			p, err := Make(g, s, PlanOptions{Now: time.Now()})
			if err != nil {
				b.Fatal(err)
			}
			if _, err := Execute(b.Context(), p, ExecuteOptions{Store: s}); err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if p, err := Make(g, s, PlanOptions{Now: time.Now()}); err != nil || p.Todo() != 0 {
					b.Fatal(err)
				}
			}
			perNode(b, n)
		})
	}
}

// What the executor itself costs: effects on one service, which leave nothing.
func BenchmarkExecuteEffects(b *testing.B) {
	for _, n := range []int{1_000, 10_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			g, s := &Graph{}, benchStore(b)
			none := stub{func() map[string]string { return nil }, func(context.Context) error { return nil }}
			must := func(err error) {
				if err != nil {
					b.Fatal(err)
				}
			}
			in, err := NewInput(1)
			must(err)
			must(g.Add(&Node{ID: "deploy", Kind: Service, Input: in, Start: func(context.Context, Input, *Runtime) (Handle, error) { return none, nil }}))
			ids := make([]string, n)
			for i := range n {
				ids[i] = fmt.Sprint("effect ", i)
				must(g.Add(&Node{
					ID: ids[i], Kind: Effect, Input: in, Needs: []string{"deploy"}, Uses: map[string]int{"load": 1},
					Work: func(context.Context, Input, *Runtime) error { return nil },
				}))
			}
			must(g.Add(&Node{ID: "load", Kind: Measurement, Input: in, Needs: ids, Work: func(context.Context, Input, *Runtime) error { return errors.New("nothing is kept") }}))
			p, err := Make(g, s, PlanOptions{Now: time.Now()})
			must(err)
			for b.Loop() {
				if _, err := Execute(b.Context(), p, ExecuteOptions{Store: s}); err != nil {
					b.Fatal(err)
				}
			}
			perNode(b, n)
		})
	}
}

// With publishing: draft, checksums, manifest, renames and syncs (to memory,
// where the machine has a folder in memory).
func BenchmarkExecuteLoads(b *testing.B) {
	const n = 1000
	for b.Loop() {
		b.StopTimer()
		g, s := sweep(b, n, true), benchStore(b)
		p, err := Make(g, s, PlanOptions{Now: time.Now()})
		if err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		if _, err := Execute(b.Context(), p, ExecuteOptions{Store: s}); err != nil {
			b.Fatal(err)
		}
	}
	perNode(b, n)
}
