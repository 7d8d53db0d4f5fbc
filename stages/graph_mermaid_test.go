package stages

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestMermaidText: what is readable stays so, all else stands for itself.
func TestMermaidText(t *testing.T) {
	for in, want := range map[string]string{
		"mode=simple":            "mode=simple",
		"qps=0.5, 1, 2":          "qps=0.5, 1, 2",
		"vllm_benchmark_plots":   "vllm_benchmark_plots",
		"modes.a.args.max-len=3": "modes.a.args.max-len=3",
		`"x"`:                    "#34;x#34;",
		"#35;":                   "#35;35#59;",
		"1. one":                 "1#46; one",
		"- one":                  "#45; one",
		"_x_":                    "#95;x#95;",
		"<b>&":                   "#60;b#62;#38;",
		"größe":                  "größe",
		"a\nb\x00":               "a b ",
	} {
		if got := mermaidText(in); got != want {
			t.Errorf("%q is %q, want %q", in, got, want)
		}
	}
}

// readMermaid reads diagrams, a JSON list of texts, with the library itself
// and prints what it understood of each.
const readMermaid = `
import { createRequire } from 'module'
import { pathToFileURL } from 'url'
import { readFileSync } from 'fs'
const folder = process.argv[2] + '/'
const { JSDOM } = createRequire(folder)('jsdom')
globalThis.window = new JSDOM('').window
globalThis.document = window.document
const mermaid = (await import(pathToFileURL(folder + 'mermaid/dist/mermaid.core.mjs'))).default
const plain = s => s.replace(/\uFB02\u00B0\u00B0(\d+)\u00B6\u00DF/g, (_, n) => String.fromCodePoint(n))
const out = []
for (const text of JSON.parse(readFileSync(0, 'utf8'))) {
  await mermaid.parse(text)
  const d = await mermaid.mermaidAPI.getDiagramFromText(text)
  const boxes = {}
  for (const [id, v] of d.db.getVertices()) boxes[id] = {shape: v.type, text: plain(v.text), classes: v.classes}
  out.push({boxes, arrows: d.db.getEdges().map(e => e.start + '>' + e.end),
    groups: d.db.getSubGraphs().map(g => ({title: plain(g.title), boxes: g.nodes}))})
}
console.log(JSON.stringify(out))
`

// TestMermaidIsRead has Mermaid itself read diagrams, and holds that it
// understands the boxes, their texts and shapes, the groups and the arrows.
func TestMermaidIsRead(t *testing.T) {
	modules := os.Getenv("VBP_NODE_MODULES")
	if modules == "" {
		t.Skip("VBP_NODE_MODULES does not name a node_modules folder with mermaid and jsdom, so Mermaid cannot read what we write")
	}
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("node is not on PATH, so Mermaid cannot read what we write")
	}
	sweep, _ := diagram(t, sweepSpec, false)
	points, _ := diagram(t, sweepSpec, true)
	diagrams := []*Diagram{sweep, points, oddDiagram}
	var texts []string
	for _, d := range diagrams {
		texts = append(texts, string(d.Mermaid()))
	}
	in, err := json.Marshal(texts)
	if err != nil {
		t.Fatal(err)
	}
	script := filepath.Join(t.TempDir(), "read.mjs")
	if err := os.WriteFile(script, []byte(readMermaid), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), node, script, modules)
	cmd.Stdin = strings.NewReader(string(in))
	var wrong strings.Builder
	cmd.Stderr = &wrong
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("node: %v\n%s", err, wrong.String())
	}
	var read []struct {
		Boxes map[string]struct {
			Shape, Text string
			Classes     []string
		}
		Arrows []string
		Groups []struct {
			Title string
			Boxes []string
		}
	}
	if err := json.Unmarshal(out, &read); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	shapes := map[string]string{"service": "hexagon", "effect": "stadium", "measurement": "lean_right", "pure": "square"}
	for i, d := range diagrams {
		boxes, groups := 0, 0
		for _, g := range d.Groups {
			if !g.alone() {
				groups++
			}
			for _, b := range g.Boxes {
				boxes++
				got := read[i].Boxes[b.ID]
				if want := strings.Join(b.Lines, "<br>"); got.Text != want || got.Shape != shapes[b.Kind.String()] {
					t.Errorf("%s: %s is read as %q, %s; want %q, %s", d.Title, b.ID, got.Text, got.Shape, want, shapes[b.Kind.String()])
				}
			}
		}
		if len(read[i].Boxes) != boxes || len(read[i].Groups) != groups || len(read[i].Arrows) != len(d.Arrows) {
			t.Errorf("%s: read %d boxes of %d, %d groups of %d, %d arrows of %d", d.Title,
				len(read[i].Boxes), boxes, len(read[i].Groups), groups, len(read[i].Arrows), len(d.Arrows))
		}
		for j, a := range d.Arrows {
			if read[i].Arrows[j] != a.From+">"+a.To {
				t.Errorf("%s: arrow %d is %s, want %s > %s", d.Title, j, read[i].Arrows[j], a.From, a.To)
			}
		}
	}
}
