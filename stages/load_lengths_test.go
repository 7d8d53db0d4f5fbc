package stages

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"vbp/stages/deploy"
)

// conversations is a file of entries whose words are long: a word is a token
// to the tokenizer of these tests, and four to the estimate of bytes/4.
func conversations(n int) string {
	type turn struct {
		From  string `json:"from"`
		Value string `json:"value"`
	}
	type entry struct {
		Conversations []turn `json:"conversations"`
	}
	var all []entry
	for i := range n {
		words := func(who string, n int) string {
			return strings.TrimSpace(strings.Repeat(fmt.Sprintf("%s-%08d-word ", who, i), n))
		}
		all = append(all, entry{[]turn{{"human", words("hm", 10)}, {"gpt", words("as", 5+i%7)}}})
	}
	text, err := json.Marshal(all)
	if err != nil {
		panic(err)
	}
	return string(text)
}

// tokenizer counts words, at /tokenize, as vLLM answers, and remembers what it
// was asked.
type tokenizer struct {
	mu    sync.Mutex
	asked map[string]int // text -> how often
}

func (k *tokenizer) at(s *server) func(http.ResponseWriter, *http.Request, int) bool {
	return func(w http.ResponseWriter, r *http.Request, n int) bool {
		if r.URL.Path != "/tokenize" {
			return false
		}
		s.mu.Lock()
		text, _ := s.bodies[n].Prompt.(string)
		s.mu.Unlock()
		k.mu.Lock()
		k.asked[text]++
		k.mu.Unlock()
		words := len(strings.Fields(text))
		_ = json.NewEncoder(w).Encode(map[string]any{"count": words, "max_model_len": 4096, "tokens": make([]int, words)})
		return true
	}
}

// texts is how many of the dataset's texts were asked for, each time counted.
func (k *tokenizer) texts() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	n := 0
	for text, times := range k.asked {
		if strings.Contains(text, "-word") {
			n += times
		}
	}
	return n
}

// noTokenizer answers /tokenize as a server without it does, and repeats the
// header that it was sent.
func noTokenizer(w http.ResponseWriter, r *http.Request, _ int) bool {
	if r.URL.Path != "/tokenize" {
		return false
	}
	http.Error(w, "no route for "+r.Header.Get("X-Token"), http.StatusNotFound)
	return true
}

const randomSet = "{kind: random, input_tokens: 8, output_tokens: 3, range_ratio: 0}"

// answers are how many tokens the requests with prompts of text ask for.
func answers(s *server) (out []int) {
	for i, b := range s.bodies {
		if prompt, ok := b.Prompt.(string); ok && s.headers[i].Get("X-Request-Id") != "" && strings.Contains(prompt, "-word") {
			out = append(out, b.MaxTokens)
		}
	}
	return out
}

// TestLoadCountsTokens holds that lengths are the server's own counts, that
// these are kept in the results folder, and that what was counted for one
// point is asked for no other, nor by a later apply.
func TestLoadCountsTokens(t *testing.T) {
	w := newWorld(t)
	w.write("talk.json", conversations(40))
	k := &tokenizer{asked: make(map[string]int)}
	w.prepare = func(s *server) error {
		s.complete = k.at(s)
		return nil
	}
	spec := changed(t, oneMode, randomSet, "{kind: sharegpt, path: talk.json}", "requests: 4", "requests: 8", "sent == 4", "sent > 0")
	a := w.apply(spec)
	table := samplesIn(t, filepath.Join(a.RunDir, "samples/mode=simple/qps=1000/repeat=0"))
	if got := table.Meta.Extra["prompt_counting"]; got != "the server's /tokenize" || table.Meta.Extra[notesKey] != "" {
		t.Errorf("counted by %q; notes %q", got, table.Meta.Extra[notesKey])
	}
	got := answers(w.started()[0])
	if len(got) != 8 || slices.Min(got) < 5 || slices.Max(got) > 11 { // words; bytes/4 would be 20 and more
		t.Errorf("answers of %v tokens are asked for", got)
	}
	first := k.texts()
	if first < 16 || slices.Max(counts(k)) > 1 {
		t.Errorf("%d texts were counted for 8 prompts and answers, some of them %d times", first, slices.Max(counts(k)))
	}
	files, err := os.ReadDir(filepath.Join(w.site.Results, ".store", "tokens"))
	if err != nil || len(files) != 1 {
		t.Errorf("counts are kept in %v, %v", files, err)
	}
	// The same prompts at another rate, by another apply.
	w.apply(changed(t, spec, "qps: [1000]", "qps: [2000]"))
	if more := k.texts() - first; more != 0 || len(answers(w.started()[1])) != 8 {
		t.Errorf("%d texts were counted again", more)
	}
}

func counts(k *tokenizer) (out []int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for text, times := range k.asked {
		if strings.Contains(text, "-word") {
			out = append(out, times)
		}
	}
	return out
}

// TestLoadCountsBehindProxy holds that instances are asked, and not the proxy
// before them or the cache between them.
func TestLoadCountsBehindProxy(t *testing.T) {
	w := newWorld(t)
	w.write("talk.json", conversations(40))
	k := &tokenizer{asked: make(map[string]int)}
	proxy, decode := newServer(t), newServer(t)
	proxy.complete = func(_ http.ResponseWriter, r *http.Request, _ int) bool {
		if r.URL.Path == "/tokenize" {
			t.Error("the proxy was asked to count")
		}
		return false
	}
	decode.complete = k.at(decode)
	proxy.endpoint.Instances = []deploy.Instance{
		{Name: "proxy", Role: deploy.Proxy, URL: proxy.endpoint.URL},
		{Name: "cache", Role: deploy.Cache, URL: proxy.endpoint.URL},
		{Name: "decode-0", Role: deploy.Decode, URL: decode.endpoint.URL},
	}
	p := w.point(proxy, changed(t, oneMode, randomSet, "{kind: sharegpt, path: talk.json}"))
	if err := p.work(t.Context()); err != nil {
		t.Fatal(err)
	}
	if k.texts() < 8 || len(answers(proxy)) != 4 || decode.headers[0].Get("X-Token") != "hush" {
		t.Errorf("%d texts were counted; %d requests; headers %v", k.texts(), len(answers(proxy)), decode.headers[0])
	}
}

// TestLoadWithoutTokenizer holds what is done and said where no server counts.
func TestLoadWithoutTokenizer(t *testing.T) {
	w := newWorld(t)
	w.write("talk.json", conversations(40))
	w.env["TOKEN"] = "hush" // which the test's servers want in a header
	for lengths, c := range map[string]struct{ counting, note, wrong string }{
		"auto":     {counting: "estimated as bytes/4 since ", note: "lengths of prompts and answers are estimated as bytes/4 since "},
		"estimate": {counting: "estimated as bytes/4"},
		"server":   {wrong: "workload.dataset.lengths: "},
	} {
		srv := newServer(t)
		srv.complete = noTokenizer
		p := w.point(srv, changed(t, oneMode, randomSet, "{kind: sharegpt, path: talk.json, lengths: "+lengths+"}",
			"{engine: simulated}", `{engine: simulated, env: {TOKEN: "${secret:TOKEN}"}}`))
		if err := p.work(t.Context()); c.wrong != "" {
			mustContain(t, err, c.wrong, "the server has no /tokenize")
			continue
		} else if err != nil {
			t.Fatal(lengths, err)
		}
		table := p.samples(t)
		counting, note := table.Meta.Extra["prompt_counting"], table.Meta.Extra[notesKey]
		if !strings.HasPrefix(counting, c.counting) || !strings.HasPrefix(note, c.note) || c.note == "" && note != "" {
			t.Errorf("%s: counted %q, notes %q", lengths, counting, note)
		}
		if got := answers(srv); len(got) != 4 || slices.Min(got) < 20 { // bytes/4
			t.Errorf("%s: answers of %v tokens are asked for", lengths, got)
		}
		if asked := slices.ContainsFunc(srv.asked(), func(id string) bool { return id == "" }); asked == (lengths == "estimate") {
			t.Errorf("%s: asked %q", lengths, srv.asked())
		}
		for name, text := range table.Meta.Extra {
			if strings.Contains(text, "hush") {
				t.Errorf("%s: the samples' %s holds a secret: %q", lengths, name, text)
			}
		}
	}
}
