package collect

import (
	"math"
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
	{name: "send_lag_s", derived: sendLag},
	{name: "rate", derived: func(t *sample.Table, _ int) float64 { return t.Meta.Rate }},
}

// sendLag is how long after its scheduled instant a request was sent, in
// seconds; NaN if either is not known.
func sendLag(t *sample.Table, i int) float64 {
	if t.Sent[i] == sample.Absent || t.Scheduled[i] == sample.Absent {
		return math.NaN()
	}
	return float64(t.Sent[i]-t.Scheduled[i]) / 1e9
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
	for i := from; i < to; i++ {
		switch b := b.(type) {
		case *array.StringBuilder:
			if v := (*c.text(t))[i]; v != "" {
				b.Append(valid(v))
			} else {
				b.AppendNull()
			}
		case *array.Int64Builder:
			if v := (*c.whole(t))[i]; v != sample.Absent {
				b.Append(v)
			} else {
				b.AppendNull()
			}
		case *array.BooleanBuilder:
			if v := (*c.flag(t))[i]; v != sample.Absent {
				b.Append(v != 0)
			} else {
				b.AppendNull()
			}
		case *array.ListBuilder:
			if v := (*c.gaps(t))[i]; v != nil {
				b.Append(true)
				b.ValueBuilder().(*array.Int32Builder).AppendValues(v, nil)
			} else {
				b.AppendNull()
			}
		case *array.Float64Builder:
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

// take appends the values of one chunk to t's column. The chunk must be of
// kind.
func (c *column) take(chunk arrow.Array, t *sample.Table) {
	n := chunk.Len()
	switch a := chunk.(type) {
	case *array.String:
		// A copy, for Value shares memory that belongs to the file's reader.
		appendTo(c.text(t), n, chunk, "", func(i int) string { return strings.Clone(a.Value(i)) })
	case *array.Int64:
		appendTo(c.whole(t), n, chunk, sample.Absent, a.Value)
	case *array.Boolean:
		appendTo(c.flag(t), n, chunk, sample.Absent, func(i int) int64 {
			if a.Value(i) {
				return 1
			}
			return 0
		})
	case *array.Float64:
		appendTo(c.real(t), n, chunk, math.NaN(), a.Value)
	case *array.List:
		values := a.ListValues().(*array.Int32).Int32Values()
		appendTo(c.gaps(t), n, chunk, nil, func(i int) []int32 {
			from, to := a.ValueOffsets(i)
			return append(make([]int32, 0, to-from), values[from:to]...)
		})
	}
}

func appendTo[T any](column *[]T, n int, chunk arrow.Array, absent T, value func(int) T) {
	for i := range n {
		if chunk.IsNull(i) {
			*column = append(*column, absent)
		} else {
			*column = append(*column, value(i))
		}
	}
}
