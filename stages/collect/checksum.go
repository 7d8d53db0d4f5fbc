package collect

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"strings"

	"vbp/stages/sample"
)

// keyChecksum holds checksums of everything else in the footer and of each
// column. Parquet's own compression notices most damage, but not a changed fact
// or a changed value in a page header.
const keyChecksum = "vbp.crc32c"

// footerSum is what the checksum of the footer, and of how many rows it is
// about, is called among those of the columns.
const footerSum = "footer"

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// sums are CRC-32C checksums of columns, one for each, so that rows can come in
// parts and some columns can be held against theirs without the others. They
// are over values, so they do not depend on how a library packs them.
type sums struct {
	columns []*column
	crc     []uint32 // of each column
	rows    int
	buf     []byte
}

// stored are the columns that are not derived from others.
func stored() []*column {
	var out []*column
	for i := range columns {
		if columns[i].derived == nil {
			out = append(out, &columns[i])
		}
	}
	return out
}

func newSums(of []*column) *sums {
	return &sums{columns: of, crc: make([]uint32, len(of)), buf: make([]byte, 0, 1<<16)}
}

// add counts further rows in.
func (s *sums) add(t *sample.Table) {
	s.rows += t.Len()
	for i, c := range s.columns {
		s.crc[i] = s.column(s.crc[i], c, t)
	}
}

// column is crc with the values of a column added.
func (s *sums) column(crc uint32, c *column, t *sample.Table) uint32 {
	buf := s.buf[:0]
	spill := func() { crc, buf = crc32.Update(crc, castagnoli, buf), buf[:0] }
	long := func(v uint64) {
		if cap(buf)-len(buf) < 8 {
			spill()
		}
		buf = binary.LittleEndian.AppendUint64(buf, v)
	}
	switch {
	case c.text != nil:
		for _, v := range *c.text(t) {
			v = valid(v)
			long(uint64(len(v)))
			if cap(buf)-len(buf) < len(v) {
				spill()
			}
			if buf = append(buf, v...); cap(buf) > 2*cap(s.buf) { // a long error
				spill()
				buf = s.buf[:0]
			}
		}
	case c.whole != nil || c.flag != nil:
		get := c.whole
		if get == nil {
			get = c.flag
		}
		for _, v := range *get(t) {
			long(uint64(v))
		}
	case c.real != nil:
		for _, v := range *c.real(t) {
			if math.IsNaN(v) { // there are many, and null is one
				v = math.NaN()
			}
			long(math.Float64bits(v))
		}
	case c.gaps != nil:
		for _, gaps := range *c.gaps(t) {
			n := uint64(len(gaps))
			if gaps == nil {
				n = math.MaxUint64
			}
			long(n)
			for _, v := range gaps {
				if cap(buf)-len(buf) < 4 {
					spill()
				}
				buf = binary.LittleEndian.AppendUint32(buf, uint32(v))
			}
		}
	}
	spill()
	return crc
}

// text is all sums as they stand in a footer: footer:0badcafe request_id:... .
func (s *sums) text(keys, values []string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s:%08x", footerSum, footerCRC(keys, values, s.rows))
	for i, c := range s.columns {
		fmt.Fprintf(&b, " %s:%08x", c.name, s.crc[i])
	}
	return b.String()
}

// footerCRC is the checksum of a footer and of the number of its rows.
func footerCRC(keys, values []string, rows int) uint32 {
	var b []byte
	text := func(s string) { b = append(binary.LittleEndian.AppendUint64(b, uint64(len(s))), s...) }
	for i := range keys {
		text(keys[i])
		text(values[i])
	}
	return crc32.Checksum(binary.LittleEndian.AppendUint64(b, uint64(rows)), castagnoli)
}

// parseSums reads what text wrote: the sum of each name, as digits.
func parseSums(text string) map[string]string {
	out := make(map[string]string)
	for _, part := range strings.Fields(text) {
		name, digits, _ := strings.Cut(part, ":")
		out[name] = digits
	}
	return out
}

// errSum is the error of content that is not what was written.
var errSum = errors.New("its content does not match its checksum")

// checkFooter holds a footer and its number of rows against their sum.
func checkFooter(want map[string]string, keys, values []string, rows int) error {
	if want[footerSum] != fmt.Sprintf("%08x", footerCRC(keys, values, rows)) {
		return fmt.Errorf("%w at its metadata", errSum)
	}
	return nil
}

// check holds the columns against their sums.
func (s *sums) check(want map[string]string) error {
	for i, c := range s.columns {
		if want[c.name] != fmt.Sprintf("%08x", s.crc[i]) {
			return fmt.Errorf("%w at column %s", errSum, c.name)
		}
	}
	return nil
}

// checksum is one sum of a whole table and its footer, for files that are read
// as a whole.
func checksum(t *sample.Table, keys, values []string) string {
	s := newSums(stored())
	s.add(t)
	return fmt.Sprintf("%08x", crc32.Checksum([]byte(s.text(keys, values)), castagnoli))
}
