package count

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/spf13/pflag"

	"vbp/stages/deploy/engine"
	"vbp/stages/load/workload"
)

var _ workload.Counter = (*Server)(nil)

// fake is a server in one of the forms: a token a word, and one in front.
type fake struct {
	form  string
	asked atomic.Int64
	fail  func(text string) (status int, body string) // status 0: it does not
	add   int                                         // further tokens, as another tokenizer has
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Model   string  `json:"model"`
		Prompt  *string `json:"prompt"`
		Content *string `json:"content"`
		Inputs  *string `json:"inputs"`
		Special *bool   `json:"add_special_tokens"`
		Add     *bool   `json:"add_special"`
	}
	raw, _ := io.ReadAll(r.Body)
	if err := json.Unmarshal(raw, &body); err != nil || r.Method != http.MethodPost || r.URL.Path != "/tokenize" || r.Header.Get("Authorization") != "Bearer k" {
		http.Error(w, fmt.Sprintf("%s %s %s", r.Method, r.URL, raw), http.StatusTeapot)
		return
	}
	refuse := func() { http.Error(w, `{"error":"field required"}`, http.StatusUnprocessableEntity) }
	ids := func(text string) []int {
		f.asked.Add(1)
		out := []int{1}
		for _, word := range strings.Fields(text) {
			out = append(out, 100+len(word))
		}
		return append(out, make([]int, f.add)...)
	}
	for _, text := range []*string{body.Prompt, body.Content, body.Inputs} {
		if text != nil && f.fail != nil {
			if status, says := f.fail(*text); status != 0 {
				http.Error(w, says, status)
				return
			}
		}
	}
	switch f.form {
	case "vllm":
		if body.Prompt == nil || body.Model != "m/x" || body.Special == nil || !*body.Special {
			refuse()
			return
		}
		v := ids(*body.Prompt)
		json.NewEncoder(w).Encode(map[string]any{"count": len(v), "max_model_len": 4096, "tokens": v, "token_strs": nil})
	case "llama.cpp":
		v := []int{}
		if body.Content != nil && body.Add != nil && *body.Add {
			v = ids(*body.Content)
		}
		json.NewEncoder(w).Encode(map[string]any{"tokens": v})
	case "tgi":
		if body.Inputs == nil {
			refuse()
			return
		}
		v := []map[string]any{}
		for i, id := range ids(*body.Inputs) {
			v = append(v, map[string]any{"id": id, "text": "x", "start": i, "stop": i + 1})
		}
		json.NewEncoder(w).Encode(v)
	default:
		http.NotFound(w, r)
	}
}

// target serves the fakes until the test ends.
func target(t *testing.T, fakes ...*fake) Target {
	t.Helper()
	to := Target{Model: "m/x", Headers: map[string]string{"authorization": "Bearer k"}}
	for _, f := range fakes {
		s := httptest.NewServer(f)
		t.Cleanup(s.Close)
		to.URLs = append(to.URLs, s.URL)
	}
	return to
}

func mustNew(t *testing.T, to Target, dir string) *Server {
	t.Helper()
	s, err := New(context.Background(), to, dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func mustCount(t *testing.T, s *Server, texts ...string) []int {
	t.Helper()
	n, err := s.Count(context.Background(), texts)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestSimulatedEngine(t *testing.T) {
	o := engine.Options{}
	flags := pflag.NewFlagSet("engine", pflag.ContinueOnError)
	o.Flags(flags)
	if err := flags.Parse([]string{"--port=0", "--served-model-name=tiny"}); err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- engine.Serve(ctx, o, ln, io.Discard) }()
	defer func() { stop(); <-ended }()
	s := mustNew(t, Target{URLs: []string{"http://" + ln.Addr().String()}, Model: "tiny"}, "")
	text := strings.Repeat("größer ", 40)
	if got := mustCount(t, s, text, "abc"); s.Form() != "vllm" || got[0] != engine.TokenCount(text) || got[1] != 1 {
		t.Errorf("form %s, counts %v, want %d and 1", s.Form(), got, engine.TokenCount(text))
	}
}

func TestAskingGoesOn(t *testing.T) {
	// Of two servers one has fallen ill since New; the other one helps out.
	var ill atomic.Bool
	a, b := &fake{form: "vllm"}, &fake{form: "vllm"}
	a.fail = func(string) (int, string) {
		if ill.Load() {
			return 500, "out of memory"
		}
		return 0, ""
	}
	s := mustNew(t, target(t, a, b), "")
	ill.Store(true)
	texts := make([]string, 100)
	want := make([]int, 100)
	for i := range texts {
		texts[i], want[i] = strings.Repeat("x ", i+1), i+2
	}
	if got := mustCount(t, s, texts...); !slices.Equal(got, want) {
		t.Errorf("%v", got)
	}
	ill.Store(true)
	b.fail = a.fail
	if _, err := s.Count(context.Background(), []string{"new"}); err == nil || !strings.Contains(err.Error(), "out of memory") {
		t.Errorf("both are ill: %v", err)
	}
	ctx, stop := context.WithCancel(context.Background())
	stop()
	if _, err := s.Count(ctx, []string{"newer"}); !errors.Is(err, context.Canceled) {
		t.Errorf("after an interrupt: %v", err)
	}
}

func TestTextsThatAreTooLong(t *testing.T) {
	dir := t.TempDir()
	f := &fake{form: "vllm"}
	f.fail = func(text string) (int, string) {
		switch {
		case len(text) > 1000:
			return 400, `{"error":{"message":"This model's maximum context length is 512 tokens."}}`
		case text == "bad":
			return 400, "no"
		}
		return 0, ""
	}
	to := target(t, f)
	s := mustNew(t, to, dir)
	long := strings.Repeat("x ", 600)
	if got := mustCount(t, s, long, "a"); got[0] != TooLong || got[1] != 2 {
		t.Errorf("%v", got)
	}
	if _, err := s.Count(context.Background(), []string{"bad"}); err == nil || !strings.Contains(err.Error(), "a text of 3 bytes") {
		t.Errorf("a text that is refused: %v", err)
	}
	// Another server of the model may read more.
	f.fail = nil
	if got := mustCount(t, mustNew(t, to, dir), long); got[0] != 601 {
		t.Errorf("%v", got)
	}
}

func TestKeptByModelAndTokenizer(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	f := &fake{form: "vllm"}
	to := target(t, f)
	mustCount(t, mustNew(t, to, dir), "a b", "c")
	again := mustNew(t, to, dir)
	asked := f.asked.Load()
	if got := mustCount(t, again, "c", "a b", "new"); !slices.Equal(got, []int{2, 3, 2}) || f.asked.Load() != asked+1 {
		t.Errorf("%v; asked %d times for one new text", got, f.asked.Load()-asked)
	}
	// A tokenizer that makes other tokens of the probe has counts of its own,
	// though the model is called the same.
	other := &fake{form: "vllm", add: 7}
	if got := mustCount(t, mustNew(t, target(t, other), dir), "a b"); got[0] != 10 {
		t.Errorf("another tokenizer: %v", got)
	}
	// So have servers side by side: the second one here serves another model.
	if s := mustNew(t, target(t, f, other), ""); len(s.urls) != 1 {
		t.Errorf("two tokenizers are asked in turns: %v", s.urls)
	}
	files, _ := filepath.Glob(filepath.Join(dir, "x-*.counts"))
	if len(files) != 2 {
		t.Errorf("files %v", files)
	}
	blocked := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(blocked, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := New(context.Background(), to, blocked); err == nil || !strings.Contains(err.Error(), "folder for counts") {
		t.Errorf("a file where the folder should be: %v", err)
	}
}

func TestWorkloadByCounts(t *testing.T) {
	talk := func(prompt, answer int) string {
		return fmt.Sprintf(`{"conversations": [{"value": %q}, {"value": %q}]}`, strings.Repeat("x ", prompt), strings.Repeat("y ", answer))
	}
	path := filepath.Join(t.TempDir(), "s.json")
	// A token in front of each: 3 words are the least, 1023 the most.
	if err := os.WriteFile(path, []byte("["+talk(3, 3)+","+talk(1023, 1023)+","+talk(2, 50)+","+talk(1024, 5)+"]"), 0o600); err != nil {
		t.Fatal(err)
	}
	src, err := workload.Open(workload.Dataset{Kind: workload.ShareGPT, Path: path, Lengths: workload.Counted})
	if err != nil {
		t.Fatal(err)
	}
	set, err := src.Draw(context.Background(), 2, 0, 0, mustNew(t, target(t, &fake{form: "tgi"}), ""))
	if err != nil {
		t.Fatal(err)
	}
	got := []int{set.MaxTokens(0), set.MaxTokens(1)}
	slices.Sort(got)
	if !slices.Equal(got, []int{4, 1024}) || len(set.Notes) != 0 || set.Counting != "the server's /tokenize" {
		t.Errorf("answers of %v tokens, notes %q, counting %q", got, set.Notes, set.Counting)
	}
}
