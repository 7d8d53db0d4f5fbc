package pipeline

import (
	"reflect"
	"testing"

	"vbp/pipeline/cache"
)

func TestBehind(t *testing.T) {
	m := &cache.Manifest{Slot: "small: analyze", Input: []byte(`{"stage":"analyze","input":{"slo":{"ttft":"1s"},"valid":["sent == 4"],"env":{}},` +
		`"needs":[{"id":"load qps=1","digest":"abc","attempts":{"total":3,"rejected":2}},{"id":"load qps=2","digest":""}]}`)}
	want := []Component{{"its stage", "analyze"}, {"env", "{}"}, {"slo.ttft", "1s"}, {"valid", `["sent == 4"]`}}
	if got := ComponentsOf(m); !reflect.DeepEqual(got, want) {
		t.Errorf("components %q", got)
	}
	needs, err := NeedsOf(m)
	if err != nil || !reflect.DeepEqual(needs, []Need{{"load qps=1", "abc", &Attempts{3, 2}}, {"load qps=2", "", nil}}) {
		t.Errorf("needs %+v, %v", needs, err)
	}
	torn := &cache.Manifest{Slot: "small: analyze", Input: []byte(`{"stage"`)}
	if _, err := NeedsOf(torn); err == nil || len(ComponentsOf(torn)) != 0 {
		t.Errorf("needs of half a value: %v; components %q", err, ComponentsOf(torn))
	}
	shared, err := NewInput(map[string]any{"code": "x"})
	if err != nil {
		t.Fatal(err)
	}
	in, err := InputWith(shared, map[string]any{"qps": 2})
	if got := in.Components(); err != nil || !reflect.DeepEqual(got, []Component{{"code", "x"}, {"qps", "2"}}) {
		t.Errorf("components of an input: %q, %v", got, err)
	}
	if got := EnvironmentDiff(map[string]string{"a": "1", "b": "2"}, map[string]string{"b": "3"}); got != "a: 1 -> none; b: 2 -> 3" {
		t.Errorf("difference %q", got)
	}
}
