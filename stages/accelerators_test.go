package stages

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"vbp/specs"
)

// smi puts an nvidia-smi on PATH that answers as the real one does to the one
// question that is asked of it; with "", there is none.
func smi(t *testing.T, answer string) {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("PATH", dir+string(filepath.ListSeparator)+"/bin")
	if answer == "" {
		return
	}
	script := "#!/bin/sh\n" + `[ "$*" = "--query-gpu=index,uuid,name,memory.total --format=csv,noheader,nounits" ] || exit 2` + "\n" + answer
	if err := os.WriteFile(filepath.Join(dir, "nvidia-smi"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
}

const twoH100 = `echo "0, GPU-aaaa-1, NVIDIA H100 80GB HBM3, 81559"; echo "1, GPU-bbbb-2, NVIDIA H100 80GB HBM3, 81559"`

func TestFindAccelerators(t *testing.T) {
	unset := "unset"
	for _, c := range []struct {
		name, smi, visible, vbp string
		gpus                    specs.GPUs
		ids, source, kinds      string
	}{
		{"nvidia-smi", twoH100, unset, "", specs.GPUs{Auto: true}, "0 1", "nvidia-smi", "NVIDIA H100 80GB HBM3 81559 MiB"},
		{"CUDA_VISIBLE_DEVICES", twoH100, "1", "", specs.GPUs{Auto: true}, "1", "CUDA_VISIBLE_DEVICES=1", "NVIDIA H100 80GB HBM3 81559 MiB"},
		{"its UUIDs, short as CUDA takes them", twoH100, "GPU-bb,GPU-aaaa-1", "", specs.GPUs{Auto: true}, "GPU-bb GPU-aaaa-1", "CUDA_VISIBLE_DEVICES=GPU-bb,GPU-aaaa-1", "NVIDIA H100 80GB HBM3 81559 MiB"},
		{"hidden ones", twoH100, "0,-1,1", "", specs.GPUs{Auto: true}, "0", "CUDA_VISIBLE_DEVICES=0,-1,1", "NVIDIA H100 80GB HBM3 81559 MiB"},
		{"none visible", twoH100, "", "", specs.GPUs{Auto: true}, "", "CUDA_VISIBLE_DEVICES=", ""},
		{"VBP_GPUS over what is hidden", "", "", "3", specs.GPUs{Auto: true}, "0 1 2", "VBP_GPUS=3", ""},
		{"VBP_GPUS takes what is visible", "", "5,6,7", "2", specs.GPUs{Auto: true}, "5 6", "VBP_GPUS=2", ""},
		{"a list in VBP_GPUS", "", unset, "2,4", specs.GPUs{Auto: true}, "2 4", "VBP_GPUS=2,4", ""},
		{"the spec's count", twoH100, unset, "7", specs.GPUs{Count: 1}, "0", "gpus", "NVIDIA H100 80GB HBM3 81559 MiB"},
		{"the spec's list", twoH100, unset, "7", specs.GPUs{List: []string{"1", "9"}}, "1 9", "gpus", "NVIDIA H100 80GB HBM3 81559 MiB"},
		{"none", twoH100, unset, "", specs.GPUs{None: true}, "", "gpus", ""},
		{"nobody knows", "", unset, "", specs.GPUs{Auto: true}, "", "this host: CUDA_VISIBLE_DEVICES is not set, and there is no nvidia-smi", ""},
		{"a broken driver", "exit 9", unset, "", specs.GPUs{Auto: true}, "", "this host: CUDA_VISIBLE_DEVICES is not set, and nvidia-smi failed: exit status 9", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			smi(t, c.smi)
			t.Setenv("CUDA_VISIBLE_DEVICES", c.visible)
			if c.visible == unset {
				os.Unsetenv("CUDA_VISIBLE_DEVICES")
			}
			t.Setenv("VBP_GPUS", c.vbp)
			a, err := findAccelerators(c.gpus)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(a.ids, strings.Fields(c.ids)) || a.source != c.source || strings.Join(a.kinds, ", ") != c.kinds {
				t.Errorf("got %q by %q of kinds %q", a.ids, a.source, a.kinds)
			}
		})
	}
	smi(t, "")
	t.Setenv("CUDA_VISIBLE_DEVICES", "6,7")
	for _, gpus := range []specs.GPUs{{Count: 3}, {Auto: true}} {
		t.Setenv("VBP_GPUS", "3")
		if _, err := findAccelerators(gpus); err == nil || !strings.Contains(err.Error(), "3 GPUs are more than the 2 that CUDA_VISIBLE_DEVICES=6,7 leaves") {
			t.Errorf("somebody else's GPUs are taken: %v", err)
		}
	}
	t.Setenv("CUDA_VISIBLE_DEVICES", "")
	for _, text := range []string{"none", "1.5", "[0]", "999999999999999999", "00"} {
		t.Setenv("VBP_GPUS", text)
		if _, err := findAccelerators(specs.GPUs{Auto: true}); text != "00" && (err == nil || !strings.Contains(err.Error(), "is not a GPU")) {
			t.Errorf("VBP_GPUS=%s: %v", text, err)
		}
	}
	t.Setenv("VBP_GPUS", "-3")
	if _, err := findAccelerators(specs.GPUs{Auto: true}); err == nil || !strings.Contains(err.Error(), "VBP_GPUS=-3 is neither a count nor a list") {
		t.Errorf("got %v", err)
	}
}

// However GPUs are called, their locks have one name, and none is there twice.
func TestLocksOfGPUs(t *testing.T) {
	smi(t, twoH100)
	a, err := findAccelerators(specs.GPUs{List: []string{"1", "GPU-aa", "GPU-cccc", "MIG-GPU-aaaa-1/0/0", "2"}})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := a.units()[gpuLocks], []string{"GPU-bbbb-2", "GPU-aaaa-1", "GPU-cccc", "MIG-GPU-aaaa-1/0/0", "2"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := a.units()[gpuResource]; !slices.Equal(got, a.ids) {
		t.Errorf("the units are %q", got)
	}
	_, err = findAccelerators(specs.GPUs{List: []string{"0", "1", "GPU-b"}})
	mustContain(t, err, "gpus: 1 and GPU-b are the same GPU; name each once")

	// A UUID cut so short that it is of both says nothing.
	smi(t, strings.ReplaceAll(twoH100, "GPU-bbbb-2", "GPU-aaab-2"))
	if a, err = findAccelerators(specs.GPUs{List: []string{"GPU-aaa"}}); err != nil || a.locks()[0] != "GPU-aaa" {
		t.Errorf("%q, %v", a.locks(), err)
	}
	smi(t, "")
	if a, err = findAccelerators(specs.GPUs{List: []string{"1", "GPU-b"}}); err != nil || !slices.Equal(a.locks(), a.ids) {
		t.Errorf("without nvidia-smi: %q, %v", a.locks(), err)
	}
}

// Which GPU it was does not tell measurements apart; what it was does.
func TestHostNamesKindsOfGPUs(t *testing.T) {
	smi(t, twoH100)
	first, _ := findAccelerators(specs.GPUs{List: []string{"0"}})
	second, _ := findAccelerators(specs.GPUs{List: []string{"1"}})
	if a, b := first.host("cpu"), second.host("cpu"); a != b || a != "cpu, NVIDIA H100 80GB HBM3 81559 MiB" {
		t.Errorf("%q and %q", a, b)
	}
}
