package stages

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// journalOf is a journal that begins on a day of March at an hour and ends an
// hour later in a state; "" is one that was killed.
func journalOf(day, hour int, state string) string {
	at := time.Date(2026, 3, day, hour, 0, 0, 0, time.Local)
	text := fmt.Sprintf(`{"at":%q,"kind":"run_begun"}`+"\n"+`{"at":%q,"kind":"node_begun","node":"collect"}`+"\n", at.Format(time.RFC3339), at.Add(time.Hour).Format(time.RFC3339))
	if state != "" {
		text += fmt.Sprintf(`{"at":%q,"kind":"run_done","text":%q}`+"\n", at.Add(time.Hour).Format(time.RFC3339), state)
	}
	return text
}

// TestPruneRules holds which runs go by which rules, and why others stay.
func TestPruneRules(t *testing.T) {
	p := newPruneWorld(t)
	for path, journal := range map[string]string{
		"a/20260301_100000":   journalOf(1, 10, RunComplete),
		"a/20260302_100000":   journalOf(2, 10, RunComplete),
		"a/20260303_100000":   journalOf(3, 10, RunPartial),
		"a/20260303_100000_2": journalOf(3, 11, RunInterrupted),
		"a/20260304_100000":   journalOf(4, 10, ""),
		"b/20260301_110000":   journalOf(1, 11, RunEmpty),
		"b/20260302_110000":   journalOf(2, 11, RunEmpty),
		"c/20260301_120000":   "", // not one record: as old as its name says
		"c/20260305_120000":   journalOf(5, 12, RunComplete) + `{"at":"2026-03-`,
		"c/pinned":            journalOf(1, 1, RunComplete),
		"c/old/20260101_1200": journalOf(1, 1, RunComplete),
	} {
		p.write("results/"+path+"/journal.jsonl", journal)
	}
	p.write("results/sharegpt/simple_20240101_000000/vllm-1.0qps-m-20260101-000000.json", scriptsFile("simple", 1))
	if err := os.Symlink(filepath.Join(p.site.Results, "c", "pinned"), filepath.Join(p.site.Results, "c", "20260301_130000")); err != nil {
		t.Fatal(err)
	}
	p.now = time.Date(2026, 3, 5, 14, 0, 0, 0, time.Local)
	day := 24 * time.Hour
	newest := func(x string) string { return "the newest run of " + x }
	for _, c := range []struct {
		rules PruneRules
		want  []string
		stay  []string // ends of a name, and words of why
	}{
		{PruneRules{OlderThan: 400 * day}, nil, nil},
		{
			PruneRules{OlderThan: 2*day + 2*time.Hour},
			[]string{"a/20260301_100000", "b/20260301_110000", "c/20260301_120000", "a/20260303_100000"},
			[]string{"a/20260302_100000 newest complete run of a", "b/20260302_110000 " + newest("b"), "c/pinned renamed", "20260101_1200 renamed", "c/20260301_130000 renamed"},
		},
		{
			PruneRules{Keep: 2},
			[]string{"a/20260301_100000", "a/20260303_100000"},
			[]string{"a/20260302_100000 newest complete run of a"},
		},
		{PruneRules{Keep: 1, All: true, Names: []string{"a"}}, []string{"a/20260301_100000", "a/20260302_100000", "a/20260303_100000", "a/20260303_100000_2"}, nil},
		{PruneRules{Keep: 5}, nil, nil},
		{
			PruneRules{Keep: 1, OlderThan: day, All: true, Names: []string{"b", "c"}},
			[]string{"b/20260301_110000", "c/20260301_120000", "b/20260302_110000"},
			[]string{"c/pinned renamed", "c/20260301_130000 renamed"},
		},
		{PruneRules{OlderThan: time.Hour, Names: []string{"b"}}, []string{"b/20260301_110000"}, []string{"b/20260302_110000 --all lets it go too"}},
	} {
		plan := p.plan(c.rules)
		if got := prunedNames(plan); !slices.Equal(got, c.want) {
			t.Errorf("%+v: remove %q\nwant %q", c.rules, got, c.want)
		}
		var stay []string
		for _, s := range plan.Stay {
			stay = append(stay, s.Name+" "+s.Why)
		}
		for _, want := range c.stay {
			name, why, _ := strings.Cut(want, " ")
			if !slices.ContainsFunc(stay, func(s string) bool {
				got, reason, _ := strings.Cut(s, " ")
				return strings.HasSuffix(got, name) && strings.Contains(reason, why)
			}) {
				t.Errorf("%+v: stays %q\nwant %q", c.rules, stay, want)
			}
		}
		if len(stay) != len(c.stay) {
			t.Errorf("%+v: stays %q\nwant %q", c.rules, stay, c.stay)
		}
	}
}

// TestPruneAsked holds what is said of names and folders that are wrong.
func TestPruneAsked(t *testing.T) {
	p := newPruneWorld(t)
	p.write("results/a/20260301_100000/journal.jsonl", journalOf(1, 10, RunComplete))
	p.write("empty/notes.txt", "")
	for _, c := range []struct {
		results string
		names   []string
		words   []string
	}{
		{"nowhere", nil, []string{"no results folder", "--results names another"}},
		{"results", []string{"b"}, []string{"has no runs of b; there is: a"}},
		{"empty", []string{"b"}, []string{"none at all", "--results"}},
		{"results", []string{"a/20260301_100000"}, []string{"prune takes NAMEs, as in a,", "delete its folder"}},
		{"results/a", nil, []string{"vbp prune a --results " + p.site.Results}},
	} {
		_, err := PlanPrune(t.Context(), filepath.Join(p.dir, c.results), PruneRules{Names: c.names, Keep: 1}, p.now)
		mustContain(t, err, c.words...)
	}
	// A journal that cannot be read hides what its run refers to.
	p.applyOn(5, changed(t, oneMode, "name: small", "name: a"), "workload.seed=1")
	p.applyOn(6, changed(t, oneMode, "name: small", "name: a"), "workload.seed=2")
	p.write("results/mine/run/journal.jsonl", journalOf(1, 1, RunComplete)+"{broken\n{}\n")
	before := snapshot(t, p.site.Results)
	_, err := PlanPrune(t.Context(), p.site.Results, PruneRules{Keep: 1}, p.now)
	mustContain(t, err, "nothing is removed", "mine/run", ":4: not a journal record", "move that folder out")
	if snapshot(t, p.site.Results) != before {
		t.Error("something has changed")
	}
	// If it goes itself, that hinders nobody.
	if err := os.Rename(filepath.Join(p.site.Results, "mine/run"), filepath.Join(p.site.Results, "mine/20260301_010000")); err != nil {
		t.Fatal(err)
	}
	if plan := p.plan(PruneRules{OlderThan: time.Hour, All: true, Names: []string{"mine"}}); len(plan.Runs) != 1 {
		t.Errorf("%+v", plan)
	}
	// A folder that its owner may not look into is not taken for an empty one.
	if os.Getuid() != 0 {
		if err := os.Chmod(filepath.Join(p.site.Results, "mine"), 0); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = os.Chmod(filepath.Join(p.site.Results, "mine"), 0o755) }()
		_, err = PlanPrune(t.Context(), p.site.Results, PruneRules{Keep: 1}, p.now)
		mustContain(t, err, "permission denied")
	}
}

func TestAgeText(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0 seconds", 119 * time.Second: "119 seconds", 2 * time.Minute: "2 minutes", 119 * time.Minute: "119 minutes",
		2 * time.Hour: "2 hours", 47 * time.Hour: "47 hours", 48 * time.Hour: "2 days", 1000 * time.Hour: "41 days",
	} {
		if got := ageText(d); got != want {
			t.Errorf("%v is %q, not %q", d, got, want)
		}
	}
}
