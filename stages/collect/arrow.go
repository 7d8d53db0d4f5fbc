package collect

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"vbp/stages/sample"
)

// ArrowSchema names the layout of an Arrow file of a whole run.
const ArrowSchema = "vbp.arrow/v1"

// Keys of an Arrow file's metadata beside those of a samples file.
const (
	keyRun    = "vbp.run"    // what the points' run was, as JSON
	keyPoints = "vbp.points" // a JSON list: metadata and verdict of each point
)

// pointColumn is the column that says which of keyPoints a row belongs to.
const pointColumn = "point"

// WriteArrow writes points as one Arrow IPC file (Feather version 2), not
// compressed, so that it can be mapped into memory: one row a request, the
// axes as columns (qps as double, repeat as int64, others as text), then the
// columns of a samples file, then the number of the row's point. Metadata keys
// of the samples files stand in the schema's metadata where all points agree;
// vbp.points holds those of each point. run may be nil.
func WriteArrow(path string, points []Judged, run *Run) error {
	if err := checkAll(points); err != nil {
		return fmt.Errorf("collect: writing %s: %w", path, err)
	}
	axes := axisColumns(points)
	schema, err := arrowSchema(axes, points, run)
	if err != nil {
		return fmt.Errorf("collect: writing %s: %w", path, err)
	}
	return publish(path, func(w io.Writer) error {
		var file bytes.Buffer
		if err := writeArrow(&file, schema, axes, points); err != nil {
			return err
		}
		if err := seal(file.Bytes()); err != nil {
			return err
		}
		_, err := w.Write(file.Bytes())
		return err
	})
}

// checkAll tells what keeps points from being written.
func checkAll(points []Judged) error {
	for i, p := range points {
		if err := p.Table.Check(); err != nil {
			return fmt.Errorf("point %d: %w", i, err)
		}
	}
	return nil
}

func writeArrow(w io.Writer, schema *arrow.Schema, axes []axisColumn, points []Judged) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the Arrow library gave up: %v", p)
		}
	}()
	out, err := ipc.NewFileWriter(w, ipc.WithSchema(schema), ipc.WithAllocator(memory.DefaultAllocator))
	if err != nil {
		return err
	}
	b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	defer b.Release()
	for i, p := range points {
		for from := 0; from < p.Table.Len(); from += groupRows {
			to := min(p.Table.Len(), from+groupRows)
			for j, a := range axes {
				a.put(b.Field(j), p.Table, to-from)
			}
			for j := range columns {
				columns[j].put(b.Field(len(axes)+j), p.Table, from, to)
			}
			number := b.Field(len(axes) + len(columns)).(*array.Int32Builder)
			for range to - from {
				number.Append(int32(i))
			}
			record := b.NewRecordBatch()
			err := out.Write(record)
			record.Release()
			if err != nil {
				return err
			}
		}
	}
	return out.Close()
}

// arrowSchema is the fields and the metadata.
func arrowSchema(axes []axisColumn, points []Judged, run *Run) (*arrow.Schema, error) {
	var fields []arrow.Field
	for _, a := range axes {
		fields = append(fields, arrow.Field{Name: a.column, Type: a.kind, Nullable: true})
	}
	for _, c := range columns {
		fields = append(fields, arrow.Field{Name: c.name, Type: c.kind(), Nullable: true})
	}
	fields = append(fields, arrow.Field{Name: pointColumn, Type: arrow.PrimitiveTypes.Int32})

	var order []string
	shared := make(map[string]string)
	list := make([]json.RawMessage, len(points))
	for i, p := range points {
		var m members
		keys, values := exactMeta(&m, p)
		var err error
		if list[i], err = m.object(); err != nil {
			return nil, fmt.Errorf("point %d: %w", i, err)
		}
		has := make(map[string]string)
		for j, k := range keys {
			has[k] = values[j]
			if i == 0 && k != keySchema {
				order, shared[k] = append(order, k), values[j]
			}
		}
		for k, v := range shared {
			if has[k] != v {
				delete(shared, k)
			}
		}
	}
	keys, values := []string{keySchema}, []string{ArrowSchema}
	for _, k := range order {
		if v, ok := shared[k]; ok {
			keys, values = append(keys, k), append(values, v)
		}
	}
	about, all := marshal(run), marshal(list)
	if err := errors.Join(about.err, all.err); err != nil {
		return nil, err
	}
	metadata := arrow.NewMetadata(append(keys, keyRun, keyPoints, keySeal), append(values, string(about.text), string(all.text), sealMark+sealBlank))
	return arrow.NewSchema(fields, &metadata), nil
}

// axisColumn is an axis of some point as a column of all.
type axisColumn struct {
	axis   string
	column string // the axis's name, unless a column of the samples has it
	kind   arrow.DataType
}

// axisColumns are the axes of all points, in the order in which they are
// first seen.
func axisColumns(points []Judged) []axisColumn {
	var out []axisColumn
	taken := map[string]bool{pointColumn: true}
	for _, c := range columns {
		taken[c.name] = true
	}
	seen := make(map[string]bool)
	for _, p := range points {
		for _, a := range p.Table.Meta.Axes {
			if seen[a.Name] {
				continue
			}
			seen[a.Name] = true
			c := axisColumn{axis: a.Name, column: valid(a.Name), kind: axisKind(points, a.Name)}
			for taken[c.column] {
				c.column = "axis." + c.column
			}
			taken[c.column] = true
			out = append(out, c)
		}
	}
	return out
}

// axisKind is the type of an axis's column: a number for qps and repeat, if
// all values are.
func axisKind(points []Judged, name string) arrow.DataType {
	parse, kind := axisParser(name)
	for _, p := range points {
		if v, ok := p.Table.Meta.Axis(name); ok && parse(v) != nil {
			return arrow.BinaryTypes.String
		}
	}
	return kind
}

func axisParser(name string) (func(string) error, arrow.DataType) {
	switch name {
	case "qps":
		return func(v string) error { _, err := strconv.ParseFloat(v, 64); return err }, arrow.PrimitiveTypes.Float64
	case "repeat":
		return func(v string) error { _, err := strconv.ParseInt(v, 10, 64); return err }, arrow.PrimitiveTypes.Int64
	}
	return func(string) error { return nil }, arrow.BinaryTypes.String
}

// put appends the axis of a point n times; one that does not apply is null.
func (a *axisColumn) put(b array.Builder, t *sample.Table, n int) {
	text, ok := t.Meta.Axis(a.axis)
	for range n {
		switch b := b.(type) {
		case *array.Float64Builder:
			if v, err := strconv.ParseFloat(text, 64); ok && err == nil {
				b.Append(v)
				continue
			}
		case *array.Int64Builder:
			if v, err := strconv.ParseInt(text, 10, 64); ok && err == nil {
				b.Append(v)
				continue
			}
		case *array.StringBuilder:
			if ok {
				b.Append(valid(text))
				continue
			}
		}
		b.AppendNull()
	}
}

// errNotOurs marks an Arrow file that vbp did not write.
var errNotOurs = errors.New("it was not exported by vbp")

// isArrow tells whether a file's name says that it is an Arrow file.
func isArrow(file string) bool {
	ext := filepath.Ext(file)
	return ext == ".arrow" || ext == ".feather"
}

// openArrow reads the points of a file that WriteArrow wrote, in its order.
func openArrow(file string) ([]Loaded, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	points, run, err := readArrow(data)
	if err != nil {
		return nil, err
	}
	if len(points) == 0 {
		return nil, errors.New("it holds no point")
	}
	out := make([]Loaded, len(points))
	for i, p := range points {
		out[i] = Loaded{
			File: file + "#" + strconv.Itoa(i+1), Table: p.Table, Exact: true, Valid: p.Valid, Reason: p.Reason, Run: run,
		}
	}
	return out, nil
}

// readArrow reads the content of a file, which it alters.
func readArrow(data []byte) (points []Judged, run *Run, err error) {
	if !bytes.HasPrefix(data, ipc.Magic) || !bytes.HasSuffix(data, ipc.Magic) {
		return nil, nil, errors.New("it is not a whole Arrow IPC file: copy it again or export the run again")
	}
	if err := unseal(data); err != nil {
		if errors.Is(err, errUnsealed) {
			return nil, nil, errNotOurs
		}
		return nil, nil, err
	}
	defer func() { // the Arrow library reports some damage by panicking
		if p := recover(); p != nil {
			err = fmt.Errorf("it is damaged: %v", p)
		}
	}()
	in, err := ipc.NewFileReader(bytes.NewReader(data), ipc.WithAllocator(memory.DefaultAllocator))
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	points, sums, run, err := readArrowMeta(in.Schema().Metadata())
	if err != nil {
		return nil, nil, err
	}
	at, number, err := columnsIn(in.Schema())
	if err != nil {
		return nil, nil, err
	}
	for i := range in.NumRecords() {
		record, err := in.RecordBatch(i)
		if err != nil {
			return nil, nil, fmt.Errorf("it is damaged: %w", err)
		}
		if err := takeRecord(record, at, number, points); err != nil {
			return nil, nil, err
		}
	}
	for i, p := range points {
		if err := whole(p.Table, sums[i]); err != nil {
			return nil, nil, fmt.Errorf("it is damaged at point %d: %w; export the run again", i, err)
		}
	}
	return points, run, nil
}

// readArrowMeta reads the metadata: points without rows, and their checksums.
func readArrowMeta(m arrow.Metadata) (points []Judged, sums []string, run *Run, err error) {
	value := func(key string) string {
		if i := m.FindKey(key); i >= 0 {
			return m.Values()[i]
		}
		return ""
	}
	if s := value(keySchema); s != ArrowSchema {
		if s == "" {
			return nil, nil, nil, errNotOurs
		}
		return nil, nil, nil, fmt.Errorf("it has layout %q, this vbp reads %q: read it with the vbp that wrote it", s, ArrowSchema)
	}
	var list []map[string]json.RawMessage
	if err := json.Unmarshal([]byte(value(keyPoints)), &list); err != nil {
		return nil, nil, nil, fmt.Errorf("its metadata is damaged at %s: %w", keyPoints, err)
	}
	if err := json.Unmarshal([]byte(value(keyRun)), &run); err != nil {
		return nil, nil, nil, fmt.Errorf("its metadata is damaged at %s: %w", keyRun, err)
	}
	for i, object := range list {
		p, sum, err := readExactMeta(object)
		if err != nil {
			return nil, nil, nil, fmt.Errorf("its metadata is damaged at point %d: %w", i, err)
		}
		points, sums = append(points, p), append(sums, sum)
	}
	return points, sums, run, nil
}

// columnsIn finds the samples' columns in a schema, and the number of the
// point.
func columnsIn(s *arrow.Schema) (at []int, number int, err error) {
	find := func(name string, kind arrow.DataType) int {
		i := slices.IndexFunc(s.Fields(), func(f arrow.Field) bool { return f.Name == name })
		switch {
		case i < 0:
			err = errors.Join(err, fmt.Errorf("it has no column %s", name))
		case !arrow.TypeEqual(s.Field(i).Type, kind):
			err = errors.Join(err, fmt.Errorf("its column %s is %v, not %v", name, s.Field(i).Type, kind))
		}
		return i
	}
	for i := range columns {
		at = append(at, find(columns[i].name, columns[i].kind()))
	}
	number = find(pointColumn, arrow.PrimitiveTypes.Int32)
	return at, number, err
}

// takeRecord appends the rows of a record to the points that they belong to.
func takeRecord(record arrow.RecordBatch, at []int, number int, points []Judged) error {
	of := record.Column(number).(*array.Int32)
	for from := 0; from < of.Len(); {
		n := of.Value(from)
		if of.IsNull(from) || n < 0 || int(n) >= len(points) {
			return fmt.Errorf("it is damaged: a row belongs to point %d of %d", n, len(points))
		}
		to := from + 1
		for to < of.Len() && of.IsValid(to) && of.Value(to) == n {
			to++
		}
		for i := range columns {
			if c := &columns[i]; c.derived == nil {
				part := array.NewSlice(record.Column(at[i]), int64(from), int64(to))
				c.take(part, points[n].Table)
				part.Release()
			}
		}
		from = to
	}
	return nil
}
