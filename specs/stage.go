package specs

import (
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// stageOrder is the stages that every experiment has, in order of work.
var stageOrder = []string{"deploy", "warmup", "load", "collect", "analyze", "plot"}

// stageUses is what a stage may be: the six and the user's own command.
var stageUses = append(slices.Clone(stageOrder), "command")

// stageKind is what the language knows of one use.
type stageKind struct {
	keys  []string // its settings
	per   []string // the default first
	needs []string // of the stage that bears the name
	again bool     // a second one of other name is allowed
}

var stageKinds = map[string]stageKind{
	"deploy":  {keys: []string{"ready_timeout", "restarts"}, per: []string{"mode"}},
	"warmup":  {keys: []string{"requests"}, per: []string{"mode"}, needs: []string{"deploy"}},
	"load":    {keys: []string{"timeout", "cooldown", "cooldown_limit", "retries", "side_by_side", "transport", "loops", "source_addresses"}, per: []string{"point"}, needs: []string{"warmup"}},
	"collect": {keys: []string{"server_metrics", "formats"}, per: []string{"run"}, needs: []string{"load"}},
	"analyze": {keys: []string{"slo", "slo_scales", "scale_rate", "window"}, per: []string{"run"}, needs: []string{"collect"}, again: true},
	"plot":    {keys: []string{"formats", "dir"}, per: []string{"run"}, needs: []string{"analyze"}, again: true},
	"command": {keys: []string{"run", "inputs", "outputs", "env", "timeout"}, per: []string{"run", "mode", "point"}, again: true},
}

// A second try tells an accident from a fault; a third would be fishing. A
// server that died three times is the experiment's to mend, not the night's.
const (
	defaultRetries  = 1
	defaultRestarts = 2
)

// stageEffort are settings that change what is tried, and nothing that is
// measured.
var stageEffort = map[string]string{"deploy": "restarts", "load": "retries"}

var stageCommonKeys = []string{"uses", "needs", "per"}

// Formats that samples and figures can be written in.
var (
	sampleFormats = []string{"parquet"}
	figureFormats = []string{"pdf", "svg", "png"}
)

// Names of stages become folders, and VBP_NAME variables of commands.
var stageName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_-]*$`)

// stageReserved are names in a run's folder that are not a stage's.
var stageReserved = []string{"samples", "server_metrics", "logs", "plots"}

// decodeStages returns the six, then the spec's own in its order.
func (r *reader) decodeStages(n *node) []Stage {
	out := make([]Stage, 0, len(stageOrder))
	for _, name := range stageOrder {
		out = append(out, r.decodeStage(name, n.find(name)))
	}
	if n.isNull() {
		return out
	}
	if n.kind != mapping {
		r.errorf(n.pos, "", "stages must be a mapping of names to stages, not %v", n.kind)
		return out
	}
	for _, e := range n.entries {
		if slices.Contains(stageOrder, e.key) {
			continue
		}
		if slices.Contains(stageReserved, e.key) {
			r.errorf(e.at, "choose another name", "a stage cannot be called %s: its folder in the run's would be another thing's", e.key)
		}
		if !stageName.MatchString(e.key) {
			r.errorf(e.at, "letters, digits, _ and -", "%q is not the name of a stage", e.key)
		}
		if !slices.Contains(stageUses, e.key) && !e.value.has("uses") {
			hint := didYouMean(e.key, stageOrder)
			if !strings.HasPrefix(hint, "did") {
				hint = "say uses: analyze, plot or command"
			}
			r.errorf(e.at, hint, "the stage %q does not say what it uses", e.key)
			continue
		}
		out = append(out, r.decodeStage(e.key, e.value))
	}
	return out
}

func (r *reader) decodeStage(name string, n *node) Stage {
	s := Stage{Name: name, Uses: name}
	where := "stages." + name
	if u := n.find("uses"); !u.isNull() {
		s.Uses = r.choice(u, where+".uses", stageUses...)
	}
	switch s.Uses {
	case "deploy":
		s.Deploy = &DeployStage{}
	case "warmup":
		s.Warmup = &WarmupStage{}
	case "load":
		s.Load = &LoadStage{}
	case "collect":
		s.Collect = &CollectStage{}
	case "analyze":
		s.Analyze = &AnalyzeStage{}
	case "plot":
		s.Plot = &PlotStage{}
	case "command":
		s.Command = &CommandStage{}
	default:
		return s // of an unknown use nothing else can be checked
	}
	if n.isNull() {
		return s
	}
	kind := stageKinds[s.Uses]
	for _, e := range r.mapping(n, where, append(slices.Clone(stageCommonKeys), kind.keys...)) {
		v, at := e.value, where+"."+e.key
		switch e.key {
		case "needs":
			s.Needs = r.words(v, at)
		case "per":
			s.Per = r.choice(v, at, kind.per...)
		case "ready_timeout":
			s.Deploy.ReadyTimeout = r.duration(v, at, 1)
		case "restarts":
			s.Deploy.Restarts = r.count(v, at, 0)
		case "requests":
			s.Warmup.Requests = r.count(v, at, 0)
		case "cooldown":
			s.Load.Cooldown = r.duration(v, at, 0)
		case "cooldown_limit":
			s.Load.CooldownLimit = r.duration(v, at, 0)
		case "retries":
			s.Load.Retries = r.count(v, at, 0)
		case "side_by_side":
			s.Load.SideBySide = r.boolean(v, at)
		case "transport":
			s.Load.Transport = r.choice(v, at, transports...)
		case "loops":
			s.Load.Loops = r.loops(v, at)
		case "source_addresses":
			s.Load.SourceAddresses = r.addresses(v, at)
		case "server_metrics":
			s.Collect.ServerMetrics = r.duration(v, at, 0)
		case "slo":
			s.Analyze.SLO = r.decodeSLO(v, at)
		case "slo_scales":
			s.Analyze.SLOScales = r.decodeScales(v, at)
		case "scale_rate":
			rate := r.positive(v, at)
			s.Analyze.ScaleRate = &rate
		case "window":
			s.Analyze.Window = r.decodeWindow(v, at)
		case "dir":
			s.Plot.Dir = r.text(v, at)
		case "timeout":
			if s.Load != nil {
				s.Load.Timeout = r.duration(v, at, 1)
			} else {
				s.Command.Timeout = r.duration(v, at, 0)
			}
		case "formats":
			if s.Collect != nil {
				s.Collect.Formats = r.words(v, at, sampleFormats...)
			} else {
				s.Plot.Formats = r.words(v, at, figureFormats...)
			}
			if v.kind == list && len(v.items) == 0 {
				r.errorf(v.pos, "", "%s is empty", at)
			}
		case "run":
			s.Command.Run = r.word(v, at)
		case "inputs":
			for _, item := range r.list(v, at) {
				s.Command.Inputs = append(s.Command.Inputs, r.path(item, at))
			}
		case "outputs":
			s.Command.Outputs = r.words(v, at)
		case "env":
			s.Command.Env = r.texts(v, at, envNoun, envName)
		}
	}
	return s
}

// defaultStage fills in what n does not say. A warmup that is said to be null
// is none.
func defaultStage(s *Stage, n *node, e *Experiment) {
	kind, ok := stageKinds[s.Uses]
	if !ok {
		return
	}
	if !n.has("needs") {
		s.Needs = slices.Clone(kind.needs)
	}
	if !n.has("per") {
		s.Per = kind.per[0]
	}
	switch {
	case s.Deploy != nil:
		if !n.has("ready_timeout") {
			s.Deploy.ReadyTimeout = 300 * time.Second
		}
		if !n.has("restarts") {
			s.Deploy.Restarts = defaultRestarts
		}
	case s.Warmup != nil:
		if !n.has("requests") && (n == nil || !n.isNull()) {
			s.Warmup.Requests = 20
		}
	case s.Load != nil:
		if !n.has("timeout") {
			s.Load.Timeout = 120 * time.Second
		}
		if !n.has("cooldown") {
			s.Load.Cooldown = 2 * time.Second
		}
		if !n.has("cooldown_limit") {
			s.Load.CooldownLimit = max(time.Minute, s.Load.Cooldown)
		}
		if !n.has("retries") {
			s.Load.Retries = defaultRetries
		}
		if !n.has("transport") {
			s.Load.Transport = transports[0]
		}
	case s.Collect != nil:
		if !n.has("server_metrics") {
			s.Collect.ServerMetrics = time.Second
		}
		if !n.has("formats") {
			s.Collect.Formats = slices.Clone(sampleFormats)
		}
	case s.Analyze != nil:
		defaultSLO(&s.Analyze.SLO, n.find("slo"), e.SLO)
		if !n.has("slo_scales") {
			s.Analyze.SLOScales = e.SLOScales
		}
		if !n.has("scale_rate") {
			s.Analyze.ScaleRate = e.ScaleRate
		}
	case s.Plot != nil:
		if !n.has("formats") {
			s.Plot.Formats = slices.Clone(figureFormats)
		}
	}
}

// validateStage checks one stage by itself.
func (r *reader) validateStage(s *Stage, root *node) {
	kind, ok := stageKinds[s.Uses]
	if !ok {
		return
	}
	where := "stages." + s.Name
	named := slices.Contains(stageOrder, s.Name)
	switch {
	case named && s.Uses != s.Name:
		r.errorf(root.where("stages", s.Name, "uses"), "give it another name", "%s is the stage that every experiment has; it cannot use %s", where, s.Uses)
		return
	case !named && !kind.again:
		r.errorf(root.where("stages", s.Name, "uses"), "analyze, plot and command may be there more than once", "%s is a second %s", where, s.Uses)
		return
	}
	r.validateNeeds(s, kind, root)
	r.validateCooldown(s, root)
	r.validateTransport(s, root)
	c := s.Command
	if c == nil {
		return
	}
	if !root.has("stages", s.Name, "run") {
		r.errorf(root.where("stages", s.Name), `run: "./summarise.sh"`, "%s: a command needs run", where)
	}
	for i, path := range c.Inputs {
		if wrong := r.regularFile(path); wrong != "" && path != "" {
			at := root.where("stages", s.Name, "inputs")
			if n := root.find("stages", s.Name, "inputs"); n.kind == list {
				at = n.items[i].pos
			}
			r.errorf(at, "the path is relative to the spec's folder", "%s.inputs: %s %s", where, path, wrong)
		}
	}
	r.validateInputNames(s, root)
	for i, path := range c.Outputs {
		if !filepath.IsLocal(path) || slices.Contains(strings.Split(path, "/"), "..") {
			at := root.where("stages", s.Name, "outputs")
			if n := root.find("stages", s.Name, "outputs"); n.kind == list {
				at = n.items[i].pos
			}
			r.errorf(at, "outputs lie in the command's own folder", "%s.outputs: %q leaves it", where, path)
		}
	}
}

// validateCooldown checks that the longest cool-down is not shorter than the
// least one.
func (r *reader) validateCooldown(s *Stage, root *node) {
	l := s.Load
	if l == nil || l.CooldownLimit >= l.Cooldown {
		return
	}
	n := root.find("stages", s.Name, "cooldown_limit")
	if _, err := parseDuration(n.text); err == nil { // else it is said already
		r.errorf(n.pos, "cooldown grows to it while requests are still queued", "stages.%s.cooldown_limit is shorter than the cooldown: %s < %s",
			s.Name, durationText(l.CooldownLimit), durationText(l.Cooldown))
	}
}

// validateInputNames checks that no file of a command's folder is two: inputs
// are copied there under their base names, and its streams are kept there.
func (r *reader) validateInputNames(s *Stage, root *node) {
	at, where := root.where("stages", s.Name), "stages."+s.Name
	seen := map[string]bool{"stdout.txt": true, "stderr.txt": true}
	for _, path := range s.Command.Inputs {
		name := filepath.Base(path)
		if seen[name] {
			r.errorf(at, "rename one", "%s: the command's folder would hold two files %s", where, name)
		}
		seen[name] = true
	}
	for _, name := range s.Command.Outputs {
		if seen[filepath.Clean(name)] {
			r.errorf(at, "rename it", "%s: the output %s is there before the command has run, or is written by vbp", where, name)
		}
	}
}
