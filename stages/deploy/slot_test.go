package deploy

import (
	"reflect"
	"testing"
)

func TestSlotEnv(t *testing.T) {
	s := Slot{GPUs: []string{"2", "3"}, Pool: &Pool{Env: map[string]string{"B": "2", "A": "x y", "UCX_NET_DEVICES": "mlx5_0:1"}}}
	got := s.Env("VLLM_SERVER_DEV_MODE=1", "UCX_NET_DEVICES=all")
	want := []string{"CUDA_VISIBLE_DEVICES=2,3", "VLLM_SERVER_DEV_MODE=1", "A=x y", "B=2", "UCX_NET_DEVICES=mlx5_0:1"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	s.Pool.Env = map[string]string{"CUDA_VISIBLE_DEVICES": "7"}
	if got := s.Env(); !reflect.DeepEqual(got, []string{"CUDA_VISIBLE_DEVICES=7"}) {
		t.Errorf("the pool's own devices: %q", got)
	}
}

func TestSlotFill(t *testing.T) {
	s := Slot{
		Model: "my models/it's", Port: 8123, GPUs: []string{"0", "3"}, Pool: &Pool{TensorParallel: 2},
		Run: `serve --port {port} -m {model} --tp {tensor_parallel} --json '{"a":{"b":1}}' --devices {gpus} ${HOME} {other}`,
	}
	want := `serve --port 8123 -m 'my models/it'\''s' --tp 2 --json '{"a":{"b":1}}' --devices 0,3 ${HOME} {other}`
	if got := s.Fill(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
