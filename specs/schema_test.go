package specs

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// compileSchema checks the schema against its own language and returns a
// function that tells what it finds wrong with a spec.
func compileSchema(t *testing.T) func(t *testing.T, spec []byte) error {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(Schema()))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("vbp.schema.json", doc); err != nil {
		t.Fatal(err)
	}
	compiled, err := c.Compile("vbp.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return func(t *testing.T, spec []byte) error {
		t.Helper()
		root, errs := readYAML(spec, "")
		if len(errs) > 0 {
			return errs // an editor shows what is no YAML, too
		}
		return compiled.Validate(inEditor(root))
	}
}

var (
	coreInt   = regexp.MustCompile(`^[-+]?[0-9]+$`)
	coreFloat = regexp.MustCompile(`^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$`)
)

// inEditor is a value as editors read YAML: by the core schema of YAML 1.2.
func inEditor(n *node) any {
	switch {
	case n.isNull():
		return nil
	case n.kind == list:
		out := make([]any, len(n.items))
		for i, item := range n.items {
			out[i] = inEditor(item)
		}
		return out
	case n.kind == mapping:
		out := make(map[string]any, len(n.entries))
		for _, e := range n.entries {
			out[e.key] = inEditor(e.value)
		}
		return out
	case n.quoted:
		return n.text
	}
	switch n.text {
	case "true", "True", "TRUE":
		return true
	case "false", "False", "FALSE":
		return false
	}
	if coreInt.MatchString(n.text) || coreFloat.MatchString(n.text) {
		if v, wrong := parseNumber(n.text); wrong == "" {
			return json.Number(canonical(v))
		}
	}
	return n.text
}

// goodSpecs are all specs of the repository that must be right.
func goodSpecs(t *testing.T) map[string][]byte {
	t.Helper()
	out := map[string][]byte{}
	for _, pattern := range []string{"testdata/*.yaml", "../examples/*.yaml", "../cmd/vbp/init/*.yaml"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("no specs in %s: %v", pattern, err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, ".bad.yaml") {
				continue
			}
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			out[file] = data
		}
	}
	return out
}

// TestSchemaTakesGoodSpecs: no editor underlines anything in a spec that is
// right.
func TestSchemaTakesGoodSpecs(t *testing.T) {
	check := compileSchema(t)
	for file, data := range goodSpecs(t) {
		if err := check(t, data); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
}

// TestSchemaTakesEnvironment puts ${...} in the place of each single value of
// each good spec, one at a time and then everywhere.
func TestSchemaTakesEnvironment(t *testing.T) {
	check := compileSchema(t)
	for file, data := range goodSpecs(t) {
		root, errs := readYAML(data, "")
		if len(errs) > 0 {
			t.Fatal(errs)
		}
		var leaves []*node
		var gather func(n *node)
		gather = func(n *node) {
			if n.kind == scalar && !n.isNull() {
				leaves = append(leaves, n)
			}
			for _, item := range n.items {
				gather(item)
			}
			for _, e := range n.entries {
				gather(e.value)
			}
		}
		gather(root)
		say := func(n *node, text string) {
			n.text, n.quoted = text, true
			spec, err := writeYAML(root)
			if err == nil {
				err = check(t, bytes.ReplaceAll(spec, []byte("$${"), []byte("${")))
			}
			if err != nil {
				t.Errorf("%s:%d:%d: %v", file, n.line, n.col, err)
			}
		}
		for _, n := range leaves {
			was := *n
			say(n, "${NAME:-5}")
			*n = was
		}
		for i, n := range leaves {
			say(n, fmt.Sprintf("x${N%d}ms", i))
		}
	}
}

// notOfShape are the bad specs that the schema takes, and why.
var notOfShape = map[string]string{
	"arrivals_axis":   "values of axes are tried in their places",
	"axes_overlap":    "paths are followed, not matched",
	"axes_together":   "axes multiply, and GPUs are counted",
	"dataset_folder":  "the file is looked at",
	"exclude":         "the language of expressions",
	"exclude_all":     "the language of expressions",
	"exclude_nothing": "the language of expressions",
	"figures_series":  "series are counted",
	"set":             "what --set brings is in no file",
	"set_axis":        "what --set brings is in no file",
	"environment":     "what is in the environment, and where secrets may stand",
	"too_many":        "points are counted",
	"valid":           "the language of expressions",
}

// TestSchemaRefusesBadSpecs: an editor shows something in every bad spec whose
// mistake is one of shape.
func TestSchemaRefusesBadSpecs(t *testing.T) {
	check := compileSchema(t)
	files, err := filepath.Glob("testdata/*.bad.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal("no bad specs", err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimSuffix(filepath.Base(file), ".bad.yaml")
		_, excused := notOfShape[name]
		switch err := check(t, data); {
		case err == nil && !excused:
			t.Errorf("the schema takes %s", file)
		case err != nil && excused:
			t.Errorf("the schema refuses %s, which need not be excused: %v", file, err)
		}
	}
}

// TestSchemaDescribes: every key has a title and a sentence.
func TestSchemaDescribes(t *testing.T) {
	walk(specSchema(), func(s *schema) {
		if s.AdditionalProperties != nothing {
			return
		}
		for _, p := range s.Properties {
			if p.of == nothing {
				continue
			}
			if p.of.Title == "" || !strings.HasSuffix(p.of.Description, ".") || strings.Contains(p.of.Description, "..") && p.name != "qps" {
				t.Errorf("%s: %q, %q", p.name, p.of.Title, p.of.Description)
			}
		}
	})
}

// TestSchemaDefaults says, at every place of the language, what the schema
// tells is the default, and what it gives as examples: a default changes
// nothing, and examples are right.
func TestSchemaDefaults(t *testing.T) {
	check := compileSchema(t)
	o := Options{Env: func(name string) (string, bool) { return "1", name == "VBP_GPUS" || name == "NAME" }, SkipFiles: true}
	defaults, examples := 0, 0
	for _, p := range places() {
		for _, key := range p.keys {
			without, err := Parse("testdata/x.yaml", fmt.Appendf(nil, p.around, ""), o)
			if err != nil {
				without = nil // the place needs the key
			}
			s := schemaAt(t, fmt.Sprintf(p.around, quoteYAML(key)+": MARK"))
			if s == nil {
				continue
			}
			say := func(value any) (*Experiment, []byte, error) {
				text, err := json.Marshal(value)
				if err != nil {
					t.Fatal(err)
				}
				spec := fmt.Appendf(nil, p.around, quoteYAML(key)+": "+string(text))
				e, err := Parse("testdata/x.yaml", spec, o)
				if err == nil {
					err = check(t, spec)
				}
				return e, spec, err
			}
			if s.Default != nil && without != nil {
				defaults++
				e, spec, err := say(s.Default)
				if err != nil {
					t.Errorf("%s: %v", spec, err)
					continue
				}
				e.Resolved, without.Resolved, e.src, without.src = nil, nil, nil, nil
				if !reflect.DeepEqual(e, without) {
					t.Errorf("%s: the default changes the spec:\n%+v\n%+v", spec, e, without)
				}
			}
			for _, v := range s.Examples {
				examples++
				if _, spec, err := say(v); err != nil && !ofPlace.MatchString(err.Error()) {
					t.Errorf("%s: %v", spec, err)
				}
			}
		}
	}
	if defaults < 40 || examples < 30 {
		t.Errorf("only %d defaults and %d examples were tried", defaults, examples)
	}
}

// ofPlace are errors that an example is not to blame for.
var ofPlace = regexp.MustCompile(`matches no point|leaves no series|needs run|has no kind|needs the times of a dataset|window is empty|does not go with endpoint`)

// schemaAt is the schema of the value MARK in a spec; nil if none describes it.
func schemaAt(t *testing.T, spec string) *schema {
	t.Helper()
	root, errs := readYAML([]byte(spec), "")
	if len(errs) > 0 {
		return nil // the place has that key
	}
	var find func(v any, s []*schema) *schema
	find = func(v any, s []*schema) *schema {
		switch v := v.(type) {
		case string:
			if v == "MARK" {
				if i := slices.IndexFunc(s, func(one *schema) bool { return one.Description != "" }); i >= 0 && !slices.Contains(s, nothing) {
					return s[i]
				}
			}
		case []any:
			for _, item := range v {
				var below []*schema
				for _, one := range s {
					if one.Items != nil {
						below = append(below, one.Items)
					}
				}
				if found := find(item, below); found != nil {
					return found
				}
			}
		case map[string]any:
			for key, value := range v {
				var below []*schema
				for _, one := range s {
					below = append(below, inside(one, v, key)...)
				}
				if found := find(value, below); found != nil {
					return found
				}
			}
		}
		return nil
	}
	return find(inEditor(root), []*schema{specSchema()})
}

// inside are the schemas that s has for one key of an object.
func inside(s *schema, object map[string]any, key string) []*schema {
	if s == nil || s == nothing {
		return nil
	}
	var out []*schema
	named := false
	for _, p := range s.Properties {
		if p.name == key {
			named = true
			out = append(out, p.of)
		}
	}
	if !named && s.AdditionalProperties != nil && s.AdditionalProperties != nothing {
		out = append(out, s.AdditionalProperties)
	}
	for _, of := range s.AllOf {
		out = append(out, inside(of, object, key)...)
	}
	if s.If != nil {
		if holds(s.If, object) {
			return append(out, inside(s.Then, object, key)...)
		}
		return append(out, inside(s.Else, object, key)...)
	}
	return out
}

// holds tells whether an object meets the condition of a branch.
func holds(s *schema, object map[string]any) bool {
	p := s.Properties[0]
	v, ok := object[p.name]
	text, _ := v.(string)
	switch {
	case !ok:
		return false
	case p.of.Const != nil:
		return text == p.of.Const
	case len(p.of.AnyOf) > 0 && text == p.of.AnyOf[0].Const:
		return true
	case p.of.Not != nil:
		return v != nil
	}
	return strings.Contains(text, "${")
}

// TestExamplesHaveTheSchema: the examples name vbp.schema.json beside them.
func TestExamplesHaveTheSchema(t *testing.T) {
	const file = "../examples/vbp.schema.json"
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		t.Skip(file + " is not there, so the examples have no schema: vbp schema --out examples/vbp.schema.json writes it")
	}
	if err != nil || !bytes.Equal(data, Schema()) {
		t.Errorf("%s is not the schema of this vbp; vbp schema --out examples/vbp.schema.json writes it (%v)", file, err)
	}
}
