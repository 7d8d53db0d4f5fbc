package collect

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"

	"vbp/stages/sample"
)

// keyChecksum holds a checksum of everything else in the footer and of all
// rows. Parquet's own compression notices most damage, but not a changed fact
// or a changed value in a page header.
const keyChecksum = "vbp.crc32c"

// checksum is the CRC-32C of a table's stored columns and its footer, as text.
// It is over values, so it does not depend on how a library packs them.
func checksum(t *sample.Table, keys, values []string) string {
	h := crc32.New(crc32.MakeTable(crc32.Castagnoli))
	buf := make([]byte, 0, 1<<16)
	spill := func() { h.Write(buf); buf = buf[:0] } // a hash's Write never fails
	room := func() {
		if cap(buf)-len(buf) < 8 {
			spill()
		}
	}
	long := func(v uint64) { room(); buf = binary.LittleEndian.AppendUint64(buf, v) }
	text := func(s string) {
		long(uint64(len(s)))
		spill()
		h.Write([]byte(s))
	}
	for i := range keys {
		text(keys[i])
		text(values[i])
	}
	for i := range columns {
		c := &columns[i]
		switch {
		case c.text != nil:
			for _, v := range *c.text(t) {
				text(valid(v))
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
					room()
					buf = binary.LittleEndian.AppendUint32(buf, uint32(v))
				}
			}
		}
	}
	spill()
	return fmt.Sprintf("%08x", h.Sum32())
}
