package stages

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"vbp/stages/runs"
)

// affectedBy asks what a change of the file at path reaches in a spec.
func (w *world) affectedBy(path, spec string) *Affected {
	w.t.Helper()
	c, err := NewChanged(path)
	if err != nil {
		w.t.Fatal(err)
	}
	a, err := AffectedIn(c, w.parse(spec), w.site)
	if err != nil {
		w.t.Fatal(err)
	}
	return a
}

// direct lists the nodes that are affected themselves, and by what, those of a
// whole group by its name (see inShort).
func (w *world) direct(a *Affected, spec string) []string {
	w.t.Helper()
	by := make(map[string][]string)
	var order []string
	for _, d := range a.Direct {
		how := d.Component + ": " + d.How
		if by[how] == nil {
			order = append(order, how)
		}
		by[how] = append(by[how], d.Node)
	}
	var out []string
	for _, how := range order {
		for _, group := range inShort(by[how], w.build(spec)) {
			out = append(out, group+" by "+how)
		}
	}
	return out
}

// TestAffectedIn asks of each sort of file what its change reaches. The want of
// the nodes is what TestKeys finds by changing the file.
func TestAffectedIn(t *testing.T) {
	w := keysWorld(t)
	data, script := filepath.Join(w.dir, "prompts.jsonl"), filepath.Join(w.dir, "sum.sh")
	copied := w.write("elsewhere/copy.jsonl", contentOf(t, data))
	scriptCopy := w.write("elsewhere/copy.sh", contentOf(t, script))
	link := filepath.Join(w.dir, "link.jsonl")
	if err := os.Symlink(data, link); err != nil {
		t.Fatal(err)
	}
	other := w.write("other.jsonl", "{}")
	for name, c := range map[string]struct {
		file   string
		direct []string
		follow string
		note   string
	}{
		"data set":      {data, []string{"every load by workload.dataset_digest: this file is read"}, "collect analyze plot strict strictplot summary", ""},
		"by a link":     {link, []string{"every load by workload.dataset_digest: this file is read"}, "collect analyze plot strict strictplot summary", ""},
		"copy of it":    {copied, []string{"every load by workload.dataset_digest: a file of the same content is read: " + data}, "collect analyze plot strict strictplot summary", ""},
		"a step's file": {script, []string{"summary by inputs.sum.sh.sha256: this file is read"}, "", ""},
		"copy of that":  {scriptCopy, []string{"summary by inputs.sum.sh.sha256: a file of the same content is read: " + script}, "", ""},
		"vbp itself": {
			w.site.Self, []string{
				"analyze by code: it is this vbp", "collect by code: it is this vbp", "every plot by code: it is this vbp",
				"every strictplot by code: it is this vbp", "strict by code: it is this vbp",
			}, "summary", "of the load generator and of the simulated engine",
		},
		"something else": {other, nil, "", ""},
	} {
		a := w.affectedBy(c.file, keysSpec)
		if got := w.direct(a, keysSpec); !slices.Equal(got, c.direct) {
			t.Errorf("%s: affected %q\nwant %q", name, got, c.direct)
		}
		var follow []string
		for _, s := range a.Follow {
			follow = append(follow, s.Stage)
		}
		if !sameWords(follow, c.follow) {
			t.Errorf("%s: then %q, want %s", name, follow, c.follow)
		}
		if a.Any || (c.note == "") != (len(a.Notes) == 0) || c.note != "" && !strings.Contains(a.Notes[0], c.note) {
			t.Errorf("%s: any %v, notes %q", name, a.Any, a.Notes)
		}
		// Every result is in one place.
		n := len(a.Direct)
		for _, s := range slices.Concat(a.Follow, a.Unchanged) {
			n += len(s.Nodes)
		}
		results := 0
		for _, node := range w.build(keysSpec).Nodes {
			if !leavesNothing(node.ID) {
				results++
			}
		}
		if n != results {
			t.Errorf("%s: %d results are told, of %d", name, n, results)
		}
	}
	a := w.affectedBy(data, keysSpec)
	if len(a.Started) != 2 || a.Started[0].Stage != "deploy" || len(a.Started[0].Nodes) != 3 || a.Started[1].Stage != "warmup" || len(a.Started[1].Nodes) != 3 {
		t.Errorf("started %+v", a.Started)
	}
	spec := w.write("spec.yaml", keysSpec)
	if a := w.affectedBy(spec, keysSpec); !a.Any || len(a.Direct) != 0 {
		t.Errorf("the spec itself: %+v", a)
	}
}

// sameWords reports whether list has exactly the words of text.
func sameWords(list []string, text string) bool {
	want := strings.Fields(text)
	slices.Sort(want)
	return slices.Equal(slices.Sorted(slices.Values(list)), want)
}

// TestAffectedPrograms asks of programs that deployments run, and of files that
// they are only told of.
func TestAffectedPrograms(t *testing.T) {
	w := newWorld(t)
	bin := filepath.Join(w.dir, "bin")
	t.Setenv("PATH", bin+string(os.PathListSeparator)+os.Getenv("PATH"))
	executable := func(name string) string {
		path := w.write(name, "#!/bin/sh\nexit 1\n# "+name+"\n")
		if err := os.Chmod(path, 0o755); err != nil {
			t.Fatal(err)
		}
		return path
	}
	program, server := executable("bin/vllm"), executable("bin/my-server")
	template, model := w.write("files/chat.jinja", "{{ x }}"), w.write("model/config.json", "{}")
	undeclared := w.write("files/tool.py", "print()")
	spec := changed(t, oneMode, "modes: {simple: {engine: simulated}}", `gpus: none
modes:
  real: {engine: vllm, args: {chat-template: `+template+`}}
  mine: {engine: command, run: "exec my-server --port {port}"}`, "model: Qwen/Qwen3-8B", "model: "+filepath.Dir(model),
		"plot: {", "own: {uses: command, needs: [analyze], run: python3 "+undeclared+", outputs: []}, plot: {")
	for name, c := range map[string]struct {
		file, direct, note string
	}{
		"vllm":         {program, "load mode=real qps=1000 repeat=0 by programs: it is run as " + program, ""},
		"own server":   {server, "load mode=mine qps=1000 repeat=0 by programs: it is run as " + server, ""},
		"its template": {template, "", "mode=real names it (deployment.server.args.chat-template), and keys hold its path alone"},
		"the model":    {model, "", "mode=mine names it (deployment.model)"},
		"a tool":       {undeclared, "", "stages.own.inputs"},
	} {
		a := w.affectedBy(c.file, spec)
		if got := strings.Join(w.direct(a, spec), " "); got != c.direct {
			t.Errorf("%s: affected %q, want %q", name, got, c.direct)
		}
		if got := strings.Join(a.Notes, "\n"); (got == "") != (c.note == "") || !strings.Contains(got, c.note) {
			t.Errorf("%s: notes %q, want %q", name, got, c.note)
		}
	}
	// Where the package beside the program tells its version, that is what
	// keys hold.
	if err := os.MkdirAll(filepath.Join(w.dir, "lib/python3.12/site-packages/vllm-0.27.0.dist-info"), 0o755); err != nil {
		t.Fatal(err)
	}
	a := w.affectedBy(program, spec)
	if len(a.Direct) != 1 || !strings.Contains(a.Direct[0].How, "known by its version (vllm 0.27.0)") {
		t.Errorf("%+v", a.Direct)
	}
}

// TestAffectedRuns asks without a spec: the newest run of each name tells,
// though its files are gone.
func TestAffectedRuns(t *testing.T) {
	w := newWorld(t)
	data := w.write("prompts.jsonl", `{"prompt": "Name three rivers.", "output_tokens": 2}`)
	script := w.write("step.sh", "echo a > a.md\n")
	spec := changed(t, oneMode, "dataset: {kind: random, input_tokens: 8, output_tokens: 3, range_ratio: 0}", "dataset: {kind: jsonl, path: prompts.jsonl}",
		"plot: {", "own: {uses: command, needs: [analyze], run: sh step.sh, inputs: [step.sh], outputs: [a.md]}, plot: {")
	o := ApplyOptions{Notice: func(string) {}}
	if _, err := w.applyWith(t.Context(), o, spec); err != nil {
		t.Fatal(err)
	}
	newest, err := w.applyWith(t.Context(), o, spec, "slo.tpot=1ms")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.applyWith(t.Context(), o, strings.Replace(oneMode, "name: small", "name: other", 1)); err != nil {
		t.Fatal(err)
	}
	w.mustImport(asking(w.scriptsFolder("old/sharegpt/simple_20260101_000000", "simple")))
	ask := func(path string) map[string]*Affected {
		t.Helper()
		c, err := NewChanged(path)
		if err != nil {
			t.Fatal(err)
		}
		all, err := AffectedRuns(c, w.site)
		if err != nil {
			t.Fatal(err)
		}
		out := make(map[string]*Affected)
		for _, a := range all {
			out[a.Name] = a
		}
		if len(all) != 3 || out["small"] == nil || out["small"].Run != newest.RunDir || out["other"] == nil || len(out["other"].Direct) != 0 {
			t.Fatalf("of %d runs: %+v", len(all), out)
		}
		return out
	}
	how := func(a *Affected) string {
		var parts []string
		for _, d := range a.Direct {
			parts = append(parts, d.Node+": "+d.How)
		}
		return strings.Join(parts, "; ")
	}
	if got := how(ask(data)["small"]); got != "load mode=simple qps=1000 repeat=0: this file is read" {
		t.Errorf("of the data set: %s", got)
	}
	moved, movedScript := filepath.Join(w.dir, "moved.jsonl"), filepath.Join(w.dir, "moved.sh")
	if err := os.Rename(data, moved); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(script, movedScript); err != nil {
		t.Fatal(err)
	}
	a := ask(moved)["small"]
	if got := how(a); got != "load mode=simple qps=1000 repeat=0: its content is what was read from "+data {
		t.Errorf("of the data set that was moved: %s", got)
	}
	if len(a.Notes) != 1 || !strings.Contains(a.Notes[0], "cannot be planned any more") {
		t.Errorf("notes %q", a.Notes)
	}
	if got := how(ask(movedScript)["small"]); got != "own: a file of the same content is read: step.sh" {
		t.Errorf("of the step's file that was moved: %s", got)
	}
	imported := filepath.Join(w.dir, "old/sharegpt/simple_20260101_000000/vllm-1.0qps-m-20260101-000000.json")
	if n := ask(imported)["sharegpt"].Notes; len(n) != 1 || !strings.Contains(n[0], "was imported from it") {
		t.Errorf("of an imported file: %q", n)
	}
	result := filepath.Join(newest.RunDir, analysisFile)
	if n := strings.Join(ask(result)["small"].Notes, "\n"); !strings.Contains(n, "it is part of a run") || !strings.Contains(n, "vbp why "+newest.RunDir) {
		t.Errorf("of a result: %q", n)
	}
	if a := ask(w.write("again.yaml", spec))["small"]; !a.Any { // it has the name
		t.Errorf("of the spec: %+v", a)
	}
	if a := ask(filepath.Join(newest.RunDir, runs.SpecFile))["small"]; a.Any {
		t.Errorf("of the spec in the run's folder: %+v", a)
	}
}

// TestAffectedByNothing holds what cannot be asked about.
func TestAffectedByNothing(t *testing.T) {
	w := newWorld(t)
	for path, say := range map[string][]string{
		filepath.Join(w.dir, "gone"): {"gone: there is no such file", "paths are taken from here"},
		w.dir:                        {"it is a folder", "name a file in it"},
		os.DevNull:                   {"it is no regular file"},
	} {
		_, err := NewChanged(path)
		mustContain(t, err, say...)
	}
	c, err := NewChanged(w.write("a", "a"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = AffectedRuns(c, w.site)
	mustContain(t, err, "no results folder", "name the specs", "--results")
	w.write("results/empty/file", "")
	_, err = AffectedRuns(c, w.site)
	mustContain(t, err, "there are no runs in", "name the specs")
	_, err = AffectedIn(c, w.parse(changed(t, oneMode, "sent == 4", "snet == 4")), w.site)
	mustContain(t, err, "spec.yaml", "no point has a fact snet")
}
