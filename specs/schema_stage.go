package specs

import (
	"slices"
	"time"
)

func stagesSchema() *schema {
	s := &schema{Type: []string{"object"}, PropertyNames: names(stageName, "letters, digits, _ and -")}
	var again []branch // of those that may be there more than once
	for _, use := range stageUses {
		if stageKinds[use].again {
			again = append(again, branch{is("uses", use), stageSchema(use)})
		}
	}
	for _, name := range stageOrder {
		s.Properties = append(s.Properties, property{name, orNull(stageSchema(name).says(stageSays[name][0], stageSays[name][1]))})
	}
	// A stage may be called command and then need not say that it is one.
	command := branches(stageSchema("command"), again...)
	command.Type = []string{"object"}
	s.Properties = append(s.Properties, property{"command", command.says(stageSays["command"][0], stageSays["command"][1])})
	for _, name := range stageReserved {
		s.Properties = append(s.Properties, property{name, nothing})
	}
	s.AdditionalProperties = otherStageSchema(again)
	return s.says("Stages", "Settings of the six stages that every experiment has, and further analyses, plots and commands under names of their own.")
}

// stageSays are the title and description of each use.
var stageSays = map[string][2]string{
	"deploy":  {"Deploy", "How servers are started."},
	"warmup":  {"Warm-up", "A short load before the first point of a deployment, with prompts of its own; null for none."},
	"load":    {"Load", "How points are measured."},
	"collect": {"Collect", "What is stored of each point."},
	"analyze": {"Analysis", "Attainment, crossings and capacity, scored from stored samples."},
	"plot":    {"Plot", "Draws the figures of one analysis."},
	"command": {"Command", "A command of your own, cached by the content of its inputs and needs."},
}

// stageSchema is a stage of one use. Only those that can be there again need
// say it.
func stageSchema(use string) *schema {
	kind := stageKinds[use]
	f := forms{
		"uses":  choice(use).says("Use", "What the stage does.").or(use),
		"needs": needsSchema(use, kind),
		"per":   choice(kind.per...).says("Once per", "What the stage is done once for.").or(kind.per[0]),
	}
	for key, form := range stageSettings(use) {
		f[key] = form
	}
	var required []string
	if use == "command" {
		required = []string{"run"}
	}
	s := closed(append(slices.Clone(stageCommonKeys), kind.keys...), f, required...)
	if required != nil {
		s.Type = []string{"object"}
	}
	if use == "load" {
		none := &schema{Type: []string{"integer", "string", "null"}, Maximum: limit(0), Pattern: orEnv(`^[-+]?0+$`), PatternErrorMessage: "must be 0: net/http has no event loops of ours"}
		s.AllOf = []*schema{{If: is("transport", "net/http"), Then: &schema{Properties: properties{{"loops", none}}}}}
	}
	return s
}

// address is an IP address.
func address() *schema {
	const octet = `(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)`
	return word(`^`+octet+`(?:\.`+octet+`){3}$|^[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*(?:%\S+)?$`, "an IP address of this host")
}

func needsSchema(use string, kind stageKind) *schema {
	const title = "Needs"
	switch {
	case use == "plot":
		s := words(`\S`, "the name of an analyze stage").notEmpty()
		s.MaxItems = size(1)
		return s.says(title, "The analyze stage whose analysis is drawn.").or(kind.needs)
	case use == "command":
		return words(`\S`, "the name of a stage").says(title, "Stages whose results the command reads; the folder of each is in VBP_NAME.").such([]string{"analyze"})
	case len(kind.needs) == 0:
		return (&schema{Type: []string{"array"}, MaxItems: size(0)}).says(title, "Nothing comes before it.")
	}
	s := choices(kind.needs...).notEmpty()
	s.AnyOf[0].MaxItems = size(len(kind.needs))
	return s.says(title, "The stage that comes before it.").or(kind.needs)
}

// stageSettings are the keys that a use has of its own.
func stageSettings(use string) forms {
	switch use {
	case "deploy":
		return forms{
			"ready_timeout": duration(1).says("Ready timeout", "How long a server may take until it answers, a duration.").or("300s"),
			"restarts":      count(0, maxCount).says("Restarts", "How often a deployment that died is started and warmed up anew, at most; 0 for never.").or(defaultRestarts),
		}
	case "warmup":
		return forms{"requests": count(0, maxCount).says("Requests", "Requests of the warm-up; 0 for none.").or(20)}
	case "load":
		return forms{
			"timeout":        duration(1).says("Timeout", "How long one request may take, a duration; one that takes longer is a miss.").or("120s"),
			"cooldown":       duration(0).says("Cool-down", "Pause between points of a deployment, at least, a duration; 0 for none.").or("2s"),
			"cooldown_limit": duration(0).says("Longest cool-down", "How long the pause lasts at most while the servers still have requests queued, a duration, not less than cooldown; a longer cooldown raises the default.").or("60s"),
			"retries":        count(0, maxCount).says("Retries", "How often a point is measured again, at most, if it breaks a rule of valid or its servers fail; every attempt is kept and counted. 0 for never.").or(defaultRetries),
			"side_by_side":   boolean().says("Side by side", "Whether deployments may be loaded at the same time, where they allow it; such results are for trying things out.").or(false),

			"transport":        choice(transports...).says("Transport", "What sends: event loops of the system's own (epoll: Linux, plain http), Go's net/http, or the best that goes with the address (auto).").or(transports[0]),
			"loops":            count(0, mostLoops).says("Event loops", "Event loops of epoll, each of which takes a core; 0 for as many as the rate needs. One under workload.max_concurrency, which needs to know what is in flight.").or(0),
			"source_addresses": listOf(address()).notEmpty().says("Source addresses", "IP addresses of this host that connections go out from, in turn: each has ports of its own. Default: the system's choice.").such([]string{"127.0.0.2", "127.0.0.3"}),
		}
	case "collect":
		return forms{
			"server_metrics": duration(0).says("Server metrics", "Interval at which /metrics of the servers is read, a duration; 0 for never.").or("1s"),
			"formats":        choices(sampleFormats...).notEmpty().says("Formats", "Formats that samples are stored in.").or(sampleFormats),
		}
	case "analyze":
		return forms{
			"slo":        sloSchema(SLO{}).says("Objectives", "Objectives of this analysis. Default: those of the experiment."),
			"slo_scales": scalesSchema(),
			"scale_rate": scaleRateSchema(),
			"window": closed(windowKeys, forms{
				"from": edge(false).says("Beginning", "The first instant that counts: a duration after the point's first scheduled request, or a share of its schedule. Default: the first request.").such("10s", "10%"),
				"to":   edge(true).says("End", "The first instant that counts no more, a duration or a share as for from. Default: the end of the point.").such("60s", "90%"),
			}).says("Window", "The part of each point that is analyzed; requests scheduled outside are left out, and stay in the samples. Default: all of it."),
		}
	case "plot":
		return forms{
			"formats": choices(figureFormats...).notEmpty().says("Formats", "File formats of the figures.").or(figureFormats),
			"dir":     anyText().says("Folder", "Folder of the figures, relative to where vbp runs. Default: plots in the run's folder.").such("${PLOT_OUTPUT_DIR:-}"),
		}
	case "command":
		return forms{
			"run":     nonBlank().says("Command line", "Run by sh -c in a folder of its own; ${} is left to the shell.").such("./summarise.sh > summary.md"),
			"inputs":  words(`\S`, "a path").says("Inputs", "Files that are copied into the command's folder, relative to the spec's; their content decides whether it runs again.").such([]string{"summarise.sh"}),
			"outputs": words(`^\s*[^/\s]`, "a path in the command's own folder").says("Outputs", "Files that must be there afterwards, relative to the command's folder; they are kept in the run's.").such([]string{"summary.md"}),
			"env":     envSchema().says("Environment", "Environment variables of the command; it inherits few others. ${secret:NAME} is written nowhere."),
			"timeout": duration(0).says("Timeout", "How long the command may take, a duration; 0 for no limit.").or(time.Duration(0).String()),
		}
	}
	return nil
}

// otherStageSchema is a stage with a name of its own, which must say its use.
func otherStageSchema(again []branch) *schema {
	var words []string
	for _, use := range stageUses {
		if stageKinds[use].again {
			words = append(words, use)
		}
	}
	uses := properties{{"uses", choice(words...).says("Use", "What the stage does: a further analysis or plot, or a command of your own.")}}
	s := branches(&schema{}, again...)
	s.Type, s.Required, s.Properties = []string{"object"}, []string{"uses"}, uses
	return s.says("Your own stage", "A further analysis or plot, or a command of your own.")
}
