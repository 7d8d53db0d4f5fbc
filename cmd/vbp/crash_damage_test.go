package main

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"vbp/pipeline/history"
	"vbp/stages/upkeep"
)

// harms are what can happen to a stored file.
var harms = map[string]func(path string) error{
	"missing": os.Remove,
	"truncated": func(path string) error {
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		return os.Truncate(path, info.Size()-7)
	},
	"flipped": func(path string) error {
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		data[len(data)/2] ^= 4
		f, err := os.OpenFile(path, os.O_WRONLY, 0) // what is linked to it has it too
		if err != nil {
			return err
		}
		_, err = f.Write(data)
		return errors.Join(err, f.Close())
	},
}

// TestDamagedResults harms each kind of stored file: it is noticed, told and
// made again, and what comes out is as good as new.
func TestDamagedResults(t *testing.T) {
	skipIfShort(t)
	first := newCrashSite(t, crashFolder(t), crashSpec)
	if _, stderr, code := first.vbp(t, "apply", "spec.yaml"); code != exitDone {
		t.Fatalf("exit code %d\n%s", code, stderr)
	}
	for harm, do := range harms {
		for _, c := range []struct{ slot, file string }{
			{"load mode=simple qps=200 repeat=0", "samples.parquet"},
			{"load mode=simple qps=200 repeat=0", "metrics.parquet"},
			{"load mode=simple qps=200 repeat=0", "manifest.json"},
			{"collect", "points.json"},
			{"analyze", "analysis.json"},
			{"analyze", "manifest.json"},
			{"plot attainment mode=simple", "attainment.svg"},
		} {
			t.Run(harm+" "+c.file+" of "+c.slot, func(t *testing.T) {
				t.Parallel()
				s := first.copied(t)
				a, err := s.store().Last("crash: " + c.slot)
				if err != nil || a == nil {
					t.Fatal(err)
				}
				path := filepath.Join(a.Dir, c.file)
				if err := errors.Join(os.Chmod(path, 0o644), do(path)); err != nil {
					t.Fatal(err)
				}
				stdout, _, code := s.vbp(t, "cache", "verify")
				if code != exitNothing || !strings.Contains(stdout, "damaged  crash: "+c.slot+": ") && c.file != "manifest.json" {
					t.Errorf("verify: exit code %d\n%s", code, stdout)
				}
				before := s.journals(t)
				stdout, stderr, code := s.vbp(t, "apply", "spec.yaml")
				measured := strings.HasPrefix(c.slot, "load ")
				if code != exitDone || measured != strings.Contains(stderr, c.slot+": 6 sent") {
					t.Fatalf("the next apply: exit code %d\n%s", code, stderr)
				}
				told := false
				for dir, records := range s.journals(t) {
					for _, r := range records {
						told = told || before[dir] == nil && r.Kind == history.NodeBegun && r.Node == c.slot && strings.Contains(r.Text, "damaged")
					}
				}
				if !told {
					t.Errorf("the journal does not tell why %s was made again", c.slot)
				}
				if measured { // attempts are never replaced: as verify advises
					stdout, _, _ := s.vbp(t, "cache", "verify", "--json")
					var c upkeep.StoreCheck
					if err := json.Unmarshal([]byte(stdout), &c); err != nil || len(c.Damaged) == 0 {
						t.Fatalf("%v: %s", err, stdout)
					}
					for _, d := range c.Damaged {
						if err := os.RemoveAll(filepath.Join(s.dir, d.Path)); err != nil {
							t.Fatal(err)
						}
					}
				}
				s.sound(t)
				if !measured {
					s.is(t, stdout)
				}
			})
		}
	}
}
