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
