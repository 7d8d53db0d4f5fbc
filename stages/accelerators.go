package stages

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"vbp/specs"
)

// deviceForm is an index or a UUID as CUDA_VISIBLE_DEVICES takes them.
var deviceForm = regexp.MustCompile(`^(0|[1-9][0-9]{0,3}|GPU-[0-9a-fA-F-]+|MIG-[0-9a-zA-Z/-]+)$`)

// gpuResource is the accelerators of this host, by index or UUID.
const gpuResource = "gpu"

// gpuLocks is no resource of nodes. Under it a graph's Units has, for each of
// its gpuResource, the one name that all who write it differently agree on.
const gpuLocks = "gpu locks"

// accelerators are the GPUs that an experiment may use.
type accelerators struct {
	ids     []string // indices or UUIDs, as CUDA_VISIBLE_DEVICES takes them
	source  string   // who said so, for errors
	devices []device // all of this host; empty if nobody can tell
	kinds   []string // of devices, those of ids, each kind once
}

// smiTimeout bounds nvidia-smi, which takes seconds on a host whose driver
// sleeps.
const smiTimeout = 10 * time.Second

// findAccelerators lists what the spec's gpus stand for: a count or a list as
// it is; auto is VBP_GPUS (a count or a list), else CUDA_VISIBLE_DEVICES, else
// what nvidia-smi lists.
func findAccelerators(g specs.GPUs) (accelerators, error) {
	a := accelerators{source: "gpus"}
	var smiErr error
	a.devices, smiErr = nvidiaSMI()
	visible, isVisible := os.LookupEnv("CUDA_VISIBLE_DEVICES")
	switch {
	case g.None:
		return a, nil
	case g.List != nil:
		a.ids = g.List
	case !g.Auto:
		var err error
		if a.ids, err = counted(g.Count, visible); err != nil {
			return a, fmt.Errorf("gpus: %w", err)
		}
	case os.Getenv("VBP_GPUS") != "" && os.Getenv("VBP_GPUS") != "auto":
		text := os.Getenv("VBP_GPUS")
		a.source = "VBP_GPUS=" + text
		if n, err := strconv.Atoi(text); err == nil && n >= 0 && n <= 4096 {
			var err error
			if a.ids, err = counted(n, visible); err != nil {
				return a, fmt.Errorf("VBP_GPUS: %w", err)
			}
			break
		}
		if a.ids = splitIDs(text); len(a.ids) == 0 {
			return a, fmt.Errorf("VBP_GPUS=%s is neither a count nor a list such as 0,1", text)
		}
	case isVisible:
		a.source, a.ids = "CUDA_VISIBLE_DEVICES="+visible, splitIDs(visible)
	case smiErr == nil:
		a.source = "nvidia-smi"
		for _, d := range a.devices {
			a.ids = append(a.ids, d.index)
		}
	default:
		a.source = "this host: CUDA_VISIBLE_DEVICES is not set, and " + smiErr.Error()
	}
	for _, id := range a.ids {
		if !deviceForm.MatchString(id) {
			return a, fmt.Errorf("%s: %q is not a GPU; a list has indices or UUIDs, such as 0,1 (gpus: none in the spec: engines run without)", a.source, id)
		}
		for _, d := range a.called(id) {
			if !slices.Contains(a.kinds, d.kind) {
				a.kinds = append(a.kinds, d.kind)
			}
		}
	}
	first := make(map[string]string) // name of a lock -> the id that has it
	for i, name := range a.locks() {
		if id, twice := first[name]; twice {
			return a, fmt.Errorf("%s: %s and %s are the same GPU; name each once", a.source, id, a.ids[i])
		}
		first[name] = a.ids[i]
	}
	return a, nil
}

// called are the devices that id can stand for: the one of that index, or
// those whose UUID begins with it, of which CUDA takes one if there is no
// other.
func (a accelerators) called(id string) []device {
	var all []device
	for _, d := range a.devices {
		if d.index == id || strings.HasPrefix(d.uuid, id) {
			all = append(all, d)
		}
	}
	return all
}

// locks are names of the GPUs, for each of ids one, that do not depend on how
// the id is written: the whole UUID where it is known, else the id itself.
// Parts of a GPU (MIG) are listed nowhere and keep their ids.
func (a accelerators) locks() []string {
	names := slices.Clone(a.ids)
	for i, id := range a.ids {
		if d := a.called(id); len(d) == 1 && d[0].uuid != "" {
			names[i] = d[0].uuid
		}
	}
	return names
}

// units are the accelerators as a graph has them, with the names of their
// locks.
func (a accelerators) units() map[string][]string {
	return map[string][]string{gpuResource: a.ids, gpuLocks: a.locks()}
}

// counted are the first n of those that are visible to this process; if
// nothing is said of these, of all. To take others would be to take somebody
// else's.
func counted(n int, visible string) ([]string, error) {
	if its := splitIDs(visible); len(its) >= n {
		return its[:n], nil
	} else if len(its) > 0 {
		return nil, fmt.Errorf("%d GPUs are more than the %d that CUDA_VISIBLE_DEVICES=%s leaves to this process; name them in a list to use others", n, len(its), visible)
	}
	ids := make([]string, n)
	for i := range ids {
		ids[i] = strconv.Itoa(i)
	}
	return ids, nil
}

// splitIDs splits a list as CUDA_VISIBLE_DEVICES has it: what comes after an
// entry that is no device does not count, as CUDA has it with -1.
func splitIDs(text string) []string {
	var ids []string
	for _, id := range strings.Split(text, ",") {
		id = strings.TrimSpace(id)
		if id == "" || strings.HasPrefix(id, "-") || slices.Contains(ids, id) {
			break
		}
		ids = append(ids, id)
	}
	return ids
}

// device is a GPU as nvidia-smi tells of it.
type device struct{ index, uuid, kind string }

// nvidiaSMI lists the NVIDIA GPUs of this host.
func nvidiaSMI() ([]device, error) {
	path, err := exec.LookPath("nvidia-smi")
	if err != nil {
		return nil, errors.New("there is no nvidia-smi")
	}
	ctx, cancel := context.WithTimeout(context.Background(), smiTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, "--query-gpu=index,uuid,name,memory.total", "--format=csv,noheader,nounits")
	cmd.WaitDelay = time.Second // its children may hold the pipe
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("nvidia-smi failed: %w", err)
	}
	r := csv.NewReader(strings.NewReader(string(out)))
	r.TrimLeadingSpace, r.FieldsPerRecord = true, 4
	rows, err := r.ReadAll()
	if err != nil {
		return nil, fmt.Errorf("nvidia-smi's answer cannot be read: %w", err)
	}
	devices := make([]device, len(rows))
	for i, row := range rows {
		devices[i] = device{strings.TrimSpace(row[0]), strings.TrimSpace(row[1]), strings.TrimSpace(row[2]) + " " + strings.TrimSpace(row[3]) + " MiB"}
	}
	return devices, nil
}

// host is the fingerprint of the hardware under a deployment that needs GPUs.
func (a accelerators) host(machine string) string {
	if len(a.kinds) == 0 {
		return machine
	}
	return machine + ", " + strings.Join(a.kinds, " and ")
}

// check refuses a mode that can never fit.
func (a accelerators) check(m *specs.Mode) error {
	if need := m.GPUs(); need > len(a.ids) {
		return fmt.Errorf("mode %s needs %s and there are %d (%s); VBP_GPUS=N or gpus: in the spec says otherwise, gpus: none that engines run without",
			m.Name, m.NeedsGPUs(), len(a.ids), a.source)
	}
	return nil
}
