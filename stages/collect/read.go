package collect

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"

	"vbp/stages/sample"
)

// ReadSamples reads a file that WriteRows wrote. Columns that it does not know
// are passed over. A file that is cut off, damaged or not vbp's is an error
// that says so.
func ReadSamples(path string) (*sample.Table, error) { return readFile(path, stored()) }

// ReadColumns reads only the named columns, by their names in the file such as
// ttft_s, and holds them and the metadata against their checksums; without
// names it reads the metadata alone. In the table all other columns have as
// many values, each of them absent, which share memory and must not be changed.
// Columns that are derived from others, and names that no column has, are
// errors; so is all that is one to ReadSamples, as far as it is read.
func ReadColumns(path string, names ...string) (*sample.Table, error) {
	var want []*column
	all := stored()
	for _, c := range all {
		if slices.Contains(names, c.name) {
			want = append(want, c)
		}
	}
	for _, name := range names {
		if !slices.ContainsFunc(all, func(c *column) bool { return c.name == name }) {
			var known []string
			for _, c := range all {
				known = append(known, c.name)
			}
			return nil, fmt.Errorf("collect: reading %s: no column %q can be read; there are %s", path, name, strings.Join(known, ", "))
		}
	}
	return readFile(path, want)
}

// readFile reads columns of a file, in the order in which they are stored.
func readFile(path string, want []*column) (t *sample.Table, err error) {
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
	t, sum, err := readMeta(r)
	if err != nil {
		return nil, err
	}
	// The footer's checksum has held: so many rows there were.
	n := int(r.NumRows())
	var absent absences
	for _, c := range stored() {
		if slices.Contains(want, c) {
			c.reserve(t, n)
		} else {
			absent.fill(c, t, n)
		}
	}
	if len(want) > 0 {
		if err := readGroups(r, want, t); err != nil {
			return nil, err
		}
	}
	if err := t.Check(); err != nil {
		return nil, fmt.Errorf("it is damaged: %w", err)
	}
	s := newSums(want)
	s.add(t)
	if err := s.check(sum); err != nil {
		return nil, fmt.Errorf("it is damaged: %w", err)
	}
	return t, nil
}

// readMeta reads the footer into a table without rows, holds it against its
// checksum, and returns those of the columns.
func readMeta(r *file.Reader) (t *sample.Table, sum map[string]string, err error) {
	kv := r.MetaData().KeyValueMetadata()
	value := func(key string) (string, bool) {
		if v := kv.FindValue(key); v != nil {
			return *v, true
		}
		return "", false
	}
	t = &sample.Table{}
	if t.Meta, err = meta(value); err != nil {
		return nil, nil, err
	}
	keys, values, err := footer(t.Meta)
	if err != nil {
		return nil, nil, err
	}
	text, _ := value(keyChecksum)
	sum = parseSums(text)
	if err := checkFooter(sum, keys, values, int(r.NumRows())); err != nil {
		return nil, nil, fmt.Errorf("it is damaged: %w", err)
	}
	return t, sum, nil
}

// readGroups appends what the row groups hold of the columns, one group at a
// time: what the library makes of all would be in memory beside the table.
func readGroups(r *file.Reader, want []*column, t *sample.Table) error {
	reader, err := pqarrow.NewFileReader(r, pqarrow.ArrowReadProperties{}, memory.DefaultAllocator)
	if err != nil {
		return err
	}
	leaves, err := leavesOf(r, reader, want)
	if err != nil {
		return err
	}
	for g := range r.NumRowGroups() {
		data, err := reader.ReadRowGroups(context.Background(), leaves, []int{g})
		if err != nil {
			return fmt.Errorf("it is damaged: %w", err)
		}
		for _, c := range want {
			at := data.Schema().FieldIndices(c.name)
			for _, chunk := range data.Column(at[0]).Data().Chunks() {
				c.take(chunk, t)
			}
		}
		data.Release()
	}
	return nil
}

// leavesOf finds the columns in a file: their numbers among its leaves.
func leavesOf(r *file.Reader, reader *pqarrow.FileReader, want []*column) ([]int, error) {
	schema, err := reader.Schema()
	if err != nil {
		return nil, err
	}
	var leaves []int
	for _, c := range want {
		at := schema.FieldIndices(c.name)
		if len(at) == 0 {
			return nil, fmt.Errorf("it has no column %s", c.name)
		}
		if len(at) > 1 {
			return nil, fmt.Errorf("it has %d columns named %s", len(at), c.name)
		}
		if kind := schema.Field(at[0]).Type; !arrow.TypeEqual(kind, c.kind()) {
			return nil, fmt.Errorf("its column %s is %v, not %v", c.name, kind, c.kind())
		}
		of := r.MetaData().Schema
		for i := range of.NumColumns() {
			if path := of.Column(i).ColumnPath(); len(path) > 0 && path[0] == c.name {
				leaves = append(leaves, i)
			}
		}
	}
	return leaves, nil
}
