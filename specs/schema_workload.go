package specs

import (
	"maps"
	"slices"
	"time"
)

func workloadSchema() *schema {
	s := closed(workloadKeys, forms{
		"dataset":         datasetSchema(),
		"api":             choice(apis...).says("API", "Endpoint of the server that requests go to: /v1/completions or /v1/chat/completions.").or("completions"),
		"requests":        count(1, maxCount).says("Requests", "Requests that are sent at each point, at most. Default: 300; none if a duration or a trace ends the point."),
		"duration":        duration(0).says("Duration", "How long requests are sent at each point, at most, a duration; 0 for as long as requests takes.").or(time.Duration(0).String()),
		"max_concurrency": count(0, maxCount).says("Most in flight", "Requests that are in flight at once, at most: one that is due waits for another's end, and how long is kept. 0 for no limit.").or(0),
		"arrivals":        choice(arrivalKinds...).says("Arrivals", "How requests are spaced: at random as independent users are (poisson), evenly (constant), with a burstiness of your own (gamma), at random with a rate that rises (ramp), or as in a trace.").or(arrivalKinds[0]),
		"burstiness":      positive().says("Burstiness", "Shape of gamma arrivals, a number above 0: below 1 is burstier than poisson, above 1 more even.").or(1),
		"ramp":            rampSchema(),
		"rescale":         boolean().says("Rescale", "Whether the schedule is stretched until its rate is exactly the point's, as vLLM's client does; of a trace: whether its times are scaled to the rate instead of kept. Default: false; true for a trace."),
		"ignore_eos":      boolean().says("Ignore end of sequence", "Whether answers run on to the length that the dataset says, so that every mode does the same work.").or(true),
		"body":            open(slices.Collect(maps.Keys(bodyHasKey))...).says("Request body", "Fields that are added to the body of every request; what is said replaces the default.").or(map[string]any{"temperature": 0}),
		"seed":            whole().says("Seed", "Seed of prompts and arrivals, a whole number; equal in every mode, so that modes are compared on the same requests.").or(0),
	}).says("Workload", "What is sent: prompts, their number, and when.")
	yes := &schema{AnyOf: []*schema{{Const: true}, {Type: []string{"string"}, Pattern: `^[Tt][Rr][Uu][Ee]$`}}}
	recorded := may("kind", "trace")
	recorded.Type = []string{"object"}
	s.AllOf = []*schema{
		{If: may("arrivals", "gamma"), Then: &schema{}, Else: &schema{Properties: properties{{"burstiness", nothing}}}},
		{If: may("arrivals", "ramp"), Then: &schema{}, Else: &schema{Properties: properties{{"ramp", nothing}}}},
		{If: is("arrivals", "ramp"), Then: &schema{Properties: properties{{"rescale", &schema{Not: yes}}}}},
		{If: is("arrivals", "trace"), Then: &schema{Properties: properties{{"dataset", recorded}}, Required: []string{"dataset"}}},
	}
	return s
}

func rampSchema() *schema {
	s := closed(rampKeys, forms{
		"shape": choice(rampShapes...).says("Shape", "How the rate rises: by equal steps (linear) or by equal factors (exponential) in equal times.").or(rampShapes[0]),
		"from":  shareFrom0().says("Beginning", "Share of the point's rate that it begins with, as 10% or 0.1; an exponential ramp cannot begin at 0.").or(percent(defaultFrom)),
		"over":  duration(0).says("Over", "How long the rate rises, a duration; then it stays. 0 for the whole point.").or(time.Duration(0).String()),
	})
	s.AllOf = []*schema{{If: is("shape", "exponential"), Then: &schema{Properties: properties{{"from", orNull(share())}}}}}
	return s.says("Ramp", "How the rate rises to the point's, with arrivals: ramp.")
}

// datasetSchema tells datasets apart by kind; without one it is random.
func datasetSchema() *schema {
	f := forms{
		"kind":          choice(datasetKinds...).says("Kind", "Where prompts come from: a ShareGPT file, lines of JSON, random tokens, or a trace of lengths and times.").or("random"),
		"name":          text(`^\s*[^\s./\\][^/\\]*$`, "a name that can be a folder's").says("Name", "Name of the dataset in results. Default: the file's name without its extension, else the kind."),
		"path":          text(`\S`, "a path").says("Path", "The file, relative to the spec's folder."),
		"format":        choice(traceFormats...).says("Format", "What the trace is: Azure's or BurstGPT's CSV, or Mooncake's lines of JSON. Default: what its first line looks like."),
		"lengths":       choice(lengthsKinds...).says("Lengths", "Who counts tokens: the server's /tokenize (server), an estimate of a token for four bytes (estimate), or the server if it can and else the estimate (auto).").or(lengthsKinds[0]),
		"input_tokens":  count(1, maxCount).says("Prompt length", "Mean prompt length in tokens.").or(256),
		"output_tokens": count(1, maxCount).says("Answer length", "Mean answer length in tokens.").or(64),
		"range_ratio":   below1().says("Spread of lengths", "Share by which lengths differ from their mean, from 0 to below 1; lengths are uniform.").or(0.2),
		"prefix_tokens": count(0, maxCount).says("Shared prefix", "Tokens that all prompts of a point begin with, before those of their own.").or(0),
	}
	jsonl := maps.Clone(f)
	jsonl["output_tokens"] = count(1, maxCount).says("Answer length", "Answer length in tokens of lines that say none.").or(64)
	keys := datasetKeysOf
	conversations := closed(keys["sharegpt"], f.of(keys["sharegpt"]), "path")
	lines := closed(keys["jsonl"], jsonl.of(keys["jsonl"]), "path")
	recorded := closed(keys["trace"], f.of(keys["trace"]), "path")
	conversations.Title, lines.Title, recorded.Title = "a ShareGPT file", "lines of JSON", "a trace"
	d := branches(closed(keys["random"], f.of(keys["random"])),
		branch{is("kind", "sharegpt"), conversations},
		branch{is("kind", "jsonl"), lines},
		branch{is("kind", "trace"), recorded},
		branch{isOpen("kind"), closed(datasetKeys, f)},
	)
	return d.says("Dataset", "The prompts, and how long answers are. Default: random prompts of 256 tokens with answers of 64.").
		such(map[string]any{"kind": "sharegpt", "path": "data/ShareGPT_V3_unfiltered_cleaned_split.json"})
}
