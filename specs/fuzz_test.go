package specs

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"
)

// FuzzParse: no spec panics, what is wrong is Errors with a message, and what
// is right is the same when its resolved form is read.
func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data, "slo.tpot=15ms")
		f.Add(data[:len(data)/2], "modes.simple.args.x={a: [1")
	}
	f.Fuzz(func(t *testing.T, data []byte, set string) {
		if len(data) > 4096 {
			return
		}
		tm := time.AfterFunc(5*time.Second, func() { os.WriteFile("/tmp/hang.yaml", data, 0o644); os.WriteFile("/tmp/hang.set", []byte(set), 0o644); panic("hang") })
		defer tm.Stop()
		e, err := Parse("testdata/x.yaml", data, Options{Set: []string{set}, Env: noEnv})
		if err != nil {
			errs, ok := err.(Errors)
			if !ok || len(errs) == 0 || errs.Error() == "" {
				t.Fatalf("%T %v", err, err)
			}
			return
		}
		if points, err := e.Points(); err != nil || len(points) == 0 || points[len(points)-1].Config == nil {
			t.Fatalf("no points: %v", err)
		}
		again, err := Parse("testdata/x.yaml", e.Resolved, Options{Env: noEnv})
		if err != nil {
			t.Fatalf("the resolved spec is wrong: %v\n%s", err, e.Resolved)
		}
		again.src, e.src = nil, nil
		again.Resolved, e.Resolved = nil, nil
		if !reflect.DeepEqual(again, e) {
			t.Fatalf("read again: %+v\nwant %+v", again, e)
		}
	})
}
