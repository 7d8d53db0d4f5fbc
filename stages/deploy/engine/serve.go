package engine

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/pflag"
)

// ParseServe reads the command line of `vllm serve`, behind the word serve,
// and the environment that vLLM looks at, so that the simulated engine can
// take vLLM's place under its own name. It is a superset: the flags of the
// simulation are taken too.
//
// What vLLM takes and a simulation has no use for is accepted and noted for
// the log; what neither knows is an error. The options are those of an engine
// that behaves as vLLM does in what else it serves, too: see Options.Strict.
func ParseServe(args []string, env func(name string) (string, bool)) (Options, error) {
	o := Options{Strict: true}
	fs := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	fs.SetOutput(io.Discard)
	o.Flags(fs)
	p := serveParser{o: &o, fs: fs, known: map[string]bool{}, transfer: map[string]any{}, gpus: 1}
	list, err := readArguments(args, p.arity)
	if err != nil {
		return o, err
	}
	for _, a := range list {
		if err := p.take(a); err != nil {
			return o, err
		}
	}
	if err := p.finish(); err != nil {
		return o, err
	}
	return o, p.environment(env)
}

// serveParser is ParseServe at work.
type serveParser struct {
	o        *Options
	fs       *pflag.FlagSet
	words    []string        // that are no flags
	strange  []string        // flags that nobody knows
	idle     []string        // flags without effect, once each
	known    map[string]bool // those in idle
	transfer map[string]any  // members of --kv-transfer-config given one by one
	gpus     int             // pipeline-parallel size: a factor of the GPUs needed
}

// lists are flags of ours that take several values here.
var lists = []string{"served-model-name", "api-key"}

const pipelineFlag = "pipeline-parallel-size"

// arity of a flag, ours first.
func (p *serveParser) arity(name string) arity {
	f := p.fs.Lookup(name)
	switch {
	case slices.Contains(lists, name):
		return some
	case f != nil && f.NoOptDefVal != "" || name == "disable-prefix-caching":
		return none
	case f != nil || name == pipelineFlag || slices.Contains(beyond, name):
		return one
	}
	return idle(name)
}

// take applies one argument.
func (p *serveParser) take(a argument) error {
	kind := p.arity(a.name)
	switch {
	case a.name == "":
		p.words = append(p.words, a.values...)
	case kind == unknown:
		p.strange = append(p.strange, a.name)
	case slices.Contains(beyond, a.name):
		return fmt.Errorf("--%s is not simulated, and to ignore it would mislead; leave it out", a.name)
	case a.name == "kv-transfer-config" && a.path != nil:
		value := jsonOrText(a.values[0])
		if a.add {
			value = []any{value}
		}
		merge(p.transfer, nested(a.path, value))
	case a.name == "disable-prefix-caching":
		p.o.EnablePrefixCaching = a.no
	case a.name == "served-model-name":
		p.o.ServedModelName = a.values
	case a.name == "api-key":
		p.o.APIKeys = a.values
	case a.name == pipelineFlag:
		n, err := strconv.Atoi(a.values[0])
		if err != nil || n < 1 {
			return fmt.Errorf("--%s %s: a number of at least 1", pipelineFlag, a.values[0])
		}
		p.gpus = n
		p.ignore(pipelineFlag)
	case p.fs.Lookup(a.name) == nil:
		if a.no {
			a.name = "no-" + a.name
		}
		p.ignore(a.name)
	case kind == none:
		return p.fs.Set(a.name, strconv.FormatBool(!a.no))
	default:
		return p.set(a.name, a.values[0])
	}
	return nil
}

// set gives a flag of ours its value in the forms that vLLM takes.
func (p *serveParser) set(name, value string) error {
	switch name {
	case "max-model-len":
		if value = humanInt(value); value == "-1" || value == "auto" {
			value = "0"
		}
	case "max-num-batched-tokens":
		value = humanInt(value)
	}
	if err := p.fs.Set(name, value); err != nil {
		if name == "kv-transfer-config" {
			return fmt.Errorf("--%s: %w", name, p.o.KVTransfer.Set(value)) // without the value itself, which is long
		}
		return err
	}
	return nil
}

func (p *serveParser) ignore(name string) {
	if !p.known[name] {
		p.known[name] = true
		p.idle = append(p.idle, "--"+name)
	}
}

// finish settles what depends on several arguments.
func (p *serveParser) finish() error {
	o := p.o
	if len(p.strange) > 0 {
		var told []string
		for _, name := range p.strange {
			told = append(told, "--"+name+didYouMean("--"+name, p.names()))
		}
		return fmt.Errorf("unrecognized arguments: %s; neither vllm serve nor the simulation has them", strings.Join(told, ", "))
	}
	if len(p.words) > 1 {
		return fmt.Errorf("unrecognized arguments: %s; the model is %q already", strings.Join(p.words[1:], " "), p.words[0])
	}
	if len(p.words) == 1 {
		o.Model = p.words[0]
	}
	if len(p.transfer) > 0 {
		whole := o.KVTransfer.given
		if whole == nil {
			whole = map[string]any{}
		}
		merge(whole, p.transfer)
		text, err := json.Marshal(whole)
		if err == nil {
			err = o.KVTransfer.Set(string(text))
		}
		if err != nil {
			return fmt.Errorf("--kv-transfer-config: %w", err)
		}
	}
	if o.Preset == "" {
		preset, note := presetFor(o.model())
		o.Preset = preset
		if note != "" {
			o.Notes = append(o.Notes, note)
		}
	}
	if len(p.idle) > 0 {
		o.Notes = append(o.Notes, "without effect in a simulation: "+strings.Join(p.idle, " "))
	}
	if note := o.KVTransfer.unsimulated(); note != "" {
		o.Notes = append(o.Notes, note)
	}
	return nil
}

// names are all flags that are taken.
func (p *serveParser) names() []string {
	names := slices.Concat(idleSwitches, idleValues, idleLists, idleOptional, beyond, []string{pipelineFlag})
	p.fs.VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	for i := range names {
		names[i] = "--" + names[i]
	}
	return names
}

// environment reads the variables that vLLM and LMCache read.
func (p *serveParser) environment(env func(string) (string, bool)) error {
	o := p.o
	get := func(name string) string { v, _ := env(name); return v }
	if mode := get("VLLM_SERVER_DEV_MODE"); mode != "" {
		n, err := strconv.Atoi(mode)
		if err != nil {
			return fmt.Errorf("VLLM_SERVER_DEV_MODE=%s: want 0 or 1", mode)
		}
		o.DevMode = n != 0
	}
	if key := get("VLLM_API_KEY"); key != "" && len(o.APIKeys) == 0 {
		o.APIKeys = []string{key}
	}
	if visible, set := env("CUDA_VISIBLE_DEVICES"); set {
		have, need := visibleGPUs(visible), o.TensorParallelSize*o.DataParallelSize*p.gpus
		if have < need {
			return fmt.Errorf("world size (%d) is larger than the number of available GPUs (%d) in this node: CUDA_VISIBLE_DEVICES is %q, "+
				"and --tensor-parallel-size x --data-parallel-size needs %d", need, have, visible, need)
		}
	}
	if o.KVTransfer.nixl() {
		host, port := cmp.Or(get("VLLM_NIXL_SIDE_CHANNEL_HOST"), "localhost"), cmp.Or(get("VLLM_NIXL_SIDE_CHANNEL_PORT"), "5600")
		n, err := strconv.Atoi(port)
		if err != nil || n < 1 || n+o.DataParallelSize-1 > 65535 {
			return fmt.Errorf("VLLM_NIXL_SIDE_CHANNEL_PORT=%s: want a port from which there is one for each of %d data-parallel ranks", port, o.DataParallelSize)
		}
		for rank := range o.DataParallelSize {
			o.SideChannel = append(o.SideChannel, net.JoinHostPort(host, strconv.Itoa(n+rank)))
		}
	}
	if o.KVTransfer.lmcache() {
		if file := get("LMCACHE_CONFIG_FILE"); file != "" {
			return errors.New("LMCACHE_CONFIG_FILE is not read by the simulation; give LMCACHE_REMOTE_URL and LMCACHE_CHUNK_SIZE instead")
		}
		if seed := get("PYTHONHASHSEED"); seed == "" || seed == "random" {
			o.Notes = append(o.Notes, "PYTHONHASHSEED is not set: as under LMCache, no other instance finds the KV that this one stores")
		}
		var err error
		o.LMCache, err = lmcacheFrom(get)
		return err
	}
	return nil
}

// visibleGPUs counts the devices of CUDA_VISIBLE_DEVICES: CUDA sees those up
// to the first that is invalid.
func visibleGPUs(list string) int {
	n := 0
	for id := range strings.SplitSeq(list, ",") {
		if id = strings.TrimSpace(id); id == "" || strings.HasPrefix(id, "-") || id == "NoDevFiles" {
			break
		}
		n++
	}
	return n
}

// presetFor finds the preset that a model behaves like: by the last part of
// its name or folder, then by the whole, then the one of the nearest size that
// the name tells. The note says so in the last case.
func presetFor(name string) (preset, note string) {
	base := filepath.Base(strings.TrimRight(name, "/"))
	for _, try := range []string{base, name} {
		if g, m, err := findPreset("", try); err == nil {
			return g.name + "/" + m.name, ""
		}
	}
	m := models[0]
	size, told := sizeIn(base)
	if told {
		m = slices.MinFunc(models, func(a, b model) int {
			return cmp.Compare(math.Abs(math.Log(a.params/size)), math.Abs(math.Log(b.params/size)))
		})
	}
	preset = gpus[slices.IndexFunc(gpus, func(g gpu) bool { return g.name == "h100" })].name + "/" + m.name
	what := "model"
	if info, err := os.Stat(name); err == nil && info.IsDir() {
		what = "folder"
	}
	return preset, fmt.Sprintf("no preset is known for the %s %s: it behaves like %s, the nearest there is (another: --preset)", what, name, preset)
}

// billions is a size in a model's name: 7B, 0.5b, 350M.
var billions = regexp.MustCompile(`(?i)(?:^|[^a-z0-9.])(\d+(?:\.\d+)?)([bm])(?:[^a-z0-9]|$)`)

// sizeIn is the number of parameters that a model's name tells.
func sizeIn(name string) (params float64, told bool) {
	found := billions.FindStringSubmatch(name)
	if found == nil {
		return 0, false
	}
	v, err := strconv.ParseFloat(found[1], 64)
	if strings.EqualFold(found[2], "m") {
		v /= 1000
	}
	return v * 1e9, err == nil && v > 0
}
