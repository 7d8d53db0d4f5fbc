package collect

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"

	"vbp/stages/sample"
)

// WriteCSV writes points as one CSV file after RFC 4180: a header, one line a
// request, the axes as columns, then the columns of a samples file with units
// in their names. What is absent is empty. gaps_us is a JSON list in one cell.
// Metadata of points, verdicts and facts have no place in it.
func WriteCSV(path string, points []Judged) error {
	if err := checkAll(points); err != nil {
		return fmt.Errorf("collect: writing %s: %w", path, err)
	}
	return publish(path, func(w io.Writer) error { return writeCSV(w, points) })
}

func writeCSV(w io.Writer, points []Judged) error {
	out := bufio.NewWriter(w)
	axes := axisColumns(points)
	var cells []string
	for _, a := range axes {
		cells = append(cells, a.column)
	}
	for _, c := range columns {
		cells = append(cells, c.name)
	}
	writeLine(out, cells)
	for _, p := range points {
		for i := range p.Table.Len() {
			cells = cells[:0]
			for _, a := range axes {
				v, _ := p.Table.Meta.Axis(a.axis)
				cells = append(cells, valid(v))
			}
			for j := range columns {
				cells = append(cells, columns[j].cell(p.Table, i))
			}
			writeLine(out, cells)
		}
	}
	return out.Flush()
}

// cell is the value of row i as text; "" if it is absent.
func (c *column) cell(t *sample.Table, i int) string {
	whole := func(v int64) string {
		if v == sample.Absent {
			return ""
		}
		return strconv.FormatInt(v, 10)
	}
	switch {
	case c.text != nil:
		return valid((*c.text(t))[i])
	case c.whole != nil:
		return whole((*c.whole(t))[i])
	case c.flag != nil:
		switch (*c.flag(t))[i] {
		case sample.Absent:
			return ""
		case 0:
			return "false"
		}
		return "true"
	case c.gaps != nil:
		if v := (*c.gaps(t))[i]; v != nil {
			b, _ := json.Marshal(v) // whole numbers always marshal
			return string(b)
		}
		return ""
	}
	v := c.number(t, i)
	if math.IsNaN(v) {
		return ""
	}
	return strconv.FormatFloat(v, 'g', -1, 64)
}

// writeLine writes one record; out keeps its first error. encoding/csv would
// change line breaks inside of cells.
func writeLine(out *bufio.Writer, cells []string) {
	for i, c := range cells {
		if i > 0 {
			out.WriteByte(',')
		}
		if strings.ContainsAny(c, ",\"\r\n") || strings.TrimSpace(c) != c {
			c = `"` + strings.ReplaceAll(c, `"`, `""`) + `"`
		}
		out.WriteString(c)
	}
	out.WriteString("\r\n")
}
