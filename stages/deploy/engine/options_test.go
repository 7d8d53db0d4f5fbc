package engine

import (
	"math"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

func options(t *testing.T, args ...string) Options {
	t.Helper()
	var o Options
	fs := pflag.NewFlagSet("engine", pflag.ContinueOnError)
	o.Flags(fs)
	if err := fs.Parse(args); err != nil {
		t.Fatal(err)
	}
	return o
}

func settings(t *testing.T, args ...string) Settings {
	t.Helper()
	st, err := options(t, args...).Resolve()
	if err != nil {
		t.Fatal(err)
	}
	return st
}

func TestCheckArgs(t *testing.T) {
	for _, good := range [][]string{
		nil,
		{"--model", "meta-llama/Llama-3.1-8B-Instruct", "--tensor-parallel-size", "2", "--max-model-len=4096"},
		{"--no-enable-prefix-caching", "--num-gpu-blocks-override", "100"},
		{"--preset", "a100/qwen3-8b", "--model", "anything", "--served-model-name", "a,b"},
		{"--step-base", "0", "--step-per-context-token", "55.5ns", "--step-per-prefill-token-squared=300ps"},
		{"--kv-transfer-bandwidth", "40GB", "--kv-transfer-latency=2ms", "--kv-lease", "1s", "--fail-after=0"},
		{"--max-num-batched-tokens", "64"},
	} {
		if err := CheckArgs(good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, bad := range []struct {
		args string
		says string
	}{
		{"--enforce-eager", "--enforce-eager"},
		{"--port http", "--port"},
		{"--port 70000", "--port"},
		{"Qwen/Qwen3-8B", "--model"},
		{"--model gpt-oss-20b", "--preset"},
		{"--preset b200/qwen3-8b", "h100/qwen3-8b"},
		{"--tensor-parallel-size 3", "--tensor-parallel-size"},
		{"--gpu-memory-utilization 80", "--gpu-memory-utilization"},
		{"--gpu-memory-utilization NaN", "--gpu-memory-utilization"},
		{"--preset a100/llama-3.1-8b --gpu-memory-utilization .1", "--gpu-memory-utilization"},
		{"--block-size 0", "--block-size"},
		{"--max-num-batched-tokens 64 --max-num-seqs 65", "--max-num-batched-tokens"},
		{"--max-num-seqs -1", "--max-num-seqs"},
		{"--num-gpu-blocks-override 10 --max-model-len 161", "--max-model-len"},
		{"--step-base 7", "step-base"},
		{"--step-base -7ms", "step-base"},
		{"--kv-transfer-bandwidth 40parsecs", "kv-transfer-bandwidth"},
		{"--kv-transfer-bandwidth 0", "kv-transfer-bandwidth"},
		{"--kv-lease -1s", "--kv-lease"},
		{"--help", "--help"},
	} {
		err := CheckArgs(strings.Fields(bad.args))
		if err == nil || !strings.Contains(err.Error(), bad.says) {
			t.Errorf("%s: %v; want an error that says %q", bad.args, err, bad.says)
		}
	}
	err := CheckArgs([]string{"--block-size=0", "--kv-lease=-1s"})
	if err == nil || !strings.Contains(err.Error(), "block-size") || !strings.Contains(err.Error(), "kv-lease") {
		t.Errorf("of two mistakes only this was told: %v", err)
	}
}

func TestFlagsOverridePreset(t *testing.T) {
	c := settings(t, "--step-base=2ms", "--step-per-seq", "0", "--request-overhead=1us", "--num-gpu-blocks-override=10",
		"--kv-transfer-bandwidth=2.5GiB/s", "--no-enable-prefix-caching").Scheduler
	if c.StepTime.Base != .002 || c.StepTime.Sequence != 0 || c.Overhead != 1000 || c.Blocks != 10 || c.MaxModelLen != 160 ||
		c.TransferBytesPer != 2.5*(1<<30) || c.PrefixCaching {
		t.Errorf("%+v", c)
	}
	if c.StepTime.PrefillToken <= 0 {
		t.Error("a coefficient that was not given is not the preset's")
	}
	if !settings(t, "--no-enable-prefix-caching", "--enable-prefix-caching").Scheduler.PrefixCaching {
		t.Error("the last of two opposite flags does not count")
	}
}

func TestCoefficient(t *testing.T) {
	for text, want := range map[string]float64{"7.4ms": .0074, "25us": 25e-6, "25µs": 25e-6, "0.66ns": .66e-9, "300ps": 3e-10, "2s": 2, "1e3 ns": 1e-6, "0": 0} {
		var c Coefficient
		if err := c.Set(text); err != nil || math.Abs(c.Seconds-want) > 1e-12*want {
			t.Errorf("%s: %g s, %v", text, c.Seconds, err)
		}
		var again Coefficient
		if err := again.Set(c.String()); err != nil || !again.Given || math.Abs(again.Seconds-c.Seconds) > 1e-3*c.Seconds {
			t.Errorf("%s is written as %s, which reads as %v, %v", text, c.String(), again, err)
		}
	}
	for _, text := range []string{"", "ms", "5", "NaNs", "Infms", "1h", "-1us"} {
		if err := new(Coefficient).Set(text); err == nil {
			t.Errorf("%q was accepted", text)
		}
	}
}
