package collect

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"vbp/stages/sample"
)

func TestArrowLosesNothing(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var in []Judged
		for range rapid.IntRange(1, 3).Draw(rt, "points") {
			in = append(in, anyJudged(rt, 0))
		}
		run, axes := anyRun(rt), axisColumns(in)
		schema, err := arrowSchema(axes, in, run)
		if err != nil {
			rt.Fatal(err)
		}
		var b bytes.Buffer
		if err := writeArrow(&b, schema, axes, in); err != nil {
			rt.Fatal(err)
		}
		if err := seal(b.Bytes()); err != nil {
			rt.Fatal(err)
		}
		out, gotRun, err := readArrow(b.Bytes())
		if err != nil {
			rt.Fatal(err)
		}
		if len(out) != len(in) || !reflect.DeepEqual(run, gotRun) {
			rt.Fatalf("%d points of %d, run %+v", len(out), len(in), gotRun)
		}
		for i := range in {
			if err := equalTables(in[i].Table, out[i].Table); err != nil {
				rt.Fatal(err)
			}
			if in[i].Valid != out[i].Valid || in[i].Reason != out[i].Reason {
				rt.Fatal("verdicts differ")
			}
		}
	})
}

// twoPoints are of two modes, one with an axis that the other has not, and one
// whose name a column has.
func twoPoints() []Judged {
	a, b := plainTable(2), plainTable(1)
	a.Meta.Model, b.Meta.Model = "m", "m"
	a.Meta.Engine, b.Meta.Engine = "one", "two"
	a.Meta.Axes = []sample.Axis{
		{Name: "mode", Value: "simple", Set: true},
		{Name: "x.y", Value: "0.10", Set: true},
		{Name: "status", Value: "s", Set: true},
		{Name: "qps", Value: "0.5", Set: true},
		{Name: "repeat", Value: "1", Set: true},
	}
	b.Meta.Axes = []sample.Axis{{Name: "mode", Value: "nixl", Set: true}, {Name: "x.y"}, {Name: "status"}, {Name: "qps", Value: "2", Set: true}, {Name: "repeat", Value: "0", Set: true}}
	b.Gaps[0], b.Error[0], b.Outcome[0] = nil, "a \"b\",\r\nc", sample.StreamError
	return []Judged{{Table: a, Valid: true}, {Table: b, Reason: "x < 1"}}
}

func TestPyarrowReadsAnExport(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.arrow")
	if err := WriteArrow(path, twoPoints(), &Run{Name: "demo"}); err != nil {
		t.Fatal(err)
	}
	var got struct {
		Rows   []map[string]any
		Types  map[string]string
		Meta   map[string]string
		Points []map[string]any
	}
	python(t, "pyarrow", `
import json, sys, pyarrow.feather as feather
t = feather.read_table(sys.argv[1])
meta = {k.decode(): v.decode() for k, v in t.schema.metadata.items()}
print(json.dumps(dict(Rows=t.to_pylist(), Types={f.name: str(f.type) for f in t.schema}, Meta=meta, Points=json.loads(meta["vbp.points"]))))
`, &got, path)
	if len(got.Rows) != 3 {
		t.Fatalf("%d rows", len(got.Rows))
	}
	first, last := got.Rows[0], got.Rows[2]
	for _, c := range []struct {
		row  map[string]any
		key  string
		want any
	}{
		{first, "mode", "simple"},
		{first, "x.y", "0.10"},
		{first, "axis.status", "s"},
		{first, "status", nil},
		{first, "qps", 0.5},
		{first, "repeat", 1.0},
		{first, "point", 0.0},
		{first, "first_token_ns", 1e8},
		{first, "gaps_us", []any{50.0, 51.0, 0.0, 49.0}},
		{last, "mode", "nixl"},
		{last, "x.y", nil},
		{last, "qps", 2.0},
		{last, "point", 1.0},
		{last, "gaps_us", nil},
		{last, "error", "a \"b\",\r\nc"},
	} {
		if !reflect.DeepEqual(c.row[c.key], c.want) {
			t.Errorf("%s is %v, want %v", c.key, c.row[c.key], c.want)
		}
	}
	if got.Types["qps"] != "double" || got.Types["repeat"] != "int64" || got.Types["x.y"] != "string" || got.Types["sent_ns"] != "int64" || !strings.HasPrefix(got.Types["gaps_us"], "list<") {
		t.Errorf("types %v", got.Types)
	}
	if got.Meta["vbp.schema"] != ArrowSchema || got.Meta["vbp.model"] != "m" || got.Meta["vbp.engine"] != "" {
		t.Errorf("metadata %v", got.Meta) // the engines differ
	}
	if got.Points[1]["engine"] != "two" || got.Points[1]["reason"] != "x < 1" || got.Points[1]["valid"] != false {
		t.Errorf("second point %v", got.Points[1])
	}
}

func TestAnArrowFileIsResults(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "x.arrow")
	if err := WriteArrow(path, twoPoints(), nil); err != nil {
		t.Fatal(err)
	}
	for _, place := range []string{path, dir} {
		r, err := OpenResults(place)
		if err != nil {
			t.Fatal(err)
		}
		if r.Kind != Arrow || len(r.Points) != 2 || !r.Points[0].Exact || r.Points[1].Valid || r.Points[1].Table.Error[0] == "" {
			t.Errorf("%s: %+v", place, r)
		}
		if mode, _ := r.Points[0].Table.Meta.Axis("mode"); mode != "simple" {
			t.Errorf("%s: the order of the run is lost: %s comes first", place, mode)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "a.json"), []byte(detailed("1")), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenResults(dir); err == nil || !strings.Contains(err.Error(), "folder of its own") {
		t.Errorf("mixed kinds: %v", err)
	}
}

// Whatever is left of a file, reading it is an error or the same table.
func TestDamagedArrowIsAnError(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "x.arrow")
	in := twoPoints()
	if err := WriteArrow(path, in, nil); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for n := 0; n < len(data); n += 97 {
		if _, _, err := readArrow(bytes.Clone(data[:n])); err == nil {
			t.Errorf("a file cut to %d of %d bytes was read", n, len(data))
		}
	}
	for i := 0; i < len(data); i += 13 {
		flipped := bytes.Clone(data)
		flipped[i] ^= 0x55
		out, _, err := readArrow(flipped)
		for j := range out {
			if err == nil && equalTables(in[j].Table, out[j].Table) != nil {
				t.Errorf("byte %d: other values were read", i)
			}
		}
	}
	if err := os.WriteFile(path, []byte("ARROW1 and no end"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenResults(path); err == nil || !strings.Contains(err.Error(), "not a whole Arrow IPC file") {
		t.Errorf("%v", err)
	}
}

// Bytes that vbp sealed are trusted by the Arrow library; all others never
// reach it.
func FuzzReadArrow(f *testing.F) {
	path := filepath.Join(f.TempDir(), "x.arrow")
	if err := WriteArrow(path, twoPoints(), nil); err != nil {
		f.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add(data[:len(data)/2])
	f.Add([]byte("ARROW1" + sealMark + "ARROW1"))
	f.Fuzz(func(t *testing.T, data []byte) {
		points, _, err := readArrow(data)
		for _, p := range points {
			if err == nil && p.Table.Check() != nil {
				t.Error("an uneven table was read")
			}
		}
	})
}
