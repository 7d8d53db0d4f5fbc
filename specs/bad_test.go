package specs

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestBadSpecs reads testdata/*.bad.yaml. The comments at the top of each say
// what is set around it; the .want beside it holds the whole error that it
// must give, without the names of file and folder.
func TestBadSpecs(t *testing.T) {
	files, err := filepath.Glob("testdata/*.bad.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal("no bad specs", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".bad.yaml"), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			env := map[string]string{}
			o := Options{Env: func(name string) (string, bool) { v, ok := env[name]; return v, ok }}
			for line := range strings.Lines(string(data)) {
				what, ok := strings.CutPrefix(strings.TrimSpace(line), "# ")
				if !ok {
					break
				}
				if s, ok := strings.CutPrefix(what, "set: "); ok {
					o.Set = append(o.Set, s)
				} else if s, ok := strings.CutPrefix(what, "env: "); ok {
					name, value, _ := strings.Cut(s, "=")
					env[name] = value
				}
			}
			want, err := os.ReadFile(strings.TrimSuffix(file, ".bad.yaml") + ".want")
			if err != nil {
				t.Fatal(err)
			}
			e, err := Parse(file, data, o)
			if err == nil {
				t.Fatalf("no error; read as %s", e.Resolved)
			}
			here, _ := filepath.Abs("testdata")
			got := strings.NewReplacer(file+":", "", here+"/", "").Replace(err.Error())
			if got != strings.TrimSuffix(string(want), "\n") {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}
