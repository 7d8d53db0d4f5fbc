package stages

import (
	"errors"
	"maps"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"time"

	"vbp/pipeline"
	"vbp/specs"
	"vbp/stages/deploy"
)

// modeOf reads one mode called m as a spec has it.
func modeOf(t *testing.T, mode string) (*specs.Experiment, specs.Mode) {
	t.Helper()
	e := newWorld(t).parse("model: some/model\nmodes:\n  m: " + mode + "\nsweep: {qps: [1]}\n")
	return e, e.Modes[0]
}

func TestDeploymentOf(t *testing.T) {
	for name, c := range map[string]struct {
		mode   string
		want   deploy.Deployment
		gpus   int
		config map[string]string
	}{
		"one instance": {
			mode: "{engine: simulated, port: 8001, tensor_parallel: 2, gpu_memory_utilization: 0.7, args: {b: 1, a: [x]}, env: {E: e}}",
			want: deploy.Deployment{
				Engine: "simulated", Model: "some/model", Port: 8001,
				Server: &deploy.Pool{
					Instances: 1, TensorParallel: 2, GPUMemoryUtilization: 0.7,
					Args: []deploy.Arg{{Name: "b", Value: int64(1)}, {Name: "a", Value: []any{"x"}}},
					Env:  map[string]string{"E": "e"},
				},
			},
			gpus: 2,
			config: map[string]string{
				"engine": "simulated", "deployment_mode": "simple", "model_name": "some/model", "tensor_parallel_size": "2",
			},
		},
		// What a pool says of an argument or a variable wins over the mode's,
		// whose others come first.
		"pools": {
			mode: `{engine: simulated, gpu_memory_utilization: 0.6, args: {a: 1, b: 2, c: 3}, env: {E: mode, F: mode},
    disaggregated: {connector: nixl,
      prefill: {instances: 2, tensor_parallel: 4, args: {d: 4, b: 20}, env: {F: prefill, G: prefill}},
      decode: {instances: 3}}}`,
			want: deploy.Deployment{
				Engine: "simulated", Model: "some/model", Connector: "nixl",
				Prefill: &deploy.Pool{
					Instances: 2, TensorParallel: 4, GPUMemoryUtilization: 0.6,
					Args: []deploy.Arg{{Name: "a", Value: int64(1)}, {Name: "c", Value: int64(3)}, {Name: "d", Value: int64(4)}, {Name: "b", Value: int64(20)}},
					Env:  map[string]string{"E": "mode", "F": "prefill", "G": "prefill"},
				},
				Decode: &deploy.Pool{
					Instances: 3, TensorParallel: 1, GPUMemoryUtilization: 0.6,
					Args: []deploy.Arg{{Name: "a", Value: int64(1)}, {Name: "b", Value: int64(2)}, {Name: "c", Value: int64(3)}},
					Env:  map[string]string{"E": "mode", "F": "mode"},
				},
			},
			gpus: 11,
			config: map[string]string{
				"engine": "simulated", "deployment_mode": "nixl", "model_name": "some/model",
				"num_prefill_instances": "2", "num_decode_instances": "3", "prefiller_tp_size": "4", "decoder_tp_size": "1",
			},
		},
		"environment of a pool only": {
			mode: "{engine: simulated, disaggregated: {connector: nixl, decode: {env: {G: decode}}}}",
			want: deploy.Deployment{
				Engine: "simulated", Model: "some/model", Connector: "nixl",
				Prefill: &deploy.Pool{Instances: 1, TensorParallel: 1},
				Decode:  &deploy.Pool{Instances: 1, TensorParallel: 1, Env: map[string]string{"G": "decode"}},
			},
			gpus: 2,
			config: map[string]string{
				"engine": "simulated", "deployment_mode": "nixl", "model_name": "some/model",
				"num_prefill_instances": "1", "num_decode_instances": "1", "prefiller_tp_size": "1", "decoder_tp_size": "1",
			},
		},
		"a server that runs": {
			mode: `{endpoint: "http://host:8000", headers: {A: "Bearer ${secret:KEY}"}}`,
			want: deploy.Deployment{
				Model: "some/model", Endpoint: "http://host:8000",
				Headers: map[string]string{"A": "Bearer ${secret:KEY}"},
			},
			config: map[string]string{"endpoint": "http://host:8000", "model_name": "some/model"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			e, m := modeOf(t, c.mode)
			before := maps.Clone(m.Env)
			got := deploymentOf(e, m)
			if !reflect.DeepEqual(got, c.want) {
				t.Errorf("got  %+v\nwant %+v", got, c.want)
			}
			if got.GPUs() != c.gpus {
				t.Errorf("%d GPUs, not %d", got.GPUs(), c.gpus)
			}
			if config := configOf(got); !maps.Equal(config, c.config) {
				t.Errorf("config %v\nwant   %v", config, c.config)
			}
			// An experiment is shared by its points and must not change.
			if !maps.Equal(m.Env, before) {
				t.Errorf("the mode's environment became %v", m.Env)
			}
		})
	}
}

func TestInstances(t *testing.T) {
	for want, d := range map[int]deploy.Deployment{
		1: {Endpoint: "http://h"},
		2: {Prefill: &deploy.Pool{Instances: 2}, Decode: &deploy.Pool{Instances: 1}},
		3: {Prefill: &deploy.Pool{Instances: 2}, Decode: &deploy.Pool{Instances: 3}},
	} {
		if got := instances(d); got != want {
			t.Errorf("%+v takes %d requests, not %d", d, got, want)
		}
	}
}

// startOf starts the only deployment of a graph.
func startOf(t *testing.T, g *pipeline.Graph, rt *pipeline.Runtime) (pipeline.Handle, error) {
	t.Helper()
	n := g.Nodes[0]
	if n.Kind != pipeline.Service {
		t.Fatalf("%s is no service", n.ID)
	}
	return n.Start(t.Context(), n.Input, rt)
}

func TestStartDeployment(t *testing.T) {
	w := newWorld(t)
	w.env["TOKEN"] = "hush"
	var events []string
	rt := &pipeline.Runtime{RunDir: filepath.Join(w.dir, "run"), Emit: func(e pipeline.Event) { events = append(events, e.Text) }}
	w.site.Attach = nil // not to be asked
	w.prepare = func(s *server) error {
		s.options.Progress("waiting")
		return nil
	}
	h, err := startOf(t, w.build(changed(t, oneMode,
		"engine: simulated", `engine: simulated, env: {T: "${secret:TOKEN}"}`, "stages: {", "stages: {deploy: {ready_timeout: 9s}, ")), rt)
	if err != nil {
		t.Fatal(err)
	}
	s := w.started()[0]
	if h.(*serving).Running != deploy.Running(s) {
		t.Errorf("the handle is %+v", h)
	}
	o := s.options
	if o.LogDir != filepath.Join(w.dir, "run", "logs", "simple") || o.StateDir != filepath.Join(w.site.Results, ".store", "servers") || o.ReadyTimeout != 9*time.Second {
		t.Errorf("options %+v", o)
	}
	if !slices.Equal(events, []string{"waiting"}) {
		t.Errorf("progress is told as %q", events)
	}
	// Secrets in env are revealed by whoever starts the process, no earlier.
	if got := s.deployment.Server.Env["T"]; got != "${secret:TOKEN}" {
		t.Errorf("the deployment holds %q", got)
	}
	if v, err := o.Reveal("${secret:TOKEN}"); v != "hush" || err != nil {
		t.Errorf("Reveal gives %q, %v", v, err)
	}
}

func TestStartAttached(t *testing.T) {
	w := newWorld(t)
	w.site.Local = nil // not to be asked
	spec := changed(t, oneMode, "{engine: simulated}", `{endpoint: "http://h:1", headers: {A: "Bearer ${secret:KEY}", B: b}}`)
	w.env["KEY"] = "hush"
	g := w.build(spec)
	rt := &pipeline.Runtime{RunDir: w.dir, Emit: func(pipeline.Event) {}}
	if _, err := startOf(t, g, rt); err != nil {
		t.Fatal(err)
	}
	s := w.started()[0]
	if want := map[string]string{"A": "Bearer hush", "B": "b"}; !maps.Equal(s.options.Headers, want) {
		t.Errorf("headers %v, want %v", s.options.Headers, want)
	}
	if got := s.deployment.Headers["A"]; got != "Bearer ${secret:KEY}" {
		t.Errorf("the deployment holds the header %q", got)
	}

	// Servers repeat what they were sent when they refuse it.
	refused := errors.New("401: no such key: hush")
	w.prepare = func(*server) error { return refused }
	if _, err := startOf(t, g, rt); !errors.Is(err, refused) || err.Error() != "401: no such key: ${secret:KEY}" {
		t.Errorf("error %v", err)
	}
}

// What is set around vbp for vLLM is seen as if it stood in the spec, and
// secrets are not.
func TestAmbient(t *testing.T) {
	got := ambient([]string{
		"HOME=/root", "VLLM_ATTENTION_BACKEND=FLASHINFER", "VLLM_API_KEY=hush", "UCX_TLS=tcp", "NCCL_DEBUG=", "LMCACHE_PORT=1", "LMCACHE_CHUNK_SIZE=64", "MY_VLLM_X=1",
	})
	want := map[string]string{"VLLM_ATTENTION_BACKEND": "FLASHINFER", "UCX_TLS": "tcp", "NCCL_DEBUG": "", "LMCACHE_CHUNK_SIZE": "64"}
	if !maps.Equal(got, want) {
		t.Errorf("got %v", got)
	}
	w := newWorld(t)
	t.Setenv("UCX_TLS", "tcp")
	e := w.parse("gpus: 8\nmodes: {a: {engine: vllm, env: {UCX_TLS: rc}}, b: {engine: vllm}, c: {engine: simulated}}\nsweep: {qps: [1]}\n")
	for i, want := range []string{"rc", "tcp", ""} {
		if d := deploymentOf(e, e.Modes[i]); d.Server.Env["UCX_TLS"] != want {
			t.Errorf("mode %s: %v", e.Modes[i].Name, d.Server.Env)
		}
	}
}
