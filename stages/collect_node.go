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
	Points  []collectPoint `json:"points"`
	Formats []string       `json:"formats"`
}

type collectPoint struct {
	Need string        `json:"need"` // the load node that measured it
	Axes []sample.Axis `json:"axes"`
	GPUs int           `json:"gpus"`
	// Config is repeated here for points without a record.
	Config map[string]string `json:"config"`
	Expect map[string]string `json:"expect,omitempty"`
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

	Environment map[string]string `json:"environment,omitempty"` // what the servers told of themselves
	Expect      map[string]string `json:"expect,omitempty"`      // what they had to
}

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
		e := pointEntry{Axes: p.Axes, GPUs: p.GPUs, Config: p.Config, Expect: p.Expect}
		if from, ok := rt.Needs[p.Need]; ok {
			place := filepath.FromSlash(collect.PointDir(p.Axes))
			e.Path = filepath.ToSlash(filepath.Join(samplesDir, place))
			table, err := collect.ReadSamples(filepath.Join(from, samplesFile))
			if err != nil {
				return err
			}
			e.Facts, e.Config = table.Meta.Facts, table.Meta.Config
			if env := table.Meta.Extra[environmentKey]; env != "" {
				if err := json.Unmarshal([]byte(env), &e.Environment); err != nil {
					return fmt.Errorf("%s: its environment: %w", p.Need, err)
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

// readPoints reads a collected tree: the entries of points.json and, for
// those that were measured, their tables.
func readPoints(dir string) ([]pointEntry, []*sample.Table, error) {
	entries, err := readEntries(dir)
	if err != nil {
		return nil, nil, err
	}
	tables := make([]*sample.Table, len(entries))
	for i, e := range entries {
		t := &sample.Table{}
		if e.Path != "" {
			if t, err = collect.ReadSamples(filepath.Join(dir, filepath.FromSlash(e.Path), samplesFile)); err != nil {
				return nil, nil, err
			}
		}
		t.Meta.Axes, t.Meta.GPUs, t.Meta.Config = e.Axes, e.GPUs, e.Config
		tables[i] = t
	}
	return entries, tables, nil
}

// addCollect adds the node that lays out what was measured.
func (b *builder) addCollect(s specs.Stage) error {
	in := collectInput{Code: b.site.Code, Formats: s.Collect.Formats}
	var needs []string
	for _, m := range b.made["load"] {
		in.Points = append(in.Points, collectPoint{Need: m.id, Axes: sampleAxes(m.at.Axes), GPUs: m.gpus, Config: m.config, Expect: m.expect})
		needs = append(needs, m.id)
	}
	raw, err := pipeline.NewInput(in)
	if err != nil {
		return err
	}
	n := &pipeline.Node{
		ID: s.Name, Stage: "collect", Kind: pipeline.Pure, Input: raw, Needs: needs,
		Tolerant: true, Work: collectWork, Place: ".",
	}
	b.made[s.Name] = []made{{id: n.ID}}
	return b.addNode(n)
}
