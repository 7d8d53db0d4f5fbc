package collect

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"

	"vbp/stages/sample"
)

// ReadSamples reads a file that WriteSamples wrote. Columns that it does not
// know are passed over. A file that is cut off, damaged or not vbp's is an
// error that says so.
func ReadSamples(path string) (t *sample.Table, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("collect: reading samples: %w", err)
	}
	defer f.Close()
	// The Parquet library reports some damage by panicking, always in the
	// goroutine that reads: columns are not read in parallel here.
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("it is damaged: %v", p)
		}
		if err != nil {
			t, err = nil, fmt.Errorf("collect: reading %s: %w; remove it and measure the point again", path, err)
		}
	}()
	r, err := file.NewParquetReader(f)
	if err != nil {
		return nil, fmt.Errorf("it is not a whole Parquet file: %w", err)
	}
	t = &sample.Table{}
	kv := r.MetaData().KeyValueMetadata()
	value := func(key string) (string, bool) {
		if v := kv.FindValue(key); v != nil {
			return *v, true
		}
		return "", false
	}
	if t.Meta, err = meta(value); err != nil {
		return nil, err
	}
	reader, err := pqarrow.NewFileReader(r, pqarrow.ArrowReadProperties{}, memory.DefaultAllocator)
	if err != nil {
		return nil, err
	}
	schema, err := reader.Schema()
	if err != nil {
		return nil, err
	}
	for _, c := range columns {
		i := slices.IndexFunc(schema.Fields(), func(f arrow.Field) bool { return f.Name == c.name })
		if i < 0 {
			return nil, fmt.Errorf("it has no column %s", c.name)
		}
		if kind := schema.Field(i).Type; !arrow.TypeEqual(kind, c.kind()) {
			return nil, fmt.Errorf("its column %s is %v, not %v", c.name, kind, c.kind())
		}
	}
	data, err := reader.ReadTable(context.Background())
	if err != nil {
		return nil, fmt.Errorf("it is damaged: %w", err)
	}
	defer data.Release()
	for i := range columns {
		c := &columns[i]
		if c.derived != nil {
			continue
		}
		at := data.Schema().FieldIndices(c.name)
		if len(at) != 1 {
			return nil, fmt.Errorf("it has %d columns named %s", len(at), c.name)
		}
		for _, chunk := range data.Column(at[0]).Data().Chunks() {
			c.take(chunk, t)
		}
	}
	if err := t.Check(); err != nil {
		return nil, fmt.Errorf("it is damaged: %w", err)
	}
	keys, values, err := footer(t.Meta)
	if err != nil {
		return nil, err
	}
	if sum, _ := value(keyChecksum); sum != checksum(t, keys, values) {
		return nil, errors.New("it is damaged: its content does not match its checksum")
	}
	return t, nil
}
