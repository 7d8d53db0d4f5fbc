package runs

import (
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
)

// Formats that figures can be written in.
var Formats = []string{"pdf", "svg", "png"}

// FiguresIn lists the figures below dir, one file of each.
func FiguresIn(dir string) []string {
	var files []string
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			files = append(files, path)
		}
		return nil
	})
	return FiguresOf(files)
}

// FiguresOf chooses a file of each figure among files: the PDF, else the SVG,
// else the PNG. They are sorted.
func FiguresOf(files []string) []string {
	best := make(map[string]int) // path without the format -> which of Formats
	for _, path := range files {
		ext := filepath.Ext(path)
		stem := strings.TrimSuffix(path, ext)
		i := slices.Index(Formats, strings.TrimPrefix(ext, "."))
		if j, ok := best[stem]; i >= 0 && (!ok || i < j) {
			best[stem] = i
		}
	}
	var out []string
	for stem, i := range best {
		out = append(out, stem+"."+Formats[i])
	}
	slices.Sort(out)
	return out
}
