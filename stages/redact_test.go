package stages

import (
	"bytes"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"vbp/pipeline"
	"vbp/stages/collect"
)

// TestSecretsAreNotKept runs a spec against servers that repeat the key that
// they were given wherever they can, and looks for it in everything that is
// written and told.
func TestSecretsAreNotKept(t *testing.T) {
	const key = "hush-hush"
	w := newWorld(t)
	w.env["KEY"] = key
	w.prepare = func(s *server) error {
		s.options.Progress("asking with " + key)
		if strings.Contains(s.deployment.Endpoint, "refused") {
			return errors.New("401: bad key " + key)
		}
		s.env["model_root"] = "/models/" + key
		s.reset = func() (bool, error) { return false, errors.New("no reset for " + key) }
		s.metrics = func(int) string { return "bad metrics of " + key }
		s.complete = func(w http.ResponseWriter, _ *http.Request, n int) bool {
			if n%2 == 0 {
				http.Error(w, "bad key "+key, http.StatusUnauthorized)
				return true
			}
			return false
		}
		if strings.Contains(s.deployment.Endpoint, "dies") {
			s.complete = func(_ http.ResponseWriter, r *http.Request, n int) bool {
				if n == 2 {
					s.die(errors.New("died of " + key))
				}
				<-r.Context().Done()
				return true
			}
		}
		return nil
	}
	spec := changed(t, oneMode, "{simple: {engine: simulated}}", `
  works: {endpoint: "http://127.0.0.1:9/works", headers: {Authorization: "Bearer ${secret:KEY}"}}
  refused: {endpoint: "http://127.0.0.1:9/refused", headers: {Authorization: "Bearer ${secret:KEY}"}}
  dies: {endpoint: "http://127.0.0.1:9/dies", headers: {Authorization: "Bearer ${secret:KEY}"}}`,
		"server_metrics: 0s", "server_metrics: 1h",
		"stages: {", `stages: {own: {uses: command, run: "echo bad $A >&2; exit 1", env: {A: "${secret:KEY}"}}, `)
	var told []string
	a, err := w.applyWith(t.Context(), ApplyOptions{Emit: func(e pipeline.Event) {
		if strings.Contains(e.Text, key) {
			told = append(told, string(e.Kind)+" "+e.Node.ID+": "+e.Text)
		}
	}}, spec)
	if err != nil {
		t.Fatal(err)
	}
	if len(told) > 0 {
		t.Errorf("it is told:\n%s", strings.Join(told, "\n"))
	}
	// The failures are there, without it.
	for id, want := range map[string]string{
		"deploy mode=refused": "401: bad key ${secret:KEY}",
		"own":                 "bad ${secret:KEY}",
	} {
		r := a.Report.Result(id)
		mustContain(t, r.Err, want)
	}
	if died := recordOf(t, a, "load mode=dies qps=1000 repeat=0"); !strings.Contains(strings.Join(died.Notes, "\n"), "died of ${secret:KEY}") {
		t.Errorf("notes %q", died.Notes)
	}
	rec := recordOf(t, a, "load mode=works qps=1000 repeat=0")
	if rec.Environment["model_root"] != "/models/${secret:KEY}" || rec.Facts["failed"] != 2 {
		t.Errorf("record %+v", rec)
	}
	table, err := collect.ReadSamples(filepath.Join(a.RunDir, "samples/mode=works/qps=1000/repeat=0/samples.parquet"))
	if err != nil || !strings.Contains(strings.Join(table.Error, "\n"), "bad key ${secret:KEY}") {
		t.Errorf("errors %q, %v", table.Error, err)
	}
	// Parquet's texts are compressed; everything else is read as it is.
	err = filepath.WalkDir(w.site.Results, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if bytes.Contains(data, []byte(key)) {
			t.Errorf("%s holds the secret", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	for _, s := range []string{strings.Join(rec.Notes, "\n"), strings.Join(table.Error, "\n"), strings.Join([]string{table.Meta.Extra[notesKey]}, "")} {
		if strings.Contains(s, key) {
			t.Errorf("it is kept: %s", s)
		}
	}
}
