package specs

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

// TestSharedIsTheSame follows every reference of the schema: what comes out is
// the schema without references.
func TestSharedIsTheSame(t *testing.T) {
	var got, want map[string]any
	if err := json.Unmarshal(Schema(), &got); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(specSchema().json()), &want); err != nil {
		t.Fatal(err)
	}
	defs, _ := got["$defs"].(map[string]any)
	delete(got, "$defs")
	used := map[string]int{}
	var follow func(v any) any
	follow = func(v any) any {
		switch v := v.(type) {
		case []any:
			for i := range v {
				v[i] = follow(v[i])
			}
		case map[string]any:
			if ref, ok := v["$ref"].(string); ok {
				name := strings.TrimPrefix(ref, "#/$defs/")
				if len(v) != 1 || defs[name] == nil {
					t.Fatalf("the reference %v leads nowhere, or does not stand alone", v)
				}
				used[name]++
				return follow(defs[name])
			}
			for key := range v {
				v[key] = follow(v[key])
			}
		}
		return v
	}
	if !reflect.DeepEqual(follow(got), any(want)) {
		t.Error("the schema with references is another one")
	}
	for name := range defs {
		if used[name] < 2 {
			t.Errorf("%s is shared and used %d times", name, used[name])
		}
	}
	if len(defs) == 0 {
		t.Error("nothing is shared")
	}
}
