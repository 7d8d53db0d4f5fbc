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

// groupRows is the length of a row group: large enough to compress well, and
// small enough that 2^31 gaps in one, the limit of a list column, would take
// 16,000 tokens in every request.
const groupRows = 1 << 17

// WriteSamples writes t to path as one Parquet file, whole or not at all.
// Folders are made as needed. Columns are those of the package's table, absent
// values null, t.Meta in the footer; ReadSamples returns an equal table, but that bytes of
// texts that are not UTF-8 come back as U+FFFD. Equal
// tables give equal bytes as long as the Parquet library is the same.
func WriteSamples(path string, t *sample.Table) error {
	if err := t.Check(); err != nil {
		return fmt.Errorf("collect: writing %s: %w", path, err)
	}
	for i, v := range t.Fallback {
		if v != 0 && v != 1 && v != sample.Absent {
			return fmt.Errorf("collect: writing %s: row %d: fallback is %d, not 0, 1 or absent", path, i, v)
		}
	}
	keys, values, err := footer(t.Meta)
	if err != nil {
		return fmt.Errorf("collect: writing %s: %w", path, err)
	}
	fields := make([]arrow.Field, len(columns))
	for i, c := range columns {
		fields[i] = arrow.Field{Name: c.name, Type: c.kind(), Nullable: true}
	}
	sum := checksum(t, keys, values)
	metadata := arrow.NewMetadata(append(keys, keyChecksum), append(values, sum))
	return publish(path, func(w io.Writer) error {
		return writeParquet(w, arrow.NewSchema(fields, &metadata), t.Len(), func(b *array.RecordBuilder, from, to int) {
			for i := range columns {
				columns[i].put(b.Field(i), t, from, to)
			}
		})
	})
}

// writeParquet writes n rows; fill appends rows [from, to) to the builder's
// fields. Whole numbers are delta packed: instants rise, gaps are alike. Texts
// have dictionaries, for few differ; dictionaries of measured numbers would
// hold each value once and save nothing.
func writeParquet(w io.Writer, schema *arrow.Schema, n int, fill func(b *array.RecordBuilder, from, to int)) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the Parquet library gave up: %v", p)
		}
	}()
	options := []parquet.WriterProperty{
		parquet.WithCompression(compress.Codecs.Zstd),
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
	for from := 0; from < n; from += groupRows {
		fill(b, from, min(n, from+groupRows))
		record := b.NewRecordBatch()
		err := out.Write(record)
		record.Release()
		if err != nil {
			return err
		}
	}
	return out.Close()
}
