package collect

import (
	"math"
	"path/filepath"
	"strconv"
	"strings"

	"vbp/stages/sample"
)

// notApplicable is the partition value that Hive and its readers take for
// null.
const notApplicable = "__HIVE_DEFAULT_PARTITION__"

// PointDir is the folder of a point in the tree of its run, one level for each
// axis: mode=simple/qps=2/repeat=0. An axis that does not apply is Hive's null
// partition. Values are percent-encoded, which DuckDB, pyarrow and Spark undo.
// Names are encoded only where they would break the path, for DuckDB shows
// names as they are written. Numbers of qps and repeat are written canonically (2.0 as 2), so
// that one rate has one folder; values of other axes stay as they are, since
// for them "0.10" and "0.1" may differ.
func PointDir(axes []sample.Axis) string {
	levels := make([]string, len(axes))
	for i, a := range axes {
		value := notApplicable
		if a.Set {
			value = a.Value
			if a.Name == "qps" || a.Name == "repeat" {
				value = canonical(value)
			}
			value = encode(value, inValue)
			if value == notApplicable { // the text, not the absence
				value = "%5F" + value[1:]
			}
		}
		levels[i] = encode(a.Name, inName) + "=" + value
	}
	return filepath.Join(levels...)
}

// canonical writes a number in its shortest decimal form, and leaves anything
// else alone.
func canonical(text string) string {
	v, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
		return text
	}
	return strconv.FormatFloat(v, 'f', -1, 64)
}

// inValue tells whether a byte may stay in a partition's value: what is safe
// in file names, in globs and in the eyes of every reader of Hive trees.
func inValue(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.'
}

// inName tells the same of its name.
func inName(c byte) bool {
	return c >= ' ' && c != 0x7f && c != '/' && c != '\\' && c != '=' && c != '%'
}

// encode percent-encodes the bytes of text that may not stay.
func encode(text string, stays func(byte) bool) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for _, c := range []byte(text) {
		if stays(c) {
			b.WriteByte(c)
		} else {
			b.Write([]byte{'%', hex[c>>4], hex[c&15]})
		}
	}
	return b.String()
}
