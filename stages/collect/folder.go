package collect

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"vbp/stages/sample"
)

// deepest bounds the walk of a samples tree: more levels than any run has
// axes, so that a link that leads back up ends the walk.
const deepest = 32

// samplesBelow finds the samples files of a vbp run: dir is the run's folder,
// its samples folder, or a folder of that tree. Links are followed, since a
// run's folder links its artefacts. None is no error unless there is a samples
// folder.
func samplesBelow(dir string) ([]string, error) {
	root := filepath.Join(dir, "samples")
	if info, err := os.Stat(root); err != nil || !info.IsDir() {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return nil, fmt.Errorf("collect: opening results: %w", err)
		}
		if !slices.ContainsFunc(entries, func(e os.DirEntry) bool {
			return e.Name() == SamplesFile || strings.Contains(e.Name(), "=")
		}) {
			return nil, nil
		}
		root = dir
	}
	var files []string
	var walk func(dir string, depth int) error
	walk = func(dir string, depth int) error {
		if depth > deepest {
			return fmt.Errorf("collect: %s: folders are nested deeper than any run's: does a link lead back up?", root)
		}
		entries, err := os.ReadDir(dir)
		if err != nil {
			return fmt.Errorf("collect: opening results: %w", err)
		}
		for _, e := range entries {
			path := filepath.Join(dir, e.Name())
			info, err := os.Stat(path)
			switch {
			case err != nil && (e.Name() == SamplesFile || strings.Contains(e.Name(), "=")):
				return fmt.Errorf("collect: opening results: %w (was the store that it links to moved or pruned?)", err)
			case err != nil: // a dead link to something else
			case info.IsDir():
				if err := walk(path, depth+1); err != nil {
					return err
				}
			case e.Name() == SamplesFile:
				files = append(files, path)
			}
		}
		return nil
	}
	if err := walk(root, 0); err != nil {
		return nil, err
	}
	if len(files) == 0 && root != dir {
		return nil, fmt.Errorf("collect: %s: its samples folder holds no %s: nothing was measured in this run", dir, SamplesFile)
	}
	return files, nil
}

// foreignFiles lists what may be result files directly in dir, in natural
// order.
func foreignFiles(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("collect: opening results: %w", err)
	}
	var files []string
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		switch filepath.Ext(e.Name()) {
		case ".json", ".jsonl", ".exp", ".arrow", ".feather":
			if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && !strings.HasPrefix(e.Name(), ".") {
				files = append(files, path)
			}
		}
	}
	slices.SortFunc(files, compareNatural)
	return files, nil
}

// lookedFor says what would have been results, and where they may be.
func lookedFor(path string) string {
	text := "looked for samples/**/" + SamplesFile + " of a vbp run, *.json files of `vllm bench serve --save-result --save-detailed`, *.exp files of DistServe, and *.arrow files of `vbp export`"
	entries, err := os.ReadDir(path)
	if err != nil {
		return text
	}
	var below []string
	for _, e := range entries {
		if e.IsDir() && !strings.HasPrefix(e.Name(), ".") {
			below = append(below, e.Name())
		}
	}
	if n := len(below); n > 0 {
		// The scripts and vbp keep each run in a folder of its own.
		text += "; its folders (" + strings.Join(below[:min(n, 5)], ", ")
		if n > 5 {
			text += ", ..."
		}
		text += ") may be what you mean: name one"
	}
	return text
}

// byAxes orders points by their axes but the repeat, the first axis first,
// numbers by size.
func byAxes(a, b []sample.Axis) int {
	for i := range min(len(a), len(b)) {
		if a[i].Name == "repeat" && b[i].Name == "repeat" {
			continue
		}
		if c := compareValues(a[i].Value, b[i].Value); c != 0 {
			return c
		}
	}
	return cmp.Compare(len(a), len(b))
}

func compareValues(a, b string) int {
	x, errX := strconv.ParseFloat(a, 64)
	y, errY := strconv.ParseFloat(b, 64)
	if errX == nil && errY == nil {
		return cmp.Compare(x, y)
	}
	return strings.Compare(a, b)
}

// compareNatural orders file names so that rate_10 comes after rate_2.
func compareNatural(a, b string) int {
	x, y := lastInName.FindAllStringIndex(a, -1), lastInName.FindAllStringIndex(b, -1)
	from := [2]int{}
	for i := range min(len(x), len(y)) {
		if c := strings.Compare(a[from[0]:x[i][0]], b[from[1]:y[i][0]]); c != 0 {
			return c
		}
		if c := compareValues(a[x[i][0]:x[i][1]], b[y[i][0]:y[i][1]]); c != 0 {
			return c
		}
		from = [2]int{x[i][1], y[i][1]}
	}
	return strings.Compare(a, b)
}
