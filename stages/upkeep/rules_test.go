package upkeep

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"vbp/pipeline/history"
	"vbp/stages/runs"
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

// write makes a file, and its folder.
func write(t *testing.T, text string, path ...string) {
	t.Helper()
	file := filepath.Join(path...)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestPruneRules holds which runs go by which rules, and why others stay.
func TestPruneRules(t *testing.T) {
	results := t.TempDir()
	for path, journal := range map[string]string{
		"a/20260301_100000":   journalOf(1, 10, runs.Complete),
		"a/20260302_100000":   journalOf(2, 10, runs.Complete),
		"a/20260303_100000":   journalOf(3, 10, runs.Partial),
		"a/20260303_100000_2": journalOf(3, 11, runs.Interrupted),
		"a/20260304_100000":   journalOf(4, 10, ""),
		"b/20260301_110000":   journalOf(1, 11, runs.Empty),
		"b/20260302_110000":   journalOf(2, 11, runs.Empty),
		"c/20260301_120000":   "", // not one record: as old as its name says
		"c/20260305_120000":   journalOf(5, 12, runs.Complete) + `{"at":"2026-03-`,
		"c/pinned":            journalOf(1, 1, runs.Complete),
		"c/old/20260101_1200": journalOf(1, 1, runs.Complete),
	} {
		write(t, journal, results, path, history.FileName)
	}
	write(t, "{}", results, "sharegpt/simple_20240101_000000/vllm-1.0qps-m-20260101-000000.json")
	if err := os.Symlink(filepath.Join(results, "c", "pinned"), filepath.Join(results, "c", "20260301_130000")); err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 3, 5, 14, 0, 0, 0, time.Local)
	day := 24 * time.Hour
	newest := func(x string) string { return "the newest run of " + x }
	for _, c := range []struct {
		rules Rules
		want  []string
		stay  []string // ends of a name, and words of why
	}{
		{Rules{OlderThan: 400 * day}, nil, nil},
		{
			Rules{OlderThan: 2*day + 2*time.Hour},
			[]string{"a/20260301_100000", "b/20260301_110000", "c/20260301_120000", "a/20260303_100000"},
			[]string{"a/20260302_100000 newest complete run of a", "b/20260302_110000 " + newest("b"), "c/pinned renamed", "20260101_1200 renamed", "c/20260301_130000 renamed"},
		},
		{
			Rules{Keep: 2},
			[]string{"a/20260301_100000", "a/20260303_100000"},
			[]string{"a/20260302_100000 newest complete run of a"},
		},
		{Rules{Keep: 1, All: true, Names: []string{"a"}}, []string{"a/20260301_100000", "a/20260302_100000", "a/20260303_100000", "a/20260303_100000_2"}, nil},
		{Rules{Keep: 5}, nil, nil},
		{
			Rules{Keep: 1, OlderThan: day, All: true, Names: []string{"b", "c"}},
			[]string{"b/20260301_110000", "c/20260301_120000", "b/20260302_110000"},
			[]string{"c/pinned renamed", "c/20260301_130000 renamed"},
		},
		{Rules{OlderThan: time.Hour, Names: []string{"b"}}, []string{"b/20260301_110000"}, []string{"b/20260302_110000 --all lets it go too"}},
	} {
		plan, err := PlanPrune(t.Context(), results, c.rules, now)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, r := range plan.Runs {
			got = append(got, r.Name)
		}
		if !slices.Equal(got, c.want) {
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
	dir := t.TempDir()
	write(t, journalOf(1, 10, runs.Complete), dir, "results/a/20260301_100000", history.FileName)
	write(t, "", dir, "empty/notes.txt")
	for _, c := range []struct {
		results string
		names   []string
		words   []string
	}{
		{"nowhere", nil, []string{"no results folder", "--results names another"}},
		{"results", []string{"b"}, []string{"has no runs of b; there is: a"}},
		{"empty", []string{"b"}, []string{"none at all", "--results"}},
		{"results", []string{"a/20260301_100000"}, []string{"prune takes NAMEs, as in a,", "delete its folder"}},
		{"results/a", nil, []string{"vbp prune a --results " + filepath.Join(dir, "results")}},
	} {
		_, err := PlanPrune(t.Context(), filepath.Join(dir, c.results), Rules{Names: c.names, Keep: 1}, time.Now())
		if err == nil {
			t.Errorf("%q of %s: no error", c.names, c.results)
			continue
		}
		for _, w := range c.words {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("the error %q does not say %q", err, w)
			}
		}
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
