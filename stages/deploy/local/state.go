package local

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// identity is a process that cannot be mistaken for a later one with the same
// pid: Start is its start time as the kernel tells it (clock ticks since
// boot on Linux, 0 where it is not to be had).
type identity struct {
	PID   int    `json:"pid"`
	Start uint64 `json:"start"`
}

// state is what a guardian leaves on disk while it lives, so that a later
// vbp finds what was left should the guardian be killed.
type state struct {
	Schema   string    `json:"schema"` // stateSchema
	ID       string    `json:"id"`     // value of the marker in the environment of the whole tree
	Name     string    `json:"name"`   // of the process: prefill-0
	Host     hostID    `json:"host"`
	Owner    identity  `json:"owner"` // the vbp that wants the server
	Guardian identity  `json:"guardian"`
	Server   *identity `json:"server,omitempty"` // nil: about to be started
	Log      string    `json:"log"`
	Argv     []string  `json:"argv"`
}

const (
	stateSchema = "vbp.guard/v1"
	stateSuffix = ".guard.json"

	// marker is the environment variable that every process of a guarded
	// tree inherits; its value is the state's ID.
	marker = "VBP_GUARD"
)

// hostID says where pids mean something: a host since its last boot, and a
// container within it.
type hostID struct {
	Name         string `json:"name"`
	Boot         string `json:"boot"`          // "" where the system does not tell
	PIDNamespace string `json:"pid_namespace"` // likewise
}

func thisHost() hostID {
	name, err := os.Hostname()
	if err != nil {
		name = "" // then the boot id has to tell hosts apart
	}
	return hostID{Name: name, Boot: bootID(), PIDNamespace: pidNamespace()}
}

// write publishes s at file: a reader sees the old state or the new one.
func (s *state) write(file string) error {
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(file), filepath.Base(file)+".tmp-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // nothing is left to remove after the rename
	_, err = f.Write(append(data, '\n'))
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), file)
}

// readState reads a state; one that has gone is fs.ErrNotExist.
func readState(file string) (*state, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var s state
	if err := json.Unmarshal(data, &s); err != nil {
		return nil, fmt.Errorf("%s: not a guardian's state: %w; remove it once no server of an earlier run is left", file, err)
	}
	if s.Schema != stateSchema || s.ID == "" {
		return nil, fmt.Errorf("%s: schema is %q, this vbp knows %q; remove it once no server of an earlier run is left", file, s.Schema, stateSchema)
	}
	return &s, nil
}

// removeFile removes file if it is there.
func removeFile(file string) error {
	if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
