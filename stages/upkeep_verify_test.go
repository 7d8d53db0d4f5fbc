package stages

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"vbp/pipeline/cache"
	"vbp/pipeline/history"
	"vbp/stages/runs"
	"vbp/stages/upkeep"
)

// storedFile is a file of the only artefact whose slot ends so.
func (p *pruneWorld) storedFile(slot, file string) string {
	p.t.Helper()
	listing, err := cache.At(filepath.Join(p.site.Results, runs.StoreDir)).List()
	if err != nil {
		p.t.Fatal(err)
	}
	var found []string
	for a := range listing.All() {
		if strings.HasSuffix(a.Slot, slot) {
			found = append(found, filepath.Join(a.Dir, file))
		}
	}
	if len(found) != 1 {
		p.t.Fatalf("%s: %q", slot, found)
	}
	return found[0]
}

// TestVerifyStore damages what is stored in every way and holds that each is
// told, with the file and the runs that show it, and that what is told to do
// helps.
func TestVerifyStore(t *testing.T) {
	p := newPruneWorld(t)
	first := p.applyOn(1, twoModes)
	second := p.applyOn(2, twoModes, "slo.tpot=15ms") // shares the measurements
	check := func() *upkeep.StoreCheck {
		t.Helper()
		before, last := snapshot(t, p.site.Results), 0
		c, err := upkeep.VerifyStore(t.Context(), p.site.Results, func(read, all int) {
			if read < last || read > all {
				t.Errorf("%d of %d are read after %d", read, all, last)
			}
			last = read
		})
		if err != nil {
			t.Fatal(err)
		}
		if last != c.Results {
			t.Errorf("%d results, told of %d", c.Results, last)
		}
		if snapshot(t, p.site.Results) != before {
			t.Error("a check has changed something")
		}
		return c
	}
	all := len(p.stored())
	c := check()
	if c.Results != all || len(c.Damaged) > 0 || c.Bytes == 0 || c.Store != filepath.Join(p.site.Results, runs.StoreDir) {
		t.Fatalf("%+v", c)
	}

	write := func(path, text string) {
		t.Helper()
		if err := errors.Join(os.Chmod(path, 0o644), os.WriteFile(path, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	samples := p.storedFile(": load mode=simple qps=1000 repeat=0", "samples.parquet")
	data := []byte(contentOf(t, samples))
	data[len(data)/2] ^= 4
	write(samples, string(data))
	cut := p.storedFile(": load mode=nixl qps=1000 repeat=0", "samples.parquet")
	write(cut, contentOf(t, cut)[:100])
	// Each run has a figure of its own; one loses a file, one its manifest.
	listing, err := cache.At(c.Store).List()
	if err != nil {
		t.Fatal(err)
	}
	var figures []string
	for a := range listing.All() {
		if strings.HasSuffix(a.Slot, ": plot vllm_comparison_plots") {
			figures = append(figures, a.Dir)
		}
	}
	if len(figures) != 2 {
		t.Fatalf("%q", figures)
	}
	if err := errors.Join(os.Remove(filepath.Join(figures[0], "vllm_comparison_plots.svg")), os.Remove(filepath.Join(figures[1], "manifest.json"))); err != nil {
		t.Fatal(err)
	}
	p.write("results/.store/objects/zz/file", "")

	c = check()
	if len(c.Damaged) != 6 || // those four, what was collected (the same files), and what is none
		c.Results != all {
		t.Fatalf("%d of %d: %+v", len(c.Damaged), c.Results, c)
	}
	of := func(path string) upkeep.Damage {
		i := slices.IndexFunc(c.Damaged, func(d upkeep.Damage) bool { return d.Path == path })
		if i < 0 {
			t.Fatalf("%s is not told of: %+v", path, c.Damaged)
		}
		return c.Damaged[i]
	}
	both := []string{first, second}
	if d := of(filepath.Dir(samples)); d.What != "samples.parquet has another checksum than when it was written" || d.Slot != "small: load mode=simple qps=1000 repeat=0" || !slices.Equal(d.Runs, both) {
		t.Errorf("%+v", d)
	}
	if d := of(filepath.Dir(cut)); !strings.HasPrefix(d.What, "samples.parquet has 100 bytes, not ") || !slices.Equal(d.Runs, both) {
		t.Errorf("%+v", d)
	}
	if d := of(figures[0]); d.What != "vllm_comparison_plots.svg is missing" || len(d.Runs) != 1 {
		t.Errorf("%+v", d)
	}
	if d := of(figures[1]); d.What != "manifest.json is missing" || !slices.Equal(d.Nodes, []string{"plot vllm_comparison_plots"}) || len(d.Runs) != 1 {
		t.Errorf("%+v", d)
	}
	if d := of(filepath.Join(c.Store, "objects", "zz")); d.What != "is no result of this store; nothing uses it" || d.Key != "" {
		t.Errorf("%+v", d)
	}
	for _, d := range c.Damaged {
		if err := os.RemoveAll(d.Path); err != nil {
			t.Fatal(err)
		}
	}
	if a := p.apply(twoModes); !a.New {
		t.Error("the apply takes the damaged run for whole")
	}
	p.apply(twoModes, "slo.tpot=15ms")
	if c := check(); len(c.Damaged) > 0 {
		t.Errorf("still damaged: %+v", c.Damaged)
	}

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := upkeep.VerifyStore(ctx, p.site.Results, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
	_, err = upkeep.VerifyStore(t.Context(), filepath.Join(p.dir, "nowhere"), nil)
	mustContain(t, err, "no results folder", "--results names another")
	p.write("bare/notes.txt", "")
	_, err = upkeep.VerifyStore(t.Context(), filepath.Join(p.dir, "bare"), nil)
	mustContain(t, err, "has no store (.store)", "--results names another")
}

// TestUseOfStore holds what is told of a store against a count of its own.
func TestUseOfStore(t *testing.T) {
	p := newPruneWorld(t)
	p.applyOn(1, oneMode, "workload.seed=1")
	gone := p.applyOn(2, oneMode, "workload.seed=2")
	u, err := upkeep.UseOfStore(t.Context(), p.site.Results)
	store := filepath.Join(p.site.Results, runs.StoreDir)
	if err != nil || u.Store != store || u.Results != 8 || u.Runs != 2 || u.Unused != 0 || u.Idle != 0 {
		t.Errorf("%+v, %v", u, err)
	}
	// What the runs take beside the store, they share with it.
	alone := diskUse(t, p.site.Results) - diskUse(t, store)
	runs := diskUse(t, filepath.Join(p.site.Results, "small"))
	if results := diskUse(t, p.site.Results); u.Bytes != diskUse(t, store) || u.Shared != runs-alone+blocks(t, p.site.Results) && results > 0 {
		t.Errorf("%d bytes, %d shared; the store has %d, the runs %d, of which %d alone", u.Bytes, u.Shared, diskUse(t, store), runs, alone)
	}
	if err := os.RemoveAll(gone); err != nil {
		t.Fatal(err)
	}
	before := diskUse(t, p.site.Results)
	if u, err = upkeep.UseOfStore(t.Context(), p.site.Results); err != nil || u.Unused != 4 || u.Runs != 1 {
		t.Errorf("%+v, %v", u, err)
	}
	p.now = p.now.AddDate(0, 1, 0)
	p.applyOn(30, oneMode, "workload.seed=3")
	p.write("results/small/mine/"+history.FileName, "{broken\n{}\n")
	if u, err := upkeep.UseOfStore(t.Context(), p.site.Results); err != nil || len(u.Unread) != 1 {
		t.Errorf("%+v, %v", u, err)
	}
	if u.Idle <= 0 || u.Idle > before {
		t.Errorf("%d bytes are idle", u.Idle)
	}
}

// blocks is what a folder takes without what is in it.
func blocks(t *testing.T, dir string) int64 {
	t.Helper()
	info, err := os.Lstat(dir)
	if err != nil {
		t.Fatal(err)
	}
	return int64(info.Sys().(*syscall.Stat_t).Blocks) * 512
}
