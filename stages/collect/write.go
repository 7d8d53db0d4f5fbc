package collect

import (
	"fmt"
	"io"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"

	"vbp/stages/sample"
)

// A row group is held in memory while it is written or read, so it ends with
// the first part of groupPart rows at whose end it has groupRows rows or
// groupGaps gaps: some 15 MB. With groups of twice the size a point of a
// million requests takes a tenth more memory and 3 % less disk.
const (
	groupRows = 1 << 15
	groupGaps = 1 << 19
	groupPart = 1 << 9
)

// Rows are requests that come in parts: what a load.Measured is.
type Rows interface {
	Len() int
	// Table returns rows [from, to) as a table. Its Meta does not matter.
	Table(from, to int) (*sample.Table, error)
}

// tableRows are the rows of a table.
type tableRows struct{ t *sample.Table }

func (r tableRows) Len() int { return r.t.Len() }

func (r tableRows) Table(from, to int) (*sample.Table, error) { return r.t.Slice(from, to), nil }

// WriteSamples writes t as WriteRows does.
func WriteSamples(path string, t *sample.Table) error {
	if err := t.Check(); err != nil {
		return fmt.Errorf("collect: writing %s: %w", path, err)
	}
	return WriteRows(path, t.Meta, tableRows{t})
}

// WriteRows writes rows to path as one Parquet file, whole or not at all, and
// asks for them in order, few at a time, so that memory does not grow with
// their number. Folders are made as needed. Columns are those of the package's
// table, absent values null, m in the footer; ReadSamples returns an equal
// table, but that bytes of texts that are not UTF-8 come back as U+FFFD. Equal
// rows give equal bytes as long as the Parquet library is the same.
func WriteRows(path string, m sample.Meta, rows Rows) error {
	keys, values, err := footer(m)
	if err != nil {
		return fmt.Errorf("collect: writing %s: %w", path, err)
	}
	fields := make([]arrow.Field, len(columns))
	for i, c := range columns {
		fields[i] = arrow.Field{Name: c.name, Type: c.kind(), Nullable: true}
	}
	metadata := arrow.NewMetadata(keys, values)
	return publish(path, func(w io.Writer) error {
		s := newSums(stored())
		group := func(b *array.RecordBuilder) (n int, err error) {
			for gaps := 0; s.rows < rows.Len() && n < groupRows && gaps < groupGaps; {
				from := s.rows
				t, err := part(rows, from, min(from+groupPart, rows.Len()), m)
				if err != nil {
					return n, err
				}
				for i := range columns {
					columns[i].put(b.Field(i), t, 0, t.Len())
				}
				for _, g := range t.Gaps {
					gaps += len(g)
				}
				s.add(t)
				n += t.Len()
			}
			return n, nil
		}
		return writeParquet(w, arrow.NewSchema(fields, &metadata), group, func() (string, string) {
			return keyChecksum, s.text(keys, values)
		})
	})
}

// part is rows [from, to), if they can be written, with the metadata of all.
func part(rows Rows, from, to int, m sample.Meta) (*sample.Table, error) {
	got, err := rows.Table(from, to)
	if err != nil {
		return nil, fmt.Errorf("rows %d to %d: %w", from, to-1, err)
	}
	t := *got // the metadata of who gave it is not ours to change
	t.Meta = m
	if err := t.Check(); err != nil {
		return nil, err
	}
	if t.Len() != to-from {
		return nil, fmt.Errorf("rows %d to %d are %d rows", from, to-1, t.Len())
	}
	for i, v := range t.Fallback {
		if v != 0 && v != 1 && v != sample.Absent {
			return nil, fmt.Errorf("row %d: fallback is %d, not 0, 1 or absent", from+i, v)
		}
	}
	return &t, nil
}

// writeParquet writes row groups until there are none: group appends the rows
// of the next one to the builder's fields, and returns how many these are. last
// is asked at the end for a further key of the metadata and its value; it may
// be nil.
//
// Whole numbers are delta packed: instants rise, gaps are alike. Texts have
// dictionaries, for few differ; dictionaries of measured numbers would hold
// each value once and save nothing. Compression is zstd's fastest: the usual
// level saves 3 % more, and its windows take 16 MB each, of which the library
// has several.
func writeParquet(w io.Writer, schema *arrow.Schema, group func(b *array.RecordBuilder) (int, error), last func() (key, value string)) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the Parquet library gave up: %v", p)
		}
	}()
	options := []parquet.WriterProperty{
		parquet.WithCompression(compress.Codecs.Zstd),
		parquet.WithCompressionLevel(1),
		parquet.WithDictionaryDefault(false),
		parquet.WithMaxRowGroupLength(groupRows),
	}
	for _, f := range schema.Fields() {
		switch f.Type.ID() {
		case arrow.STRING:
			options = append(options, parquet.WithDictionaryFor(f.Name, true))
		case arrow.INT64:
			options = append(options, parquet.WithEncodingFor(f.Name, parquet.Encodings.DeltaBinaryPacked))
		case arrow.LIST:
			options = append(options, parquet.WithEncodingFor(f.Name+".list.element", parquet.Encodings.DeltaBinaryPacked))
		}
	}
	out, err := pqarrow.NewFileWriter(schema, w, parquet.NewWriterProperties(options...), pqarrow.DefaultWriterProps())
	if err != nil {
		return err
	}
	b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	defer b.Release()
	for {
		n, err := group(b)
		if err != nil {
			return err
		}
		if n == 0 {
			break
		}
		record := b.NewRecordBatch()
		err = out.Write(record)
		record.Release()
		if err != nil {
			return err
		}
	}
	if last != nil {
		if err := out.AppendKeyValueMetadata(last()); err != nil {
			return err
		}
	}
	return out.Close()
}
