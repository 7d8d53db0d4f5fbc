package specs

import "testing"

// What names its devices itself is given none, and devices are counted once
// however many instances share them.
func TestOwnDevices(t *testing.T) {
	for _, c := range []struct {
		mode            string
		leased, devices int
	}{
		{"{engine: vllm, tensor_parallel: 2}", 2, 2},
		{"{engine: vllm, env: {CUDA_VISIBLE_DEVICES: '3'}}", 0, 1},
		{"{engine: vllm, env: {CUDA_VISIBLE_DEVICES: '0'}, disaggregated: {connector: nixl}}", 0, 1},
		{"{engine: vllm, disaggregated: {prefill: {env: {CUDA_VISIBLE_DEVICES: '0, 1'}}, decode: {instances: 3}}}", 3, 5},
		{"{engine: command, run: 'x {port} {gpus}', tensor_parallel: 4}", 4, 4},
		{"{engine: command, run: 'x {port}'}", 0, 0},
		{"{engine: command, run: 'x {port}', tensor_parallel: 2, env: {CUDA_VISIBLE_DEVICES: '1,2'}}", 0, 2},
		{"{engine: vllm, args: {data-parallel-size: '2'}, disaggregated: {prefill: {args: {pipeline_parallel_size: 3}}}}", 8, 8},
	} {
		e, err := Parse("x.yaml", []byte("modes: {m: "+c.mode+"}\nsweep: {qps: [1]}\n"), Options{})
		if err != nil {
			t.Fatal(err)
		}
		if m := &e.Modes[0]; m.GPUs() != c.leased || m.Devices() != c.devices {
			t.Errorf("%s: %d leased, %d devices; want %d and %d", c.mode, m.GPUs(), m.Devices(), c.leased, c.devices)
		}
	}
}
