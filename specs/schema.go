package specs

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Schema is the JSON Schema (draft 2020-12) of the spec, indented, for editors
// and for whoever writes specs by program.
//
// It is built from the key lists and words that the decoder reads with, so
// that the two cannot know different keys. It holds the shape of a spec: keys
// at every depth, types, forms, and what goes with which engine, dataset and
// stage. What needs the whole spec or the machine (names that refer to each
// other, expressions, files, numbers of GPUs) is left to Parse. It never
// refuses what Parse takes, but for spellings that nobody needs; the tests
// list them.
//
// As in the language, a single value stands for a list of one, a text in
// quotes is read as its key wants it, a key without a value says nothing, and
// every single value may hold ${NAME} or ${NAME:-default}.
func Schema() []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(shared(specSchema())); err != nil {
		panic("specs: the schema is not JSON: " + err.Error())
	}
	return b.Bytes()
}

// specSchema is the whole spec.
func specSchema() *schema {
	s := closed(topKeys, forms{
		"apiVersion": choice(apiVersion).says("Version of the language", "The language that this spec is written in.").or(apiVersion),
		"name":       text(`^[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}$`, "letters, digits, . _ and -: results are kept under it").says("Name", "Names the experiment; its runs are kept in results/NAME. Default: the file's name without its extension."),
		"model":      text(`\S`, "a model").says("Model", "The model that every mode serves, as the engine takes it: a name on the hub or a folder.").or("Qwen/Qwen3-0.6B"),
		"gpus":       gpusSchema(),
		"modes":      modesSchema(),
		"workload":   workloadSchema(),
		"slo":        sloSchema(DefaultSLO()).says("Objectives", "Latency objectives that a request meets, and the share of requests that should. They are scored from stored samples; changing one repeats no load."),
		"sweep":      sweepSchema(),
		"slo_scales": scalesSchema().or(DefaultSLOScales()),
		"scale_rate": scaleRateSchema(),
		"stages":     stagesSchema(),
		"valid": words(`\S`, "an expression").says("Validity rules", "Expressions over the facts of a point, such as sent, failed or send_lag_p99_ms; a point that fails one is kept, shown hollow and measured again.").
			or(defaultRules).such([]string{"schedule_kept > 0.97", "failed == 0"}),
		"reuse":   reuseSchema(),
		"figures": figuresSchema(),
	}, "modes", "sweep")
	s.Schema = "https://json-schema.org/draft/2020-12/schema"
	s.Title = "vbp spec"
	s.Description = "An experiment of vbp: modes of serving a model, the load that is sent to each, and what is made of the measurements."
	s.Type = []string{"object"}
	return s
}

// schema is one JSON Schema. The zero value allows everything.
type schema struct {
	Schema      string `json:"$schema,omitempty"`
	Ref         string `json:"$ref,omitempty"`
	Title       string `json:"title,omitempty"`
	Description string `json:"description,omitempty"`
	Default     any    `json:"default,omitempty"`
	Examples    []any  `json:"examples,omitempty"`

	Type             types    `json:"type,omitempty"`
	Enum             []string `json:"enum,omitempty"`
	Const            any      `json:"const,omitempty"`
	Minimum          *float64 `json:"minimum,omitempty"`
	ExclusiveMinimum *float64 `json:"exclusiveMinimum,omitempty"`
	Maximum          *float64 `json:"maximum,omitempty"`
	ExclusiveMaximum *float64 `json:"exclusiveMaximum,omitempty"`
	Pattern          string   `json:"pattern,omitempty"`
	// PatternErrorMessage is what editors show instead of the pattern; a
	// validator that does not know the keyword passes over it.
	PatternErrorMessage string `json:"patternErrorMessage,omitempty"`

	Items       *schema `json:"items,omitempty"`
	MinItems    *int    `json:"minItems,omitempty"`
	MaxItems    *int    `json:"maxItems,omitempty"`
	UniqueItems bool    `json:"uniqueItems,omitempty"`

	Properties           properties `json:"properties,omitempty"`
	PatternProperties    properties `json:"patternProperties,omitempty"`
	AdditionalProperties *schema    `json:"additionalProperties,omitempty"`
	PropertyNames        *schema    `json:"propertyNames,omitempty"`
	Required             []string   `json:"required,omitempty"`
	MinProperties        int        `json:"minProperties,omitempty"`

	AllOf []*schema `json:"allOf,omitempty"`
	AnyOf []*schema `json:"anyOf,omitempty"`
	Not   *schema   `json:"not,omitempty"`
	If    *schema   `json:"if,omitempty"`
	Then  *schema   `json:"then,omitempty"`
	Else  *schema   `json:"else,omitempty"`

	Defs properties `json:"$defs,omitempty"`
}

// nothing is the schema that allows no value.
var nothing = &schema{}

// MarshalJSON writes nothing as false.
func (s *schema) MarshalJSON() ([]byte, error) {
	if s == nothing {
		return []byte("false"), nil
	}
	type plain schema
	return marshal((*plain)(s))
}

// marshal leaves < and > as they are, which people read in patterns.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// types are the types that a value may have.
type types []string

// MarshalJSON writes a single type as editors name it in messages: alone.
func (t types) MarshalJSON() ([]byte, error) {
	if len(t) == 1 {
		return marshal(t[0])
	}
	return marshal([]string(t))
}

// properties are schemas by name, written in order.
type properties []property

type property struct {
	name string
	of   *schema
}

// MarshalJSON writes an object.
func (ps properties) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	for i, p := range ps {
		b.WriteString(map[bool]string{true: "{", false: ","}[i == 0])
		for j, v := range []any{p.name, p.of} {
			if j > 0 {
				b.WriteByte(':')
			}
			data, err := marshal(v)
			if err != nil {
				return nil, err
			}
			b.Write(data)
		}
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// says gives the schema its title and the sentence that editors show.
func (s *schema) says(title, description string) *schema {
	s.Title, s.Description = title, description
	return s
}

// or tells what holds if the key is not said; the description says it too.
func (s *schema) or(value any) *schema {
	s.Default = value
	shown := fmt.Sprint(value)
	switch v := value.(type) {
	case []string:
		shown = strings.Join(v, ", ")
	case []float64:
		shown = strings.Trim(shown, "[]")
		shown = strings.ReplaceAll(shown, " ", ", ")
	case map[string]any:
		data, err := marshal(v)
		if err != nil {
			panic("specs: a default of the schema is not JSON: " + err.Error())
		}
		shown = string(data)
	}
	s.Description += " Default: " + shown + "."
	return s
}

// such gives examples.
func (s *schema) such(values ...any) *schema {
	s.Examples = values
	return s
}

// forms are the schemas of an object's keys.
type forms map[string]*schema

// closed is an object with the given keys and no others: keys is the list that
// the decoder reads the object with, and of has exactly one schema for each.
// All but those required may also be said without a value.
func closed(keys []string, of forms, required ...string) *schema {
	if len(of) != len(keys) {
		panic(fmt.Sprintf("specs: the schema describes %d keys, and the decoder reads %d: %v", len(of), len(keys), keys))
	}
	s := &schema{Type: []string{"object", "null"}, AdditionalProperties: nothing, Required: required}
	for _, key := range keys {
		form, ok := of[key]
		if !ok {
			panic(fmt.Sprintf("specs: the schema does not describe the key %q", key))
		}
		if !slices.Contains(required, key) {
			form = orNull(form)
		}
		s.Properties = append(s.Properties, property{key, form})
	}
	return s
}

// orNull is s, or nothing said.
func orNull(s *schema) *schema {
	c := *s
	switch {
	case len(s.AnyOf) > 0:
		// The alternatives are told apart by their types; one for ${...} is
		// always there and takes the null.
		c.AnyOf = slices.Clone(s.AnyOf)
		last := len(c.AnyOf) - 1
		c.AnyOf[last] = orNull(c.AnyOf[last])
	case len(s.Type) > 0 && !slices.Contains(s.Type, "null"):
		c.Type = append(slices.Clip(s.Type), "null")
	}
	return &c
}

// of picks the schemas of some keys.
func (f forms) of(keys []string) forms {
	out := forms{}
	for _, key := range keys {
		if s, ok := f[key]; ok {
			out[key] = s
		}
	}
	return out
}

// branch is a condition and what holds under it.
type branch struct{ when, then *schema }

// branches is an object of which the first branch holds whose condition does;
// the rest if none does.
func branches(rest *schema, of ...branch) *schema {
	out := rest
	for _, b := range slices.Backward(of) {
		out = &schema{If: b.when, Then: b.then, Else: out}
	}
	out.Type = []string{"object", "null"}
	return out
}

// is holds of an object in which key is word.
func is(key, word string) *schema {
	return &schema{Properties: properties{{key, &schema{Const: word}}}, Required: []string{key}}
}

// may holds of an object in which key is word, or could be.
func may(key, word string) *schema {
	open := &schema{Type: []string{"string"}, Pattern: env}
	return &schema{Properties: properties{{key, &schema{AnyOf: []*schema{{Const: word}, open}}}}, Required: []string{key}}
}

// isOpen holds of an object whose key is taken from the environment, so that
// an editor cannot know what goes with it.
func isOpen(key string) *schema {
	return &schema{Properties: properties{{key, &schema{Type: []string{"string"}, Pattern: env}}}, Required: []string{key}}
}

// said holds of an object in which key has a value.
func said(key string) *schema {
	return &schema{Properties: properties{{key, &schema{Not: &schema{Type: []string{"null"}}}}}, Required: []string{key}}
}
