package stages

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"vbp/pipeline"
	"vbp/pipeline/cache"
	"vbp/specs"
	"vbp/stages/collect"
	"vbp/stages/sample"
)

// collectInput names every point of the run: the samples come from the needs.
type collectInput struct {
	Code    string         `json:"code"`
	Formats []string       `json:"formats"`
	Axes    []string       `json:"axes"`
	Kinds   []collectKind  `json:"kinds"`
	Points  []collectPoint `json:"points"`
}

// collectKind is what points of one deployment have in common.
type collectKind struct {
	GPUs int `json:"gpus"`
	// Config is for points without a record.
	Config map[string]string `json:"config"`
	Expect map[string]string `json:"expect,omitempty"`
}

type collectPoint struct {
	Need   string    `json:"need"`   // the load node that measured it
	Kind   int       `json:"kind"`   // which of the input's Kinds
	Values []*string `json:"values"` // one for each of the input's Axes; null where an axis does not apply
}

// axes is the point's place in the sweep.
func (in *collectInput) axes(p collectPoint) []sample.Axis {
	out := make([]sample.Axis, len(in.Axes))
	for i, name := range in.Axes {
		out[i].Name = name
		if i < len(p.Values) && p.Values[i] != nil {
			out[i].Value, out[i].Set = *p.Values[i], true
		}
	}
	return out
}

// pointsFile lists what the samples tree holds, in the order of the sweep.
const pointsFile = "points.json"

// Roots of the trees in a run's folder. They are two, so that other tools can
// read each whole as one table.
const (
	samplesDir = "samples"
	metricsDir = "server_metrics"
)

// pointEntry is one entry of points.json.
type pointEntry struct {
	Path   string             `json:"path"` // of the folder with its samples; "" if it could not be measured
	Axes   []sample.Axis      `json:"axes"`
	GPUs   int                `json:"gpus"`
	Config map[string]string  `json:"config"`
	Facts  map[string]float64 `json:"facts,omitempty"`
	Notes  []string           `json:"notes,omitempty"`
	Method map[string]string  `json:"method,omitempty"` // how it was measured: see methodKeys

	Environment map[string]string `json:"environment,omitempty"` // what the servers told of themselves
	Expect      map[string]string `json:"expect,omitempty"`      // what they had to

	Attempts pipeline.Attempts `json:"attempts,omitzero"` // that stand behind it
}

// methodKeys are what a samples file tells of how its point was measured: the
// transport, the arrivals, and who counted the tokens of prompts.
var methodKeys = []string{"client", "arrivals", "prompt_counting"}

// judge is the verdict on the point, which has been measured.
func (e *pointEntry) judge(rules []*specs.Rule) (pipeline.Verdict, error) {
	s, err := standardOf(rules, e.Config, e.Expect)
	if err != nil {
		return pipeline.Verdict{}, err
	}
	return s.judge(e.Facts, e.Environment), nil
}

// collectWork lays the points' files out as one tree that other tools read
// whole.
func collectWork(_ context.Context, raw pipeline.Input, rt *pipeline.Runtime) error {
	var in collectInput
	if err := raw.Decode(&in); err != nil {
		return err
	}
	var entries []pointEntry
	for _, p := range in.Points {
		kind := in.Kinds[p.Kind]
		e := pointEntry{Axes: in.axes(p), GPUs: kind.GPUs, Config: kind.Config, Expect: kind.Expect, Attempts: rt.Attempts[p.Need]}
		if from, ok := rt.Needs[p.Need]; ok {
			place := filepath.FromSlash(collect.PointDir(e.Axes))
			e.Path = filepath.ToSlash(filepath.Join(samplesDir, place))
			table, err := readMeta(filepath.Join(from, samplesFile))
			if err != nil {
				return err
			}
			e.Facts, e.Config = table.Meta.Facts, table.Meta.Config
			if env := table.Meta.Extra[environmentKey]; env != "" {
				if err := json.Unmarshal([]byte(env), &e.Environment); err != nil {
					return fmt.Errorf("%s: its environment: %w", p.Need, err)
				}
			}
			e.Method = make(map[string]string)
			for _, k := range methodKeys {
				if how := table.Meta.Extra[k]; how != "" {
					e.Method[k] = how
				}
			}
			if notes := table.Meta.Extra[notesKey]; notes != "" {
				e.Notes = strings.Split(notes, "\n")
			}
			for tree, name := range map[string]string{samplesDir: samplesFile, metricsDir: metricsFile} {
				if err := linkInto(filepath.Join(rt.Dir, tree, place), from, name); err != nil {
					return err
				}
			}
		}
		entries = append(entries, e)
	}
	data, err := json.MarshalIndent(entries, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(rt.Dir, pointsFile), append(data, '\n'), 0o644)
}

// linkInto makes the file called name in from appear in dir, if it is there:
// server metrics may not have been asked for.
func linkInto(dir, from, name string) error {
	if _, err := os.Stat(filepath.Join(from, name)); os.IsNotExist(err) {
		return nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return cache.LinkFile(filepath.Join(from, name), filepath.Join(dir, name))
}

// axesLabel is every axis that applies, as the point's node is called.
func axesLabel(axes []sample.Axis) string {
	var parts []string
	for _, a := range axes {
		if a.Set {
			parts = append(parts, a.Name+"="+a.Value)
		}
	}
	return strings.Join(parts, " ")
}

func readEntries(dir string) ([]pointEntry, error) {
	path := filepath.Join(dir, pointsFile)
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var entries []pointEntry
	if err := json.Unmarshal(data, &entries); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return entries, nil
}

// attemptsKey is where tables carry how many attempts stand behind them, if
// they were several.
const (
	attemptsKey  = "attempts"
	attemptsForm = "%d made, %d rejected"
)

// attemptsOf reads what readPoints wrote; 0 if there is nothing.
func attemptsOf(m sample.Meta) (total, rejected int) {
	if n, err := fmt.Sscanf(m.Extra[attemptsKey], attemptsForm, &total, &rejected); n < 2 || err != nil {
		return 0, 0
	}
	return total, rejected
}

// samples is the entry's samples file below dir.
func (e *pointEntry) samples(dir string) string {
	return filepath.Join(dir, filepath.FromSlash(e.Path), samplesFile)
}

// readMeta reads what a samples file tells of its point as a whole: a table
// without rows, of which there may be a million.
func readMeta(path string) (*sample.Table, error) {
	t, err := collect.ReadColumns(path)
	if err != nil {
		return nil, err
	}
	return &sample.Table{Meta: t.Meta}, nil
}

// readPoints reads a collected tree: the entries of points.json and, for
// those that were measured, their tables.
func readPoints(dir string) ([]pointEntry, []*sample.Table, error) {
	return readPointsWith(dir, collect.ReadSamples)
}

// readPointsWith is readPoints with as much of each table as read reads.
func readPointsWith(dir string, read func(path string) (*sample.Table, error)) ([]pointEntry, []*sample.Table, error) {
	entries, err := readEntries(dir)
	if err != nil {
		return nil, nil, err
	}
	tables := make([]*sample.Table, len(entries))
	for i, e := range entries {
		t := &sample.Table{}
		if e.Path != "" {
			if t, err = read(e.samples(dir)); err != nil {
				return nil, nil, err
			}
		}
		t.Meta.Axes, t.Meta.GPUs, t.Meta.Config = e.Axes, e.GPUs, e.Config
		if e.Attempts.Total > 1 && t.Meta.Extra != nil {
			t.Meta.Extra[attemptsKey] = fmt.Sprintf(attemptsForm, e.Attempts.Total, e.Attempts.Rejected)
		}
		tables[i] = t
	}
	return entries, tables, nil
}

// addCollect adds the node that lays out what was measured.
func (b *builder) addCollect(s specs.Stage) error {
	loads := b.made["load"]
	in := collectInput{Code: b.site.Code, Formats: s.Collect.Formats, Points: make([]collectPoint, len(loads))}
	for _, a := range b.points[0].Axes { // all points have the same
		in.Axes = append(in.Axes, a.Name)
	}
	needs := make([]string, len(loads))
	kinds := make(map[*loadKind]int)
	for i, m := range loads {
		k, ok := kinds[m.kind]
		if !ok {
			k = len(kinds)
			kinds[m.kind] = k
			in.Kinds = append(in.Kinds, collectKind{GPUs: m.kind.gpus, Config: m.kind.config, Expect: m.kind.expect})
		}
		values := make([]*string, len(m.at.Axes))
		for j := range m.at.Axes {
			if m.at.Axes[j].Set {
				values[j] = &m.at.Axes[j].Value
			}
		}
		in.Points[i], needs[i] = collectPoint{Need: m.id, Kind: k, Values: values}, m.id
	}
	raw, err := pipeline.NewInput(in)
	if err != nil {
		return err
	}
	n := &pipeline.Node{
		ID: s.Name, Stage: "collect", Group: s.Name, Kind: pipeline.Pure, Input: raw, Needs: needs,
		Tolerant: true, Work: collectWork, Place: ".",
	}
	b.made[s.Name] = []made{{id: n.ID}}
	return b.addNode(n)
}
