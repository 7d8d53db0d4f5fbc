package sample

import (
	"reflect"
	"strings"
	"testing"
)

// Every column of a table is checked: each in turn is made too short.
func TestCheckNamesTheShortColumn(t *testing.T) {
	columns := 0
	for i := range reflect.TypeFor[Table]().NumField() {
		var table Table
		table.Append(NewOutcome("a"))
		table.Append(NewOutcome("b"))
		if err := table.Check(); err != nil {
			t.Fatalf("a whole table: %v", err)
		}
		f := reflect.ValueOf(&table).Elem().Field(i)
		if f.Kind() != reflect.Slice {
			continue
		}
		columns++
		name := reflect.TypeFor[Table]().Field(i).Name
		f.Set(f.Slice(0, 1))
		if err := table.Check(); err == nil || !strings.Contains(err.Error(), name) && name != "ID" {
			t.Errorf("short %s: %v", name, err)
		}
	}
	if columns != reflect.TypeFor[Outcome]().NumField() {
		t.Errorf("%d columns for %d fields of Outcome", columns, reflect.TypeFor[Outcome]().NumField())
	}
}
