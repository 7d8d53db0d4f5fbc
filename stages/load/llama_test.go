package load

import (
	"bufio"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"vbp/stages/load/workload"
	"vbp/stages/sample"
)

// llamaServer starts llama.cpp's llama-server on a free port and returns its
// address once it listens.
func llamaServer(t *testing.T) string {
	t.Helper()
	program, model := os.Getenv("VBP_LLAMA_SERVER"), os.Getenv("VBP_LLAMA_MODEL")
	if program == "" || model == "" {
		t.Skip("VBP_LLAMA_SERVER (path of llama-server) and VBP_LLAMA_MODEL (a GGUF file) are not set")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	_, port, _ := net.SplitHostPort(address)
	cmd := exec.Command(program, "-m", model, "--host", "127.0.0.1", "--port", port, "-t", "1", "-np", "4", "-c", strconv.Itoa(4*1024))
	out, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout = cmd.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var reading sync.WaitGroup
	t.Cleanup(func() {
		cmd.Process.Kill()
		reading.Wait() // its end is that of the output
		cmd.Wait()
	})
	lines := bufio.NewScanner(out)
	var log []string
	for lines.Scan() {
		log = append(log, lines.Text())
		if strings.Contains(lines.Text(), "listening on") {
			reading.Go(func() {
				for lines.Scan() {
				}
			})
			return "http://" + address
		}
	}
	t.Fatalf("%s ended without listening:\n%s", program, strings.Join(log, "\n"))
	return ""
}

// The whole of load against a real server of another kind: every request is
// answered whole, with the number of tokens that was asked for, over
// connections that it closes unannounced.
func TestRealLlamaServer(t *testing.T) {
	url := llamaServer(t)
	for name, c := range map[string]struct {
		api  string
		body map[string]any
		ids  bool
	}{
		"completions":             {api: Completions},
		"chat":                    {api: Chat},
		"token ids":               {api: Completions, ids: true},
		"chat, usage not told of": {api: Chat, body: map[string]any{"stream_options": nil}},
	} {
		config := Config{
			Target: Target{URL: url, Model: "any"}, API: c.api, Timeout: time.Minute, IgnoreEOS: true,
			Body: map[string]any{"temperature": 0}, IDPrefix: name,
		}
		for k, v := range c.body {
			config.Body[k] = v
		}
		var prompts workload.List
		for i := range 40 {
			p := workload.Prompt{Text: "the " + strconv.Itoa(i) + " of you", MaxTokens: 4 + i%8}
			if c.ids {
				p.Text, p.IDs = "", []int32{5, int32(6 + i), 7}
			}
			prompts = append(prompts, p)
			config.Arrivals = append(config.Arrivals, time.Duration(i)*5*time.Millisecond)
		}
		config.Prompts = prompts
		table, err := Run(t.Context(), config, NewHTTP(), nil)
		if err != nil || table.Len() != 40 {
			t.Fatalf("%s: %d rows, error %v", name, table.Len(), err)
		}
		for i := range 40 {
			row := table.Row(i)
			want := int64(4 + i%8)
			switch {
			case row.Outcome == sample.StreamError && strings.Contains(row.Error, "without a token"):
				// A random model may say nothing but parts of characters.
			case row.Outcome != sample.OK || row.OutputTokens != want || row.Events > want || row.Finish != "length" || !(row.TTFT > 0) || row.PromptTokens < 1:
				t.Errorf("%s: wanted %d tokens: %+v", name, want, row)
			case c.ids && row.PromptTokens != 3:
				t.Errorf("%s: %d prompt tokens, sent 3", name, row.PromptTokens)
			}
		}
		t.Logf("%s: %v", name, table.Meta.Facts)
	}
}
