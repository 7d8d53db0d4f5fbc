package pipeline

import (
	"encoding/json"
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"vbp/pipeline/cache"
)

// TestRecordReader holds that records read one after the other are what
// package json makes of them, whatever they hold, and however they were
// changed.
func TestRecordReader(t *testing.T) {
	text := rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"sent", `a"b`, `\`, "engine_version", "{", "}", "<&>", ",", "x:y"}))
	var r recordReader
	rapid.Check(t, func(rt *rapid.T) {
		rec := Record{
			Facts:       rapid.MapOfN(text, rapid.Float64().Filter(func(f float64) bool { return f-f == 0 }), 0, 6).Draw(rt, "facts"),
			Environment: rapid.MapOfN(text, text, 0, 4).Draw(rt, "environment"),
			Notes:       rapid.SliceOfN(text, 0, 3).Draw(rt, "notes"),
		}
		data, err := json.Marshal(rec)
		if err != nil {
			rt.Fatal(err)
		}
		if rapid.Bool().Draw(rt, "change it") {
			i := rapid.IntRange(0, len(data)-1).Draw(rt, "where")
			data[i] = rapid.SampledFrom([]byte(`"\\{}[],:0.-+eE1 nat`)).Draw(rt, "to")
		}
		a := &cache.Artefact{}
		a.Note = data
		want, wantErr := RecordOf(a)
		got, err := r.of(a)
		if (err == nil) != (wantErr == nil) {
			rt.Fatalf("%s: %v, and package json: %v", data, err, wantErr)
		}
		if err == nil && (!same(got.Facts, want.Facts) || !same(got.Environment, want.Environment) || len(got.Notes) != len(want.Notes) || len(want.Notes) > 0 && !reflect.DeepEqual(got.Notes, want.Notes)) {
			rt.Fatalf("%s: %+v, want %+v", data, got, want)
		}
	})
}

// same compares maps; none is as good as an empty one.
func same[V comparable](a, b map[string]V) bool {
	if len(a) != len(b) {
		return false
	}
	for k, v := range b {
		if w, ok := a[k]; !ok || w != v {
			return false
		}
	}
	return true
}

func BenchmarkRecord(b *testing.B) {
	rec := Record{Facts: make(map[string]float64), Environment: map[string]string{"engine_version": "vllm 0.27", "model": "Qwen/Qwen3-8B"}}
	for i := range 30 {
		rec.Facts["fact_"+string(rune('a'+i))] = float64(i) * 1.1
	}
	a := &cache.Artefact{}
	a.Note, _ = json.Marshal(rec)
	b.Run("reader", func(b *testing.B) {
		b.ReportAllocs()
		var r recordReader
		for b.Loop() {
			if _, err := r.of(a); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("json", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := RecordOf(a); err != nil {
				b.Fatal(err)
			}
		}
	})
}
