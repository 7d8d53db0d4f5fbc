// Package vllm knows how vLLM is started: the command line and environment of
// an instance, alone or joined to others by a KV connector, and what can be
// told of the installed vLLM without starting it.
//
// Its neighbours are local, which starts what Process lays out, and engine,
// which can stand in for the program. Facts about flags and variables are
// those of vLLM's sources from 0.10 to 0.33.
package vllm

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"vbp/stages/deploy"
)

// Program is the name of vLLM's command.
const Program = "vllm"

// Connectors by the spec's names, as vLLM calls them.
var connectors = map[string]string{"nixl": "NixlConnector", "lmcache": "LMCacheConnectorV1"}

// transfer is the value of --kv-transfer-config. Fields that are empty are
// left to vLLM.
type transfer struct {
	Connector     string `json:"kv_connector"`
	Role          string `json:"kv_role"`
	FailurePolicy string `json:"kv_load_failure_policy,omitempty"`
}

// kvTransfer is what an instance of a deployment with a connector is told of
// it.
//
// With NIXL the proxy decides, request by request, who prefills and who
// decodes, so that every instance is both. A transfer that fails must fail the
// request: vLLM would else prefill locally without a word.
//
// With LMCache the prefill instance is both too, for a producer is something
// else there (LMCache 0.3.9 and older end at once as one without a proxy of
// their own), and a consumer looks up and never stores. That the prefill
// instance finds what it stored at earlier points is for load to prevent: see
// CacheTag.
func kvTransfer(connector string, role deploy.Role) transfer {
	t := transfer{Connector: connectors[connector], Role: "kv_both"}
	switch connector {
	case "nixl":
		t.FailurePolicy = "fail"
	case "lmcache":
		if role == deploy.Decode {
			t.Role = "kv_consumer"
		}
	}
	return t
}

// PerInstance are variables that each instance is told for itself: what a
// shell around vbp says of them cannot be meant for all.
var PerInstance = map[string]bool{"VLLM_SERVER_DEV_MODE": true, "VLLM_NIXL_SIDE_CHANNEL_HOST": true, "VLLM_NIXL_SIDE_CHANNEL_PORT": true}

// CacheTag is the member of kv_transfer_params by which requests tell LMCache
// to name their KV apart from that of others, so that a measurement finds
// nothing that an earlier one left in a cache server, which cannot be emptied.
// Its value must be short: names have 150 bytes.
const CacheTag = "lmcache.tag.vbp"

// CacheProgram is the command of LMCache's server, which keeps KV in memory.
const CacheProgram = "lmcache_server"

// OwnCache tells whether an environment says itself where LMCache keeps KV.
func OwnCache(env map[string]string) bool {
	return env["LMCACHE_REMOTE_URL"] != "" || env["LMCACHE_CONFIG_FILE"] != ""
}

// Process is `vllm serve` in a slot. Arguments and environment that the pool
// has itself take the place of those that are set here, but for model, port,
// tensor-parallel size and memory, which the spec has keys for.
func Process(s deploy.Slot) (deploy.Process, error) {
	argv := []string{
		Program, "serve", s.Model, "--host", deploy.Host, "--port", strconv.Itoa(s.Port),
		"--tensor-parallel-size", strconv.Itoa(max(1, s.Pool.TensorParallel)),
	}
	if u := s.Pool.GPUMemoryUtilization; u != 0 {
		argv = append(argv, "--gpu-memory-utilization", strconv.FormatFloat(u, 'g', -1, 64))
	}
	// Prefix caches can be emptied and the effective configuration read only
	// in this mode.
	env := []string{"VLLM_SERVER_DEV_MODE=1"}
	if s.Connector != "" {
		if connectors[s.Connector] == "" {
			return deploy.Process{}, fmt.Errorf("vLLM has no connector %q", s.Connector)
		}
		if !has(s.Pool.Args, "kv-transfer-config") {
			text, err := json.Marshal(kvTransfer(s.Connector, s.Role))
			if err != nil {
				return deploy.Process{}, err
			}
			argv = append(argv, "--kv-transfer-config", string(text))
		}
	}
	switch s.Connector {
	case "nixl":
		// The first of the instance's side-channel ports: vLLM adds the
		// data-parallel rank to it, older versions the tensor-parallel rank
		// too. UCX finds no common device if it may not look at all of them.
		env = append(
			env, "VLLM_NIXL_SIDE_CHANNEL_HOST="+deploy.Host,
			"VLLM_NIXL_SIDE_CHANNEL_PORT="+strconv.Itoa(s.SidePort), "UCX_NET_DEVICES=all",
		)
	case "lmcache":
		if s.CachePort == 0 {
			break
		}
		// Chunks are named by Python's hash, which differs from process to
		// process unless it is seeded. The last chunk is stored even if it is
		// not full, else decode would compute that part of the prompt. Local
		// memory (GB) is for staging only.
		env = append(
			env, "LMCACHE_REMOTE_URL=lm://"+deploy.Host+":"+strconv.Itoa(s.CachePort), "LMCACHE_REMOTE_SERDE=naive",
			"LMCACHE_SAVE_UNFULL_CHUNK=True", "LMCACHE_LOCAL_CPU=False", "LMCACHE_MAX_LOCAL_CPU_SIZE=5", "PYTHONHASHSEED=0",
		)
	}
	args, err := deploy.Render(s.Pool.Args)
	if err != nil {
		return deploy.Process{}, err
	}
	return s.Process(append(argv, args...), s.Env(env...)), nil
}

// has tells whether args hold the argument called name; vLLM takes - and _
// alike.
func has(args []deploy.Arg, name string) bool {
	for _, a := range args {
		if strings.ReplaceAll(a.Name, "_", "-") == name {
			return true
		}
	}
	return false
}
