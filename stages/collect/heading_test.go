package collect

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestHeading(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a.json")
	long := "[" + strings.Repeat("0.125, ", 100_000) + "1]"
	for _, c := range []struct{ text, want string }{
		{`{"ttfts": [0.1], "model_name": "m", "deployment_mode": "simple", "tensor_parallel_size": 2}`, "map[deployment_mode:simple model_name:m tensor_parallel_size:2]"},
		{"\xef\xbb\xbf{\n\"model_id\" : \"a/b\\\"c\",\t\"max_concurrency\": null}", `map[model_name:b"c]`},
		{`{"errors": ["a]\"}{[", "\\"], "itls": [[], [{"x": "]"}]], "tensor_parallel_size": "4" , "model_name":"m"}`, "map[model_name:m tensor_parallel_size:4]"},
		{`{"ttfts": ` + long + `, "num_prefill_instances": 2}`, "map[num_prefill_instances:2]"},
		// What follows what is needed is not read, whatever it is.
		{`{"model_name": "m", "deployment_mode": "nixl", "num_prefill_instances": 1, "num_decode_instances": 2, "prefiller_tp_size": 3, "decoder_tp_size": 4, oops`, "map[decoder_tp_size:4 deployment_mode:nixl model_name:m num_decode_instances:2 num_prefill_instances:1 prefiller_tp_size:3]"},
		{`{}`, "map[]"},
	} {
		if err := os.WriteFile(path, []byte(c.text), 0o644); err != nil {
			t.Fatal(err)
		}
		got, err := Heading(path)
		if err != nil || fmt.Sprint(got) != c.want {
			t.Errorf("%.80s: %v, %v, want %s", c.text, got, err, c.want)
		}
	}
	for text, want := range map[string]string{
		"": "cut off", "{": "cut off", `{"a": [1, `: "cut off", `{"a": "b`: "cut off", `{"a": 1`: "cut off", `{"a"`: "cut off",
		"[1]": "not a JSON object", `{a: 1}`: "not JSON", `{"a" 1}`: "not JSON",
	} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if got, err := Heading(path); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%q: %v, %v, want %q", text, got, err, want)
		}
	}
}

// For every real and made-up file, the heading is of the configuration that
// reading it whole gives: all that is shown of it.
func TestHeadingIsTheConfiguration(t *testing.T) {
	files, err := filepath.Glob("testdata/*/*/*.json")
	if err != nil || len(files) == 0 {
		t.Fatal(err)
	}
	root := filepath.Join("..", "..", "..", "shared")
	if v := os.Getenv("VBP_SHARED"); v != "" {
		root = v
	}
	more, err := filepath.Glob(filepath.Join(root, "data", "vllm-bench", "*", "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range append(files, more...) {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		p, err := readVLLM(data, file, "")
		if err != nil {
			t.Fatal(err)
		}
		got, err := Heading(file)
		if err != nil {
			t.Fatal(err)
		}
		for k, want := range p.Table.Meta.Config {
			if v, ok := got[k]; v != want && (ok || strings.HasSuffix(k, "_instances") || strings.HasSuffix(k, "r_tp_size") || k == "model_name") {
				t.Errorf("%s: %s is %q, want %q", file, k, v, want)
			}
		}
	}
}

func FuzzHeading(f *testing.F) {
	f.Add([]byte(`{"a": [1, {"b": "c\\\""}], "model_name": "x"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(t.TempDir(), "a.json")
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
		_, _ = Heading(path) // no panic, and an end
	})
}
