package sample

import (
	"reflect"
	"testing"
)

// Row gives back what Append took, field by field: each field is set to a
// value of its own.
func TestRowIsWhatWasAppended(t *testing.T) {
	var in Outcome
	v := reflect.ValueOf(&in).Elem()
	for i := range v.NumField() {
		switch f := v.Field(i); f.Kind() {
		case reflect.String:
			f.SetString(string(rune('a' + i)))
		case reflect.Int64:
			f.SetInt(int64(i + 1))
		case reflect.Float64:
			f.SetFloat(float64(i) + 0.5)
		default:
			f.Set(reflect.ValueOf([]int32{int32(i)}))
		}
	}
	var table Table
	table.Append(NewOutcome("first"))
	table.Append(in)
	if got := table.Row(1); !reflect.DeepEqual(got, in) {
		t.Errorf("got %+v, want %+v", got, in)
	}
	if table.Len() != 2 || table.Failed() != 2 {
		t.Errorf("%d rows, %d failed", table.Len(), table.Failed())
	}
}

// Grow makes room in every column, and nothing but room.
func TestGrowMakesRoomInEveryColumn(t *testing.T) {
	var table Table
	table.Append(NewOutcome("a"))
	table.Grow(100)
	v := reflect.ValueOf(table)
	for i := range v.NumField() {
		if f := v.Field(i); f.Kind() == reflect.Slice && (f.Cap() < 101 || f.Len() != 1) {
			t.Errorf("%s has room for %d and holds %d", v.Type().Field(i).Name, f.Cap(), f.Len())
		}
	}
}

// A slice holds the rows that were asked for, all columns of them, and what is
// appended to it is not written over the rows that follow.
func TestSliceSharesRowsAndNoMore(t *testing.T) {
	table := Table{Meta: Meta{Model: "m"}}
	for _, id := range []string{"a", "b", "c", "d"} {
		o := NewOutcome(id)
		o.Gaps, o.SlotWait = []int32{1}, 0.5
		table.Append(o)
	}
	part := table.Slice(1, 3)
	if err := part.Check(); err != nil || part.Len() != 2 || part.Meta.Model != "m" {
		t.Fatalf("%d rows, %v", part.Len(), err)
	}
	part.Append(NewOutcome("x"))
	for i, want := range []string{"a", "b", "c", "d"} {
		if got := table.Row(i); got.ID != want || got.SlotWait != 0.5 || len(got.Gaps) != 1 {
			t.Errorf("row %d is now %+v", i, got)
		}
	}
	if part.ID[0] != "b" || part.ID[1] != "c" || part.ID[2] != "x" {
		t.Errorf("the slice holds %q", part.ID)
	}
}

func TestAnAxisThatDoesNotApplyHasNoValue(t *testing.T) {
	m := Meta{Axes: []Axis{{Name: "mode", Value: "simple", Set: true}, {Name: "x", Value: "stale"}}}
	if v, ok := m.Axis("mode"); v != "simple" || !ok {
		t.Errorf("mode is %q, %v", v, ok)
	}
	for _, name := range []string{"x", "y"} {
		if v, ok := m.Axis(name); v != "" || ok {
			t.Errorf("%s is %q, %v", name, v, ok)
		}
	}
}
