package collect

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"

	"vbp/stages/sample"
)

// vbpMember is the member of a vLLM result of ours that holds the table
// exactly: what vLLM's names cannot express.
const vbpMember = "vbp"

// WriteVLLM writes a point as the file that `vllm bench serve --save-result
// --save-detailed` would have written of it, with what the scripts add
// (tpots, model_name, dataset_name, deployment_mode and the configuration) and
// a member vbp that holds the point exactly, so that reading the file gives
// back an equal table. date is vLLM's, as in 20260101-120000.
//
// Texts of answers are not kept by vbp: generated_texts are empty. Statistics
// are over completed requests, as vLLM's are, and 0 where there is none. A
// failed request has a TTFT of 0 unless a token came, and 0 output tokens; its
// error is never empty. Lists that are not known of every request
// (start_times, input_lens, output_lens) are left out.
func WriteVLLM(path string, p Judged, run *Run, date string) error {
	if err := p.Table.Check(); err != nil {
		return fmt.Errorf("collect: writing %s: %w", path, err)
	}
	if p.Table.Len() == 0 {
		return fmt.Errorf("collect: writing %s: the point has no request, and vLLM's form needs one", path)
	}
	object, err := vllmObject(p, run, date)
	if err != nil {
		return fmt.Errorf("collect: writing %s: %w", path, err)
	}
	return publish(path, func(w io.Writer) error {
		_, err := w.Write(append(object, '\n'))
		return err
	})
}

func vllmObject(p Judged, run *Run, date string) (json.RawMessage, error) {
	t := p.Table
	m := members{indent: " "}
	setAbout(&m, t, date)
	f := newVLLMFile(t)
	setTotals(&m, t, f)
	for _, l := range []struct {
		name  string
		known bool
		list  any
	}{
		{"input_lens", f.InputLens != nil, f.InputLens},
		{"output_lens", f.OutputLens != nil, f.OutputLens},
		{"ttfts", true, f.TTFTs},
		{"tpots", true, f.TPOTs},
		{"itls", true, f.ITLs},
		{"latencies", f.Latencies != nil, f.Latencies},
		{"start_times", f.StartTimes != nil, f.StartTimes},
		{"generated_texts", true, make([]string, t.Len())},
		{"errors", true, f.Errors},
	} {
		if l.known {
			m.set(l.name, l.list)
		}
	}
	setLatencies(&m, t, f)

	own := members{indent: "  "}
	exactMeta(&own, p)
	if run != nil {
		own.set(memberRun, run)
	}
	own.set(memberLists, f.checksum())
	rows, err := exactRows(t, "   ")
	if err != nil {
		return nil, err
	}
	own.set(memberRequests, rows)
	exact, err := own.object()
	if err != nil {
		return nil, err
	}
	m.set(vbpMember, exact)
	return m.object()
}

// setAbout adds what vLLM and the scripts say of a run as a whole. What came
// from a file of vLLM's is as it was there.
func setAbout(m *members, t *sample.Table, date string) {
	about := &t.Meta
	keep := func(key string, otherwise any) {
		if v := about.Extra[key]; v != "" {
			otherwise = v
		}
		m.set(key, otherwise)
	}
	model := cmp.Or(about.Model, about.Config["model_name"])
	m.set("date", date)
	keep("endpoint_type", "vllm")
	keep("backend", "vllm")
	keep("label", nil)
	m.set("model_id", model)
	keep("tokenizer_id", nil)
	m.set("num_prompts", t.Len())
	setScripts(m, about, cmp.Or(about.Config["model_name"], model))
	m.set("request_rate", fact(about.Rate))
	m.set("burstiness", burstiness(about))
	m.set("max_concurrency", number(about.Config["max_concurrency"]))
	m.set("seed", about.Seed)
}

// setScripts adds the metadata of the scripts, numbers as numbers.
func setScripts(m *members, about *sample.Meta, model string) {
	m.set("model_name", model[strings.LastIndexByte(model, '/')+1:])
	m.set("dataset_name", about.Dataset)
	if v := cmp.Or(about.Config["engine"], about.Engine); v != "" { // a simulated one is not to be taken for another
		m.set("engine", v)
	}
	mode := about.Config["deployment_mode"]
	if mode == "" {
		mode, _ = about.Axis("mode")
	}
	m.set("deployment_mode", mode)
	for _, k := range vllmConfig {
		if v := about.Config[k]; v != "" && k != "max_concurrency" && k != "burstiness" {
			m.set(k, number(v))
		}
	}
}

// number is text as a JSON number where it is one; null for "".
func number(text string) any {
	if v, err := strconv.ParseFloat(text, 64); err == nil && !math.IsInf(v, 0) && json.Valid([]byte(text)) {
		return json.RawMessage(text)
	}
	if text == "" {
		return nil
	}
	return text
}

// burstiness is the shape of the gamma distribution of gaps: 1 is Poisson.
// null where it is not known.
func burstiness(about *sample.Meta) any {
	if v := about.Config["burstiness"]; v != "" {
		return number(v)
	}
	if strings.HasPrefix(about.Extra["arrivals"], "poisson") {
		return 1.0
	}
	return nil
}
