package specs

import (
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// What may be said of a mode depends on how it serves.
var (
	modeKeys = []string{"engine", "endpoint", "headers", "port", "tensor_parallel", "gpu_memory_utilization", "args", "env", "run", "disaggregated", "expect"}
	poolKeys = []string{"instances", "tensor_parallel", "args", "env"}

	disaggregatedKeys = []string{"connector", "prefill", "decode", "cache_port"}

	engines = []string{"vllm", "simulated", "command"}

	modeKeysOf = map[string][]string{
		"vllm":      {"engine", "headers", "port", "tensor_parallel", "gpu_memory_utilization", "args", "env", "disaggregated", "expect"},
		"simulated": {"engine", "headers", "port", "tensor_parallel", "gpu_memory_utilization", "args", "env", "disaggregated", "expect"},
		"command":   {"engine", "headers", "port", "tensor_parallel", "env", "run", "expect"},
		"endpoint":  {"endpoint", "headers", "expect"},
	}
	connectors = []string{"nixl", "lmcache"}

	// What many servers tell of themselves; some tell more.
	toldOften = []string{
		"engine", "server", "engine_version", "model", "model_root", "max_model_len", "kv_connector", "kv_role", "kv_load_failure_policy",
		"tensor_parallel_size", "pipeline_parallel_size", "data_parallel_size", "dtype", "quantization", "kv_cache_dtype", "block_size",
		"gpu_memory_utilization", "enable_prefix_caching", "enable_chunked_prefill", "enforce_eager", "max_num_seqs", "max_num_batched_tokens",
	}
)

// Names become folders, labels and parts of dotted paths.
// nameForm is what can name a folder: file systems take 255 bytes.
var nameForm = regexp.MustCompile(`^[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}$`)

// maxParallel bounds instances and tensor-parallel sizes: more than any host
// has, and its square still fits an int.
const maxParallel = 4096

func (r *reader) decodeModes(n *node) []Mode {
	if n.isNull() {
		return nil
	}
	if n.kind != mapping {
		r.errorf(n.pos, "", "modes must be a mapping of names to modes, not %v", n.kind)
		return nil
	}
	out := make([]Mode, len(n.entries))
	for i, e := range n.entries {
		if !nameForm.MatchString(e.key) {
			r.errorf(e.at, "letters, digits, . _ and -", "%q is not the name of a mode", e.key)
		}
		out[i] = r.decodeMode(e.key, e.value)
	}
	return out
}

func (r *reader) decodeMode(name string, n *node) Mode {
	m := Mode{Name: name}
	where := "modes." + name
	for _, e := range r.mapping(n, where, modeKeys) {
		v := e.value
		switch e.key {
		case "engine":
			m.Engine = r.choice(v, where+".engine", engines...)
		case "endpoint":
			m.Endpoint = r.endpoint(v, where+".endpoint")
		case "headers":
			m.Headers = r.texts(v, where+".headers", headerNoun, headerName)
		case "port":
			if m.Port = r.count(v, where+".port", 0); m.Port > 65535 {
				r.errorf(v.pos, "", "%s.port is over 65535", where)
			}
		case "tensor_parallel":
			m.TensorParallel = r.parallel(v, where+".tensor_parallel")
		case "gpu_memory_utilization":
			m.GPUMemoryUtilization = r.share(v, where+".gpu_memory_utilization")
		case "args":
			m.Args = r.args(v, where+".args")
		case "env":
			m.Env = r.texts(v, where+".env", envNoun, envName)
		case "run":
			m.Run = r.word(v, where+".run")
		case "disaggregated":
			m.Disaggregated = r.disaggregated(v, where+".disaggregated")
		case "expect":
			m.Expect = r.texts(v, where+".expect", expectNoun, expectName)
			for _, e := range v.entries {
				name, _, _ := strings.Cut(e.key, ".")
				if like := nearest(name, toldOften); !slices.Contains(toldOften, name) && like != "" {
					r.warnf("%s.expect: servers do not tell %q (did you mean %q?)", where, name, like)
				}
			}
		}
	}
	return m
}

func (r *reader) disaggregated(n *node, where string) *Disaggregated {
	d := &Disaggregated{}
	for _, e := range r.mapping(n, where, disaggregatedKeys) {
		switch e.key {
		case "connector":
			d.Connector = r.choice(e.value, where+".connector", connectors...)
		case "prefill":
			d.Prefill = r.pool(e.value, where+".prefill")
		case "decode":
			d.Decode = r.pool(e.value, where+".decode")
		case "cache_port":
			if d.CachePort = r.count(e.value, where+".cache_port", 0); d.CachePort > 65535 {
				r.errorf(e.value.pos, "", "%s.cache_port is over 65535", where)
			}
		}
	}
	return d
}

func (r *reader) pool(n *node, where string) Pool {
	var p Pool
	for _, e := range r.mapping(n, where, poolKeys) {
		switch e.key {
		case "instances":
			p.Instances = r.parallel(e.value, where+".instances")
		case "tensor_parallel":
			p.TensorParallel = r.parallel(e.value, where+".tensor_parallel")
		case "args":
			p.Args = r.args(e.value, where+".args")
		case "env":
			p.Env = r.texts(e.value, where+".env", envNoun, envName)
		}
	}
	return p
}

func (r *reader) parallel(n *node, where string) int {
	v := r.count(n, where, 1)
	if v > maxParallel {
		r.errorf(n.pos, "", "%s is over %d", where, maxParallel)
		return maxParallel
	}
	return v
}

// Arguments that have a key of their own, which other parts of vbp rely on.
var argHasKey = map[string]string{
	"model":                  "the spec's model",
	"port":                   "port",
	"host":                   "nothing: servers listen on 127.0.0.1",
	"tensor-parallel-size":   "tensor_parallel",
	"gpu-memory-utilization": "gpu_memory_utilization",
}

func (r *reader) args(n *node, where string) []Arg {
	if n.kind != mapping {
		r.errorf(n.pos, "write {max-model-len: 4096}", "%s must be a mapping, not %v", where, n.kind)
		return nil
	}
	out := make([]Arg, 0, len(n.entries))
	for _, e := range n.entries {
		switch key, taken := argHasKey[strings.ReplaceAll(e.key, "_", "-")]; {
		case taken:
			r.errorf(e.at, "use "+key, "%s: %q has a key of its own", where, e.key)
		case strings.HasPrefix(e.key, "-"):
			r.errorf(e.at, "leave the dashes away", "%s: %q begins with dashes", where, e.key)
		case e.key == "" || strings.ContainsAny(e.key, " \t\r\n=\x00"):
			r.errorf(e.at, "", "%s: %q is not the name of an argument", where, e.key)
		}
		out = append(out, Arg{Name: e.key, Value: r.value(e.value, where+"."+e.key)})
	}
	return out
}

// endpoint reads the address of a server, to which clients add /v1/....
func (r *reader) endpoint(n *node, where string) string {
	s := strings.TrimRight(r.word(n, where), "/")
	if s == "" {
		return s
	}
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		r.errorf(n.pos, "write http://host:8000", "%s is not the address of a server: %q", where, s)
	case u.RawQuery != "" || u.Fragment != "":
		r.errorf(n.pos, "write http://host:8000", "%s has a query: %q", where, s)
	case u.User != nil:
		r.errorf(n.pos, "use headers: {Authorization: ...} with ${secret:NAME}", "%s holds a password", where)
	case strings.HasSuffix(u.Path, "/v1"):
		r.errorf(n.pos, "leave /v1 away", "%s: the paths of the API are added to it", where)
	}
	return s
}

func defaultMode(m *Mode, n *node) {
	if m.Endpoint != "" {
		return
	}
	if !n.has("engine") {
		m.Engine = "vllm"
	}
	if m.Engine == "vllm" && !n.has("gpu_memory_utilization") {
		m.GPUMemoryUtilization = 0.8
	}
	d := m.Disaggregated
	if d == nil {
		// A command that does not ask for GPUs is given none.
		if !n.has("tensor_parallel") && (m.Engine != "command" || strings.Contains(m.Run, "{gpus}")) {
			m.TensorParallel = 1
		}
		return
	}
	if !n.has("disaggregated", "connector") {
		d.Connector = "nixl"
	}
	if d.Connector == "lmcache" && m.Engine == "vllm" && !n.has("disaggregated", "cache_port") {
		d.CachePort = 65432
	}
	for name, p := range map[string]*Pool{"prefill": &d.Prefill, "decode": &d.Decode} {
		if !n.has("disaggregated", name, "instances") {
			p.Instances = 1
		}
		if !n.has("disaggregated", name, "tensor_parallel") {
			p.TensorParallel = 1
		}
	}
}

// validateMode checks what is said of a mode against its engine.
func (r *reader) validateMode(m *Mode, n *node, at pos) {
	where := "modes." + m.Name
	what, kind := "engine: "+m.Engine, m.Engine
	if n.has("endpoint") {
		what, kind = "endpoint (a server that already runs)", "endpoint"
	}
	may := modeKeysOf[kind]
	if n != nil && may != nil {
		for _, e := range n.entries {
			if slices.Contains(modeKeys, e.key) && !slices.Contains(may, e.key) && !e.value.isNull() {
				r.errorf(e.at, "it takes "+strings.Join(may, ", "), "%s: %s does not go with %s", where, e.key, what)
			}
		}
	}
	switch {
	case kind == "command" && !n.has("run"):
		r.errorf(at, "run: the command line that starts your server", "%s: engine: command needs run", where)
	case kind == "command" && m.Port == 0 && !strings.Contains(m.Run, "{port}"):
		r.errorf(n.where("run"), "write {port} where the command takes it, or say a fixed port", "%s.run does not say where the server listens", where)
	}
	if d := m.Disaggregated; d != nil && d.CachePort != 0 && (d.Connector != "lmcache" || m.Engine != "vllm") {
		r.errorf(n.where("disaggregated", "cache_port"), "only engine: vllm with connector: lmcache has a cache server", "%s: disaggregated.cache_port has no use", where)
	}
	if d := m.Disaggregated; d != nil && d.Connector == "lmcache" && d.Prefill.TensorParallel != d.Decode.TensorParallel && m.Engine == "vllm" {
		r.errorf(n.where("disaggregated"), "give prefill and decode the same tensor_parallel", "%s: LMCache keeps KV by tensor-parallel rank: %d prefill and %d decode ranks never find each other's",
			where, d.Prefill.TensorParallel, d.Decode.TensorParallel)
	}
	if m.Disaggregated != nil && n.has("tensor_parallel") {
		r.errorf(n.where("tensor_parallel"), "say it in disaggregated.prefill and disaggregated.decode", "%s: a disaggregated mode has no tensor_parallel of its own", where)
	}
}

func modeNames(e *Experiment) []string {
	out := make([]string, len(e.Modes))
	for i := range e.Modes {
		out[i] = e.Modes[i].Name
	}
	return out
}
