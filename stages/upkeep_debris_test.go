package stages

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"vbp/pipeline/history"
	"vbp/stages/runs"
	"vbp/stages/upkeep"
)

// TestPruneDebris holds what is taken for left behind, and when.
func TestPruneDebris(t *testing.T) {
	p := newPruneWorld(t)
	run := p.applyOn(1, oneMode)
	p.now = p.now.AddDate(0, 0, 10)
	old, young := p.now.Add(-25*time.Hour), p.now.Add(-23*time.Hour)
	put := func(path, text string) {
		if strings.HasSuffix(path, "/") {
			if err := os.MkdirAll(filepath.Join(p.site.Results, path), 0o755); err != nil {
				t.Fatal(err)
			}
			return
		}
		p.write("results/"+path, text)
	}
	for path, text := range map[string]string{
		"small/.import-1/journal.jsonl":                     "{}\n",
		"small/.import-1/samples/a.parquet":                 "data",
		"small/.import-2/journal.jsonl":                     "{}\n", // something was written lately
		"small/.import-3/":                                  "",     // young
		"small/20260302_120000/":                            "",
		"small/20260302_120001/spec.yaml":                   "name: small",
		"small/20260302_120002/.spec.yaml-12345":            "na",
		"small/20260302_120003/logs/server.log":             "it holds something",
		"small/20260302_120004/":                            "", // young
		"small/mine/":                                       "", // not ours
		"small/.pruned-20260201_120000/pruned.jsonl":        "",
		"small/.pruned-20260201_120001/" + history.FileName: "",
		"small/.hidden/a":                                   "",
		"empty/":                                            "",
	} {
		put(path, text)
	}
	for _, e := range []string{".import-1", ".import-2", "20260302_120000", "20260302_120001", "20260302_120002", "20260302_120003", "mine"} {
		dir := filepath.Join(p.site.Results, "small", e)
		if _, err := os.Stat(filepath.Join(dir, history.FileName)); err == nil && e == ".import-1" {
			if err := os.Chtimes(filepath.Join(dir, history.FileName), old, old); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Chtimes(dir, old, old); err != nil {
			t.Fatal(err)
		}
	}
	for _, e := range []string{".import-2/" + history.FileName, ".import-3", "20260302_120004"} {
		if err := os.Chtimes(filepath.Join(p.site.Results, "small", e), young, young); err != nil {
			t.Fatal(err)
		}
	}
	// A process was killed while it made a result, another while it deleted one.
	dead := pruneChild(t, "apply", filepath.Join(p.site.Results, runs.StoreDir), "small", strings.Repeat("0", 64))
	if out, err := dead.Output(); err != nil || string(out) != "holds\n" {
		t.Fatalf("%s, %v", out, err)
	}
	put(runs.StoreDir+"/trash/1/file", "data")

	rules := upkeep.Rules{OlderThan: 300 * 24 * time.Hour}
	plan := p.plan(rules)
	var got []string
	for _, d := range plan.Debris {
		rel, err := filepath.Rel(p.site.Results, d.Path)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(rel, ".store/tmp/") {
			rel = ".store/tmp/"
		}
		got = append(got, rel)
	}
	want := []string{
		"small/.import-1", "small/.pruned-20260201_120000", "small/.pruned-20260201_120001",
		"small/20260302_120000", "small/20260302_120001", "small/20260302_120002", ".store/tmp/", ".store/trash/1",
	}
	if !slices.Equal(got, want) || len(plan.Runs) > 0 {
		t.Errorf("left behind: %q\nwant %q", got, want)
	}
	// Names limit what is looked at, but for the store, which is of all.
	now := p.now
	p.applyOn(12, changed(t, oneMode, "name: small", "name: other"))
	if plan := p.plan(upkeep.Rules{OlderThan: 300 * 24 * time.Hour, Names: []string{"other"}}); len(plan.Debris) > 2 {
		t.Errorf("%+v", plan.Debris)
	}
	p.now = now
	size := diskUse(t, p.site.Results)
	done := p.prune(rules)
	if freed := size - diskUse(t, p.site.Results); done.Bytes != freed {
		t.Errorf("%d bytes are free, told %d", freed, done.Bytes)
	}
	for _, path := range want[:6] {
		if isThere(filepath.Join(p.site.Results, path)) {
			t.Errorf("%s is there", path)
		}
	}
	for _, path := range []string{".import-2", ".import-3", "20260302_120003", "20260302_120004", "mine", ".hidden", filepath.Base(run)} {
		if !isThere(filepath.Join(p.site.Results, "small", path)) {
			t.Errorf("%s is gone", path)
		}
	}
	p.isWhole(run)
	if again := p.plan(rules); !again.Empty() {
		t.Errorf("still left: %+v", again)
	}
}
