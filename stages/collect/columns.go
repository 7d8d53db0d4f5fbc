package collect

import (
	"math"
	"slices"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"vbp/stages/sample"
)

// column is one column of a samples file. Exactly one of the accessors is set.
// Units are in the names; every column may be null, which is what is absent in
// a table: "", Absent, NaN, nil.
type column struct {
	name  string
	text  func(*sample.Table) *[]string
	whole func(*sample.Table) *[]int64
	real  func(*sample.Table) *[]float64
	flag  func(*sample.Table) *[]int64 // 0, 1, Absent
	gaps  func(*sample.Table) *[][]int32

	// derived columns are written for those who query the files, and made
	// from the others; they are not read back.
	derived func(t *sample.Table, i int) float64
}

// columns of a samples file, in order.
var columns = []column{
	{name: "request_id", text: func(t *sample.Table) *[]string { return &t.ID }},
	{name: "prompt_tokens", whole: func(t *sample.Table) *[]int64 { return &t.PromptTokens }},
	{name: "output_tokens", whole: func(t *sample.Table) *[]int64 { return &t.OutputTokens }},
	{name: "scheduled_ns", whole: func(t *sample.Table) *[]int64 { return &t.Scheduled }},
	{name: "sent_ns", whole: func(t *sample.Table) *[]int64 { return &t.Sent }},
	{name: "first_event_ns", whole: func(t *sample.Table) *[]int64 { return &t.FirstEvent }},
	{name: "first_token_ns", whole: func(t *sample.Table) *[]int64 { return &t.FirstToken }},
	{name: "last_token_ns", whole: func(t *sample.Table) *[]int64 { return &t.LastToken }},
	{name: "ttft_s", real: func(t *sample.Table) *[]float64 { return &t.TTFT }},
	{name: "tpot_s", real: func(t *sample.Table) *[]float64 { return &t.TPOT }},
	{name: "e2e_s", real: func(t *sample.Table) *[]float64 { return &t.E2E }},
	{name: "gaps_us", gaps: func(t *sample.Table) *[][]int32 { return &t.Gaps }},
	{name: "events", whole: func(t *sample.Table) *[]int64 { return &t.Events }},
	{name: "finish_reason", text: func(t *sample.Table) *[]string { return &t.Finish }},
	{name: "outcome", text: func(t *sample.Table) *[]string { return &t.Outcome }},
	{name: "status", whole: func(t *sample.Table) *[]int64 { return &t.Status }},
	{name: "error", text: func(t *sample.Table) *[]string { return &t.Error }},
	{name: "prefill_instance", text: func(t *sample.Table) *[]string { return &t.Prefill }},
	{name: "decode_instance", text: func(t *sample.Table) *[]string { return &t.Decode }},
	{name: "prefill_time_s", real: func(t *sample.Table) *[]float64 { return &t.PrefillTime }},
	{name: "fallback", flag: func(t *sample.Table) *[]int64 { return &t.Fallback }},
	{name: "slot_wait_s", real: func(t *sample.Table) *[]float64 { return &t.SlotWait }},
	{name: "send_lag_s", derived: sendLag},
	{name: "rate", derived: func(t *sample.Table, _ int) float64 { return t.Meta.Rate }},
}

// sendLag is how late a request was sent, net of its wait for a slot.
func sendLag(t *sample.Table, i int) float64 {
	return sample.Lag(t.Scheduled[i], t.Sent[i], t.SlotWait[i])
}

// kind is the column's type in the file.
func (c *column) kind() arrow.DataType {
	switch {
	case c.text != nil:
		return arrow.BinaryTypes.String
	case c.whole != nil:
		return arrow.PrimitiveTypes.Int64
	case c.flag != nil:
		return arrow.FixedWidthTypes.Boolean
	case c.gaps != nil:
		return arrow.ListOf(arrow.PrimitiveTypes.Int32)
	}
	return arrow.PrimitiveTypes.Float64
}

// put appends rows [from, to) of t to b.
func (c *column) put(b array.Builder, t *sample.Table, from, to int) {
	switch b := b.(type) {
	case *array.StringBuilder:
		for _, v := range (*c.text(t))[from:to] {
			if v != "" {
				b.Append(valid(v))
			} else {
				b.AppendNull()
			}
		}
	case *array.Int64Builder:
		for _, v := range (*c.whole(t))[from:to] {
			if v != sample.Absent {
				b.Append(v)
			} else {
				b.AppendNull()
			}
		}
	case *array.BooleanBuilder:
		for _, v := range (*c.flag(t))[from:to] {
			if v != sample.Absent {
				b.Append(v != 0)
			} else {
				b.AppendNull()
			}
		}
	case *array.ListBuilder:
		values := b.ValueBuilder().(*array.Int32Builder)
		for _, v := range (*c.gaps(t))[from:to] {
			if v != nil {
				b.Append(true)
				values.AppendValues(v, nil)
			} else {
				b.AppendNull()
			}
		}
	case *array.Float64Builder:
		for i := from; i < to; i++ {
			if v := c.number(t, i); !math.IsNaN(v) {
				b.Append(v)
			} else {
				b.AppendNull()
			}
		}
	}
}

func (c *column) number(t *sample.Table, i int) float64 {
	if c.derived != nil {
		return c.derived(t, i)
	}
	return (*c.real(t))[i]
}

// mostShared is how many different texts of a chunk are kept to be used again:
// outcomes and errors are few, ids are not worth looking up.
const mostShared = 256

// take appends the values of one chunk to t's column. The chunk must be of
// kind.
func (c *column) take(chunk arrow.Array, t *sample.Table) {
	switch a := chunk.(type) {
	case *array.String:
		// Copies, for Value shares memory that belongs to the file's reader.
		seen := make(map[string]string)
		appendTo(c.text(t), chunk, "", func(i int) string {
			v := a.Value(i)
			if s, ok := seen[v]; ok {
				return s
			}
			v = strings.Clone(v)
			if len(seen) < mostShared {
				seen[v] = v
			}
			return v
		})
	case *array.Int64:
		appendTo(c.whole(t), chunk, sample.Absent, a.Value)
	case *array.Boolean:
		appendTo(c.flag(t), chunk, sample.Absent, func(i int) int64 {
			if a.Value(i) {
				return 1
			}
			return 0
		})
	case *array.Float64:
		appendTo(c.real(t), chunk, math.NaN(), a.Value)
	case *array.List:
		if a.Len() == 0 {
			return
		}
		first, _ := a.ValueOffsets(0)
		_, last := a.ValueOffsets(a.Len() - 1)
		// One copy for all, of which each row has its part.
		values := append([]int32{}, a.ListValues().(*array.Int32).Int32Values()[first:last]...)
		appendTo(c.gaps(t), chunk, nil, func(i int) []int32 {
			from, to := a.ValueOffsets(i)
			return values[from-first : to-first : to-first]
		})
	}
}

func appendTo[T any](column *[]T, chunk arrow.Array, absent T, value func(int) T) {
	for i := range chunk.Len() {
		if chunk.IsNull(i) {
			*column = append(*column, absent)
		} else {
			*column = append(*column, value(i))
		}
	}
}

// reserve makes room for n values.
func (c *column) reserve(t *sample.Table, n int) {
	switch {
	case n == 0: // as in a table to which nothing was ever appended
	case c.text != nil:
		*c.text(t) = make([]string, 0, n)
	case c.whole != nil:
		*c.whole(t) = make([]int64, 0, n)
	case c.flag != nil:
		*c.flag(t) = make([]int64, 0, n)
	case c.real != nil:
		*c.real(t) = make([]float64, 0, n)
	case c.gaps != nil:
		*c.gaps(t) = make([][]int32, 0, n)
	}
}

// absences are columns in which every value is absent, one of each type.
type absences struct {
	text  []string
	whole []int64
	real  []float64
	gaps  [][]int32
}

// fill gives a column n absent values. Columns of one type get the same ones.
func (a *absences) fill(c *column, t *sample.Table, n int) {
	switch {
	case c.text != nil:
		if len(a.text) < n {
			a.text = make([]string, n)
		}
		*c.text(t) = a.text[:n:n]
	case c.whole != nil, c.flag != nil:
		if len(a.whole) < n {
			a.whole = slices.Repeat([]int64{sample.Absent}, n)
		}
		get := c.whole
		if get == nil {
			get = c.flag
		}
		*get(t) = a.whole[:n:n]
	case c.real != nil:
		if len(a.real) < n {
			a.real = slices.Repeat([]float64{math.NaN()}, n)
		}
		*c.real(t) = a.real[:n:n]
	case c.gaps != nil:
		if len(a.gaps) < n {
			a.gaps = make([][]int32, n)
		}
		*c.gaps(t) = a.gaps[:n:n]
	}
}
