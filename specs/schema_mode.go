package specs

import (
	"maps"
	"regexp"
	"slices"
	"strings"
)

func modesSchema() *schema {
	return (&schema{
		Type: []string{"object"}, MinProperties: 1,
		PropertyNames:        names(nameForm, "letters, digits, . _ and -"),
		AdditionalProperties: modeSchema(),
	}).says("Modes", "Ways of serving the model, by name: each is started by itself, loaded at every rate of the sweep, and one curve in the figures.").
		such(map[string]any{"simple": map[string]any{"engine": "vllm"}})
}

// modeSchema tells modes apart by endpoint, then by engine; without either it
// is vllm.
func modeSchema() *schema {
	f := forms{
		"engine":          choice(engines...).says("Engine", "What serves: vllm; simulated, an engine that needs no GPU; or command, a command line of your own.").or("vllm"),
		"endpoint":        word(`^https?://[^\s/?#@]+(?:/[^\s?#]*)?$`, "the address of a server, such as http://host:8000, without /v1").says("Endpoint", "Address of a server that already runs, without /v1; it is measured, and neither started nor stopped.").such("http://127.0.0.1:8000"),
		"headers":         texts(names(headerName, "the name of an HTTP header"), oneLineText()).says("Headers", "HTTP headers that are sent with every request; ${secret:NAME} takes a value from the environment and is written nowhere.").such(map[string]any{"Authorization": "Bearer ${secret:API_KEY}"}),
		"port":            count(0, 65535).says("Port", "TCP port where clients connect; 0 is any free one.").or(0),
		"tensor_parallel": count(1, maxParallel).says("Tensor-parallel size", "GPUs that the model is split over, for one instance.").or(1).such("${TENSOR_PARALLEL_SIZE:-1}"),
		"gpu_memory_utilization": share().says("GPU memory", "Share of each GPU's memory that an instance may take, above 0 and at most 1.").
			such("${GPU_MEMORY_UTILIZATION:-0.8}"),
		"args": argsSchema().says("Arguments", "Further arguments of the engine, passed as they are: name without dashes, and value; true is a bare flag.").such(map[string]any{"max-model-len": 4096}),
		"env":  envSchema().says("Environment", "Environment variables of the engine's processes; ${secret:NAME} takes a value from the environment and is written nowhere."),
		"run": nonBlank().says("Command line", "Command line that starts your server, run by sh; {port}, {model} and {gpus} are filled in, and ${} is left to the shell.").
			such("my-server --model {model} --port {port}"),
		"disaggregated": disaggregatedSchema(),
		"expect":        texts(names(expectName, "what a server tells of itself, such as kv_connector"), anyText()).says("Expectations", "What the live servers must tell of themselves, by name; a point whose servers tell another thing is failed and enters no figure.").such(map[string]any{"kv_connector": "NixlConnector"}),
	}
	// On vllm an instance takes most of the memory, but not all.
	withDefault := maps.Clone(f)
	memory := *f["gpu_memory_utilization"]
	withDefault["gpu_memory_utilization"] = (&memory).or(0.8)

	// What a command needs is guessed from its command line.
	command := maps.Clone(f)
	command["tensor_parallel"] = count(1, maxParallel).says("GPUs", "GPUs that the command is given through {gpus} and CUDA_VISIBLE_DEVICES. Default: 1 if run has {gpus}, else none.")

	apart := &schema{If: said("disaggregated"), Then: &schema{Properties: properties{{"tensor_parallel", nothing}}}}
	// endpoint is in the first, so that an editor offers it for an empty mode.
	vllmKeys := append([]string{"engine", "endpoint"}, slices.DeleteFunc(slices.Clone(modeKeysOf["vllm"]), func(k string) bool { return k == "engine" })...)
	vllm := closed(vllmKeys, withDefault.of(vllmKeys))
	simulated := closed(modeKeysOf["simulated"], f.of(modeKeysOf["simulated"]))
	anything := closed(modeKeys, f)
	own := closed(modeKeysOf["command"], command.of(modeKeysOf["command"]), "run")
	running := closed(modeKeysOf["endpoint"], f.of(modeKeysOf["endpoint"]), "endpoint")
	own.Title, running.Title = "a command of your own", "a server that already runs"
	for _, s := range []*schema{vllm, simulated, anything} {
		s.AllOf = []*schema{apart}
	}
	return branches(vllm,
		branch{said("endpoint"), running},
		branch{is("engine", "simulated"), simulated},
		branch{is("engine", "command"), own},
		branch{isOpen("engine"), anything},
	)
}

func disaggregatedSchema() *schema {
	s := closed(disaggregatedKeys, forms{
		"connector": choice(connectors...).says("Connector", "How the KV cache goes from prefill to decode instances.").or("nixl"),
		"prefill":   poolSchema("prefill", "NUM_PREFILL_INSTANCES", "PREFILLER_TP_SIZE"),
		"decode":    poolSchema("decode", "NUM_DECODE_INSTANCES", "DECODER_TP_SIZE"),

		"cache_port": count(0, 65535).says("Cache port", "TCP port of LMCache's server, with connector: lmcache; 0 is any free one.").or(65432).such("${LMCACHE_PORT:-65432}"),
	})
	s.AllOf = []*schema{{If: may("connector", "lmcache"), Then: &schema{}, Else: &schema{Properties: properties{{"cache_port", nothing}}}}}
	return s.says("Disaggregated", "Prefill and decode instances behind a proxy, instead of one instance that does both.")
}

func poolSchema(role, instances, tensorParallel string) *schema {
	return closed(poolKeys, forms{
		"instances":       count(1, maxParallel).says("Instances", "Number of "+role+" instances.").or(1).such("${" + instances + ":-1}"),
		"tensor_parallel": count(1, maxParallel).says("Tensor-parallel size", "GPUs that the model is split over, for each "+role+" instance.").or(1).such("${" + tensorParallel + ":-1}"),
		"args":            argsSchema().says("Arguments", "Arguments of the "+role+" instances only; they are added to the mode's and win over them."),
		"env":             envSchema().says("Environment", "Environment variables of the "+role+" instances only; they are added to the mode's and win over them."),
	}).says(strings.ToUpper(role[:1])+role[1:]+" instances", "The instances that "+map[string]string{
		"prefill": "read prompts and make the KV cache.", "decode": "take the KV cache and write answers.",
	}[role])
}

var argName = regexp.MustCompile(`^[^-\s=\x00][^\s=\x00]*$`)

func argsSchema() *schema {
	var taken []string
	for name := range argHasKey {
		taken = append(taken, name)
		if under := strings.ReplaceAll(name, "-", "_"); under != name {
			taken = append(taken, under)
		}
	}
	s := open(taken...)
	s.PropertyNames = names(argName, "the name of an argument, without dashes before it")
	return s
}

func envSchema() *schema {
	return texts(names(envName, "the name of an environment variable"), anyText())
}

// oneLineText is the value of a header.
func oneLineText() *schema {
	s := anyText()
	s.Pattern, s.PatternErrorMessage = `^[^\r\n\x00]*$`, "must be one line"
	return s
}

// nonBlank is a text with something in it. An unquoted true is one too: it is
// a command.
func nonBlank() *schema {
	s := anyText()
	s.Pattern, s.PatternErrorMessage = `\S`, "must not be empty"
	return s
}
