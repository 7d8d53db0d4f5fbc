package load

import (
	"encoding/binary"
	"errors"
	"math"

	"vbp/stages/sample"
)

// A row is kept as few bytes, since a point may have millions: the number of
// its request, which says its id and when it was scheduled; one bit for each
// value that is there; and those that are. Whole numbers are varints, instants
// as differences to the one before, doubles their eight bytes, texts their
// length and bytes. TTFT and TPOT follow from the rest (sample.Outcome.Derive).

// Bits of a row: which values are there.
const (
	hasPromptTokens = 1 << iota
	hasOutputTokens
	hasSent
	hasFirstEvent
	hasFirstToken
	hasLastToken
	hasSlotWait
	hasE2E
	hasGaps
	hasStatus
	hasPrefillTime
	hasFallback
	hasTexts // an error or instances: seldom
)

// appendRow appends the row of request i, scheduled then, to b.
func appendRow(b []byte, i int, scheduled int64, o *sample.Outcome) []byte {
	var bits uint64
	set := func(bit uint64, there bool) bool {
		if there {
			bits |= bit
		}
		return there
	}
	set(hasPromptTokens, o.PromptTokens != sample.Absent)
	set(hasOutputTokens, o.OutputTokens != sample.Absent)
	set(hasSent, o.Sent != sample.Absent)
	set(hasFirstEvent, o.FirstEvent != sample.Absent)
	set(hasFirstToken, o.FirstToken != sample.Absent)
	set(hasLastToken, o.LastToken != sample.Absent)
	set(hasSlotWait, !math.IsNaN(o.SlotWait))
	set(hasE2E, !math.IsNaN(o.E2E))
	set(hasGaps, o.Gaps != nil)
	set(hasStatus, o.Status != sample.Absent)
	set(hasPrefillTime, !math.IsNaN(o.PrefillTime))
	set(hasFallback, o.Fallback != sample.Absent)
	set(hasTexts, o.Error != "" || o.Prefill != "" || o.Decode != "")

	b = binary.AppendUvarint(b, uint64(i))
	b = binary.AppendUvarint(b, bits)
	last := scheduled
	for _, v := range [...]int64{o.Sent, o.FirstEvent, o.FirstToken, o.LastToken} {
		if v != sample.Absent {
			b = binary.AppendVarint(b, v-last) // wraps, as the reader does
			last = v
		}
	}
	for _, v := range [...]int64{o.PromptTokens, o.OutputTokens, o.Status, o.Fallback} {
		if v != sample.Absent {
			b = binary.AppendVarint(b, v)
		}
	}
	for _, v := range [...]float64{o.SlotWait, o.E2E, o.PrefillTime} {
		if !math.IsNaN(v) {
			b = binary.LittleEndian.AppendUint64(b, math.Float64bits(v))
		}
	}
	b = binary.AppendVarint(b, o.Events)
	b = appendText(appendText(b, o.Finish), o.Outcome)
	if bits&hasTexts != 0 {
		b = appendText(appendText(appendText(b, o.Error), o.Prefill), o.Decode)
	}
	if o.Gaps != nil {
		b = binary.AppendUvarint(b, uint64(len(o.Gaps)))
		for _, gap := range o.Gaps {
			b = binary.AppendVarint(b, int64(gap))
		}
	}
	return b
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// errRow is the error of bytes that are no row.
var errRow = errors.New("what was kept of a row is not what had been written")

// rowReader makes rows of bytes. Texts that are alike share memory, and so do
// the gaps of many rows.
type rowReader struct {
	b     []byte
	bad   bool
	texts map[string]string
	gaps  []int32 // what is left to be handed out
}

// read is the row that appendRow made b of, but for its id and TTFT and TPOT,
// and the number of its request; scheduled tells when that was due.
func (r *rowReader) read(b []byte, scheduled func(i int) (int64, bool)) (int, sample.Outcome, error) {
	r.b, r.bad = b, false
	o := sample.NewOutcome("")
	i, bits := int(r.uvarint()), r.uvarint()
	due, ok := scheduled(i)
	if !ok || r.bad {
		return 0, o, errRow
	}
	has := func(bit uint64) bool { return bits&bit != 0 }
	o.Scheduled = due
	last := due
	instant := func(bit uint64, to *int64) {
		if has(bit) {
			last += r.varint()
			*to = last
		}
	}
	instant(hasSent, &o.Sent)
	instant(hasFirstEvent, &o.FirstEvent)
	instant(hasFirstToken, &o.FirstToken)
	instant(hasLastToken, &o.LastToken)
	whole := func(bit uint64, to *int64) {
		if has(bit) {
			*to = r.varint()
		}
	}
	whole(hasPromptTokens, &o.PromptTokens)
	whole(hasOutputTokens, &o.OutputTokens)
	whole(hasStatus, &o.Status)
	whole(hasFallback, &o.Fallback)
	double := func(bit uint64, to *float64) {
		if has(bit) {
			*to = r.double()
		}
	}
	double(hasSlotWait, &o.SlotWait)
	double(hasE2E, &o.E2E)
	double(hasPrefillTime, &o.PrefillTime)
	o.Events = r.varint()
	o.Finish, o.Outcome = r.text(), r.text()
	if has(hasTexts) {
		o.Error, o.Prefill, o.Decode = r.text(), r.text(), r.text()
	}
	if has(hasGaps) {
		o.Gaps = r.list()
	}
	if r.bad || len(r.b) > 0 {
		return 0, o, errRow
	}
	return i, o, nil
}

func (r *rowReader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	r.skip(n)
	return v
}

func (r *rowReader) varint() int64 {
	v, n := binary.Varint(r.b)
	r.skip(n)
	return v
}

// skip passes over n bytes; none or less where they were no number.
func (r *rowReader) skip(n int) {
	if n <= 0 {
		r.b, r.bad = nil, true
		return
	}
	r.b = r.b[n:]
}

func (r *rowReader) double() float64 {
	if len(r.b) < 8 {
		r.skip(0)
		return 0
	}
	v := math.Float64frombits(binary.LittleEndian.Uint64(r.b))
	r.skip(8)
	return v
}

// mostTexts bounds how many different texts are kept to be used again: errors
// may all differ.
const mostTexts = 1024

func (r *rowReader) text() string {
	n := r.uvarint()
	if n > uint64(len(r.b)) {
		r.skip(0)
	}
	if n == 0 || r.bad {
		return ""
	}
	b := r.b[:n]
	r.skip(int(n))
	if s, ok := r.texts[string(b)]; ok {
		return s
	}
	s := string(b)
	if r.texts == nil {
		r.texts = make(map[string]string)
	}
	if len(r.texts) < mostTexts {
		r.texts[s] = s
	}
	return s
}

// gapsAtOnce is how many gaps are allocated together.
const gapsAtOnce = 4096

func (r *rowReader) list() []int32 {
	n := r.uvarint()
	if n > uint64(len(r.b)) { // a gap has a byte at least
		r.skip(0)
	}
	if r.bad {
		return nil
	}
	if uint64(len(r.gaps)) < n || r.gaps == nil {
		r.gaps = make([]int32, max(gapsAtOnce, n))
	}
	out := r.gaps[:n:n]
	r.gaps = r.gaps[n:]
	for i := range out {
		out[i] = int32(r.varint())
	}
	return out
}
