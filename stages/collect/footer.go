package collect

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"

	"vbp/stages/sample"
)

// Keys of the metadata in a file's footer. Values are text; maps and axes are
// JSON. What is absent has no key.
const (
	keySchema  = "vbp.schema"
	keyAxes    = "vbp.axes" // [{"name": "mode", "value": "simple"}, ...]; no value: does not apply
	keyRate    = "vbp.rate"
	keyRepeat  = "vbp.repeat"
	keySeed    = "vbp.seed"
	keyModel   = "vbp.model"
	keyDataset = "vbp.dataset"
	keyEngine  = "vbp.engine"
	keyHost    = "vbp.host"
	keyStart   = "vbp.start_unix_ns"
	keyLength  = "vbp.length_s"
	keyGPUs    = "vbp.gpus"
	keyConfig  = "vbp.config"
	keyFacts   = "vbp.facts"
	keyExtra   = "vbp.extra"
)

// storedAxis is an Axis in the footer.
type storedAxis struct {
	Name  string  `json:"name"`
	Value *string `json:"value,omitempty"`
}

// fact is a double that JSON can hold: NaN and infinities as text.
type fact float64

// MarshalJSON implements json.Marshaler.
func (f fact) MarshalJSON() ([]byte, error) {
	v := float64(f)
	text := strconv.FormatFloat(v, 'g', -1, 64)
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return json.Marshal(text)
	}
	return []byte(text), nil
}

// UnmarshalJSON implements json.Unmarshaler.
func (f *fact) UnmarshalJSON(b []byte) error {
	text := string(b)
	if len(b) > 0 && b[0] == '"' {
		if err := json.Unmarshal(b, &text); err != nil {
			return err
		}
	}
	v, err := strconv.ParseFloat(text, 64)
	*f = fact(v)
	return err
}

// valid makes text that every reader of Parquet and JSON accepts: bytes that
// are not UTF-8, such as a server's error page may hold, become U+FFFD.
func valid(text string) string { return strings.ToValidUTF8(text, "\uFFFD") }

func validMap[V any](m map[string]V, value func(V) V) map[string]V {
	if m == nil {
		return nil
	}
	out := make(map[string]V, len(m))
	for k, v := range m {
		out[valid(k)] = value(v)
	}
	return out
}

// footer turns m into footer metadata: keys and values in a fixed order.
func footer(m sample.Meta) (keys, values []string, err error) {
	set := func(k, v string) { keys, values = append(keys, k), append(values, v) }
	setJSON := func(k string, v any) {
		b, e := json.Marshal(v)
		if e != nil && err == nil {
			err = fmt.Errorf("metadata %s: %w", k, e)
		}
		set(k, string(b))
	}
	set(keySchema, SamplesSchema)
	if m.Axes != nil {
		axes := make([]storedAxis, len(m.Axes))
		for i, a := range m.Axes {
			axes[i].Name = valid(a.Name)
			if a.Set {
				v := valid(a.Value)
				axes[i].Value = &v
			}
		}
		setJSON(keyAxes, axes)
	}
	setNumber := func(k string, v float64) {
		if !math.IsNaN(v) {
			set(k, strconv.FormatFloat(v, 'g', -1, 64))
		}
	}
	setText := func(k, v string) {
		if v != "" {
			set(k, valid(v))
		}
	}
	setNumber(keyRate, m.Rate)
	set(keyRepeat, strconv.Itoa(m.Repeat))
	set(keySeed, strconv.FormatInt(m.Seed, 10))
	setText(keyModel, m.Model)
	setText(keyDataset, m.Dataset)
	setText(keyEngine, m.Engine)
	setText(keyHost, m.Host)
	if m.Start != sample.Absent {
		set(keyStart, strconv.FormatInt(m.Start, 10))
	}
	setNumber(keyLength, m.Length)
	if m.GPUs != 0 {
		set(keyGPUs, strconv.Itoa(m.GPUs))
	}
	if m.Config != nil {
		setJSON(keyConfig, validMap(m.Config, valid))
	}
	if m.Facts != nil {
		facts := make(map[string]fact, len(m.Facts))
		for k, v := range m.Facts {
			facts[valid(k)] = fact(v)
		}
		setJSON(keyFacts, facts)
	}
	if m.Extra != nil {
		setJSON(keyExtra, validMap(m.Extra, valid))
	}
	return keys, values, err
}

// meta reads what footer wrote. value returns the text of a key, and whether
// the key is there.
func meta(value func(key string) (string, bool)) (sample.Meta, error) {
	m := sample.Meta{Rate: math.NaN(), Start: sample.Absent, Length: math.NaN()}
	switch v, ok := value(keySchema); {
	case !ok:
		return m, fmt.Errorf("its footer has no %s: it was not written by vbp", keySchema)
	case v != SamplesSchema:
		return m, fmt.Errorf("it has layout %q, this vbp reads %q: read it with the vbp that wrote it, or measure again", v, SamplesSchema)
	}
	var err error
	read := func(key string, parse func(text string) error) {
		if text, ok := value(key); ok && err == nil {
			if e := parse(text); e != nil {
				err = fmt.Errorf("its footer is damaged at %s: %w", key, e)
			}
		}
	}
	number := func(to *float64) func(string) error {
		return func(text string) (e error) { *to, e = strconv.ParseFloat(text, 64); return e }
	}
	whole := func(to *int) func(string) error {
		return func(text string) (e error) { *to, e = strconv.Atoi(text); return e }
	}
	long := func(to *int64) func(string) error {
		return func(text string) (e error) { *to, e = strconv.ParseInt(text, 10, 64); return e }
	}
	text := func(to *string) func(string) error {
		return func(v string) error { *to = v; return nil }
	}
	object := func(to any) func(string) error {
		return func(text string) error { return json.Unmarshal([]byte(text), to) }
	}
	var axes []storedAxis
	var facts map[string]fact
	read(keyAxes, object(&axes))
	read(keyRate, number(&m.Rate))
	read(keyRepeat, whole(&m.Repeat))
	read(keySeed, long(&m.Seed))
	read(keyModel, text(&m.Model))
	read(keyDataset, text(&m.Dataset))
	read(keyEngine, text(&m.Engine))
	read(keyHost, text(&m.Host))
	read(keyStart, long(&m.Start))
	read(keyLength, number(&m.Length))
	read(keyGPUs, whole(&m.GPUs))
	read(keyConfig, object(&m.Config))
	read(keyFacts, object(&facts))
	read(keyExtra, object(&m.Extra))
	if axes != nil {
		m.Axes = make([]sample.Axis, len(axes))
		for i, a := range axes {
			m.Axes[i].Name = a.Name
			if a.Value != nil {
				m.Axes[i].Value, m.Axes[i].Set = *a.Value, true
			}
		}
	}
	if facts != nil {
		m.Facts = make(map[string]float64, len(facts))
		for k, v := range facts {
			m.Facts[k] = float64(v)
		}
	}
	return m, err
}
