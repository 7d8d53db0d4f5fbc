// Package stages turns an experiment into a graph of work and runs it. It is
// the only place where the spec language, the pipeline and the packages that
// deploy, load, collect, analyze and plot meet; none of those knows another
// but through the values that flow here:
//
//	specs.Experiment -> specs.Point -> pipeline.Graph -> deploy.Endpoint ->
//	sample.Table -> analyze.Analysis -> render.Figure -> bytes
//
// Build makes the graph: each kind of node has a file of its own, which holds
// the node's Input (the exact value that its key is a hash of) beside the work
// that receives it. Apply plans and executes a graph into a run folder.
// Results reads folders of results, ours and others', for plot and compare.
// Package runs says what such a folder and a run's in it are, for here and for
// package upkeep, which removes old runs and checks what is stored.
package stages

import (
	"bufio"
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"time"

	"vbp/stages/deploy"
)

// Site is where and with what experiments run: this machine, its folders, the
// program itself.
type Site struct {
	Results string // folder of all runs; its .store holds the artefacts
	Self    string // path of the vbp program: engines, proxy and guardian are children of it
	Host    string // fingerprint of the hardware
	Code    string // identity of this build: pure nodes made by another one are made again
	Now     func() time.Time
	Local   deploy.Starter // starts processes of this host
	Attach  deploy.Starter // goes to a server that already runs

	// Elsewhere: nothing is to be run here, so that GPUs and programs that
	// this machine lacks are no errors.
	Elsewhere bool
}

// hostFingerprint describes what of the hardware can change a measurement:
// processor, its count, memory.
func hostFingerprint() string {
	model := runtime.GOARCH
	if f, err := os.Open("/proc/cpuinfo"); err == nil {
		defer f.Close()
		for s := bufio.NewScanner(f); s.Scan(); {
			if name, value, ok := strings.Cut(s.Text(), ":"); ok && strings.TrimSpace(name) == "model name" {
				model = strings.TrimSpace(value)
				break
			}
		}
	}
	host := fmt.Sprintf("%s, %d cores", model, runtime.NumCPU())
	var kb float64
	if f, err := os.Open("/proc/meminfo"); err == nil {
		defer f.Close()
		if _, err := fmt.Fscanf(f, "MemTotal: %f kB", &kb); err == nil {
			host += fmt.Sprintf(", %.0f GiB", kb/(1<<20))
		}
	}
	return host
}

// codeIdentity is the program's Go build ID, which changes exactly when its
// code does; where there is none to read, the hash of the file.
func codeIdentity(self string) (string, error) {
	if id := buildID(self); id != "" {
		sum := sha256.Sum256([]byte(id))
		return hex.EncodeToString(sum[:8]), nil
	}
	f, err := os.Open(self)
	if err != nil {
		return "", fmt.Errorf("cannot read the program itself: %w", err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", fmt.Errorf("cannot read the program itself: %w", err)
	}
	return hex.EncodeToString(h.Sum(nil)[:8]), nil
}

func buildID(path string) string {
	f, err := elf.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	s := f.Section(".note.go.buildid")
	if s == nil {
		return ""
	}
	data, err := s.Data()
	if err != nil || len(data) < 16 {
		return ""
	}
	return string(data[16:]) // after the note's header: three lengths and the name "Go\0\0"
}

// NewSite describes this machine for the program at self.
func NewSite(self, results string, local, attach deploy.Starter) (*Site, error) {
	code, err := codeIdentity(self)
	if err != nil {
		return nil, err
	}
	return &Site{
		Results: results, Self: self, Host: hostFingerprint(), Code: code,
		Now: time.Now, Local: local, Attach: attach,
	}, nil
}
