package plot

import (
	"fmt"
	"strings"

	"vbp/stages/analyze"
)

// ConfigLine is the configuration of a series in the form that the scripts
// list runs in: "PF:2, D:2, TP:2x2, Model:Qwen3-0.6B" for prefill and decode
// instances with their tensor-parallel sizes, "TP:1, Model:Qwen3-0.6B" for
// one instance. What was not recorded is left out. A simulated engine is
// called so, lest its figures pass for measurements.
func ConfigLine(s analyze.Series) string {
	var parts []string
	add := func(label, value string) {
		if value != "" {
			parts = append(parts, label+":"+value)
		}
	}
	c := s.Config
	add("PF", c["num_prefill_instances"])
	add("D", c["num_decode_instances"])
	if c["num_prefill_instances"] != "" || c["num_decode_instances"] != "" {
		p, d := c["prefiller_tp_size"], c["decoder_tp_size"]
		if p != "" || d != "" {
			add("TP", orUnknown(p)+"x"+orUnknown(d))
		}
	} else {
		add("TP", c["tensor_parallel_size"])
	}
	add("Model", shortModel(c["model_name"]))
	if simulated(s) {
		parts = append(parts, "simulated engine")
	}
	return strings.Join(parts, ", ")
}

func simulated(s analyze.Series) bool { return strings.HasPrefix(s.Config["engine"], "simulated") }

func orUnknown(v string) string {
	if v == "" {
		return "?"
	}
	return v
}

// shortModel drops the organisation or the folder before a model's name; of
// several models, joined by analyze, each.
func shortModel(name string) string {
	parts := strings.Split(name, " | ")
	for i, p := range parts {
		p = strings.TrimRight(p, "/")
		parts[i] = p[strings.LastIndex(p, "/")+1:]
	}
	return strings.Join(parts, " | ")
}

// gpus is "1 GPU", "2 GPUs"; "" if the number is not known.
func gpus(s analyze.Series) string {
	switch {
	case s.GPUs <= 0:
		return ""
	case s.GPUs == 1:
		return "1 GPU"
	}
	return fmt.Sprintf("%d GPUs", s.GPUs)
}

// nameOf is a series' name with its GPUs: "nixl (2 GPUs)".
func nameOf(s analyze.Series) string {
	if g := gpus(s); g != "" {
		return s.Name + " (" + g + ")"
	}
	return s.Name
}
