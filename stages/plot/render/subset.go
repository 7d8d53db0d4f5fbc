package render

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/wcharczuk/go-chart/v2/roboto"
)

// subset is a TrueType font with the glyphs that a page uses: 10 KB in place
// of 290 KB. Formats are those of the OpenType specification, version 1.9.
// Tables for kerning and ligatures are left out, since the layout has
// neither.
func subset(l *list) ([]byte, error) {
	fc, err := newFace()
	if err != nil {
		return nil, err
	}
	src, err := sfntTables(roboto.Roboto)
	if err != nil {
		return nil, err
	}
	var runes []rune
	for _, it := range l.items {
		if it.text != nil {
			runes = append(runes, []rune(it.text.S)...)
		}
	}
	slices.Sort(runes)
	runes = slices.Compact(runes)

	// New glyph i is old glyph ids[i]; 0 is the one for missing characters.
	ids := []uint16{0}
	index := func(id uint16) uint16 {
		if i := slices.Index(ids, id); i >= 0 {
			return uint16(i)
		}
		ids = append(ids, id)
		return uint16(len(ids) - 1)
	}
	to := make([]uint16, len(runes))
	for i, r := range runes {
		to[i] = index(uint16(fc.glyph(r)))
	}
	var glyf []byte
	loca := binary.BigEndian.AppendUint32(nil, 0)
	for i := 0; i < len(ids); i++ { // grows: composite glyphs bring their parts
		g := slices.Clone(glyphData(src, ids[i]))
		renumberParts(g, index)
		glyf = append(glyf, g...)
		for len(glyf)%4 != 0 {
			glyf = append(glyf, 0)
		}
		loca = binary.BigEndian.AppendUint32(loca, uint32(len(glyf)))
	}
	var hmtx []byte
	for _, id := range ids {
		hmtx = append(hmtx, metrics(src, id)...)
	}
	n := uint16(len(ids))
	maxp, hhea, head := slices.Clone(src["maxp"]), slices.Clone(src["hhea"]), slices.Clone(src["head"])
	binary.BigEndian.PutUint16(maxp[4:], n)
	binary.BigEndian.PutUint16(hhea[34:], n)
	binary.BigEndian.PutUint16(head[50:], 1) // long offsets in loca
	post := slices.Clone(src["post"][:32])
	binary.BigEndian.PutUint32(post, 0x00030000) // without glyph names
	return sfntFile(map[string][]byte{
		"OS/2": src["OS/2"], "cmap": cmap(runes, to), "glyf": glyf, "head": head, "hhea": hhea,
		"hmtx": hmtx, "loca": loca, "maxp": maxp, "name": src["name"], "post": post,
	}), nil
}

// sfntTables cuts a font file into its tables.
func sfntTables(b []byte) (map[string][]byte, error) {
	out := map[string][]byte{}
	n := int(binary.BigEndian.Uint16(b[4:]))
	for i := range n {
		d := b[12+16*i:]
		at, size := binary.BigEndian.Uint32(d[8:]), binary.BigEndian.Uint32(d[12:])
		out[string(d[:4])] = b[at : at+size]
	}
	for _, need := range []string{"OS/2", "glyf", "head", "hhea", "hmtx", "loca", "maxp", "name", "post"} {
		if out[need] == nil {
			return nil, fmt.Errorf("render: go-chart's Roboto has no table %q", need)
		}
	}
	return out, nil
}

func glyphData(src map[string][]byte, id uint16) []byte {
	loca := src["loca"]
	if binary.BigEndian.Uint16(src["head"][50:]) == 0 {
		i := 2 * int(id)
		return src["glyf"][2*int(binary.BigEndian.Uint16(loca[i:])) : 2*int(binary.BigEndian.Uint16(loca[i+2:]))]
	}
	i := 4 * int(id)
	return src["glyf"][binary.BigEndian.Uint32(loca[i:]):binary.BigEndian.Uint32(loca[i+4:])]
}

// renumberParts points the components of a composite glyph to their new
// places.
func renumberParts(g []byte, index func(uint16) uint16) {
	if len(g) < 12 || int16(binary.BigEndian.Uint16(g)) >= 0 {
		return
	}
	const wordArgs, scaled, more, scaledXY, twoByTwo = 0x1, 0x8, 0x20, 0x40, 0x80
	for i := 10; ; {
		flags := binary.BigEndian.Uint16(g[i:])
		binary.BigEndian.PutUint16(g[i+2:], index(binary.BigEndian.Uint16(g[i+2:])))
		i += 6
		if flags&wordArgs != 0 {
			i += 2
		}
		switch {
		case flags&scaled != 0:
			i += 2
		case flags&scaledXY != 0:
			i += 4
		case flags&twoByTwo != 0:
			i += 8
		}
		if flags&more == 0 {
			return
		}
	}
}

// metrics is a glyph's advance and left side bearing; the last advance counts
// for all glyphs behind it.
func metrics(src map[string][]byte, id uint16) []byte {
	hmtx := src["hmtx"]
	full := int(binary.BigEndian.Uint16(src["hhea"][34:]))
	if i := int(id); i >= full {
		at := 4*full + 2*(i-full)
		return []byte{hmtx[4*full-4], hmtx[4*full-3], hmtx[at], hmtx[at+1]}
	}
	return hmtx[4*int(id) : 4*int(id)+4]
}

// cmap maps runes, in order and all below 0xffff, to glyphs: format 4 with a
// segment for each rune.
func cmap(runes []rune, to []uint16) []byte {
	n := len(runes) + 1
	var ends, starts, deltas, offsets []byte
	u16 := binary.BigEndian.AppendUint16
	for i, r := range runes {
		ends, starts = u16(ends, uint16(r)), u16(starts, uint16(r))
		deltas, offsets = u16(deltas, to[i]-uint16(r)), u16(offsets, 0)
	}
	ends, starts, deltas, offsets = u16(ends, 0xffff), u16(starts, 0xffff), u16(deltas, 1), u16(offsets, 0)
	pow, log := 1, 0
	for pow*2 <= n {
		pow, log = pow*2, log+1
	}
	var t []byte
	for _, v := range []int{4, 16 + 8*n, 0, 2 * n, 2 * pow, log, 2 * (n - pow)} {
		t = u16(t, uint16(v))
	}
	t = slices.Concat(t, ends, []byte{0, 0}, starts, deltas, offsets)
	// One table, for Windows and Unicode's first plane.
	return append([]byte{0, 0, 0, 1, 0, 3, 0, 1, 0, 0, 0, 12}, t...)
}

// sfntFile puts tables together, in order of their names.
func sfntFile(tables map[string][]byte) []byte {
	names := make([]string, 0, len(tables))
	for n := range tables {
		names = append(names, n)
	}
	slices.Sort(names)
	pow, log := 1, 0
	for pow*2 <= len(names) {
		pow, log = pow*2, log+1
	}
	u16, u32 := binary.BigEndian.AppendUint16, binary.BigEndian.AppendUint32
	out := u32(nil, 0x00010000)
	for _, v := range []int{len(names), 16 * pow, log, 16 * (len(names) - pow)} {
		out = u16(out, uint16(v))
	}
	var body []byte
	var head int
	base := 12 + 16*len(names)
	for _, n := range names {
		t := slices.Clone(tables[n])
		if n == "head" {
			clear(t[8:12]) // the file's own checksum, set below
			head = base + len(body)
		}
		size := len(t)
		for len(t)%4 != 0 {
			t = append(t, 0)
		}
		out = append(out, n...)
		out = u32(u32(u32(out, checksum(t)), uint32(base+len(body))), uint32(size))
		body = append(body, t...)
	}
	out = append(out, body...)
	binary.BigEndian.PutUint32(out[head+8:], 0xb1b0afba-checksum(out))
	return out
}

// checksum is the sum of the words of a table, whose length is a multiple of
// four.
func checksum(b []byte) uint32 {
	var s uint32
	for ; len(b) >= 4; b = b[4:] {
		s += binary.BigEndian.Uint32(b)
	}
	return s
}
