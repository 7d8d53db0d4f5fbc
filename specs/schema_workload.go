package specs

import (
	"maps"
	"slices"
)

func workloadSchema() *schema {
	s := closed(workloadKeys, forms{
		"dataset":    datasetSchema(),
		"api":        choice(apis...).says("API", "Endpoint of the server that requests go to: /v1/completions or /v1/chat/completions.").or("completions"),
		"requests":   count(1, maxCount).says("Requests", "Requests that are sent at each point.").or(300),
		"arrivals":   choice(arrivalKinds...).says("Arrivals", "How requests are spaced: at random as independent users are (poisson), evenly (constant), or with a burstiness of your own (gamma).").or("poisson"),
		"burstiness": positive().says("Burstiness", "Shape of gamma arrivals, a number above 0: below 1 is burstier than poisson, above 1 more even.").or(1),
		"ignore_eos": boolean().says("Ignore end of sequence", "Whether answers run on to the length that the dataset says, so that every mode does the same work.").or(true),
		"body":       open(slices.Collect(maps.Keys(bodyHasKey))...).says("Request body", "Fields that are added to the body of every request; what is said replaces the default.").or(map[string]any{"temperature": 0}),
		"seed":       whole().says("Seed", "Seed of prompts and arrivals, a whole number; equal in every mode, so that modes are compared on the same requests.").or(0),
	}).says("Workload", "What is sent: prompts, their number, and when.")
	s.AllOf = []*schema{{
		If: may("arrivals", "gamma"), Then: &schema{}, Else: &schema{Properties: properties{{"burstiness", nothing}}},
	}}
	return s
}

// datasetSchema tells datasets apart by kind; without one it is random.
func datasetSchema() *schema {
	f := forms{
		"kind":          choice(datasetKinds...).says("Kind", "Where prompts come from: a ShareGPT file, lines of JSON, or random tokens.").or("random"),
		"name":          text(`^\s*[^\s./\\][^/\\]*$`, "a name that can be a folder's").says("Name", "Name of the dataset in results. Default: the file's name without its extension, else the kind."),
		"path":          text(`\S`, "a path").says("Path", "The file, relative to the spec's folder."),
		"input_tokens":  count(1, maxCount).says("Prompt length", "Mean prompt length in tokens.").or(256),
		"output_tokens": count(1, maxCount).says("Answer length", "Mean answer length in tokens.").or(64),
		"range_ratio":   below1().says("Spread of lengths", "Share by which lengths differ from their mean, from 0 to below 1; lengths are uniform.").or(0.2),
	}
	jsonl := maps.Clone(f)
	jsonl["output_tokens"] = count(1, maxCount).says("Answer length", "Answer length in tokens of lines that say none.").or(64)
	keys := datasetKeysOf
	conversations := closed(keys["sharegpt"], f.of(keys["sharegpt"]), "path")
	lines := closed(keys["jsonl"], jsonl.of(keys["jsonl"]), "path")
	conversations.Title, lines.Title = "a ShareGPT file", "lines of JSON"
	d := branches(closed(keys["random"], f.of(keys["random"])),
		branch{is("kind", "sharegpt"), conversations},
		branch{is("kind", "jsonl"), lines},
		branch{isOpen("kind"), closed(datasetKeys, f)},
	)
	return d.says("Dataset", "The prompts, and how long answers are. Default: random prompts of 256 tokens with answers of 64.").
		such(map[string]any{"kind": "sharegpt", "path": "data/ShareGPT_V3_unfiltered_cleaned_split.json"})
}
