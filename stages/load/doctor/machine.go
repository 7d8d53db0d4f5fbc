package doctor

import (
	"context"
	"runtime"
	"time"

	"vbp/stages/load/limits"
)

// Machine is what matters of this computer for a client. What is not known of
// a system is 0 or "".
type Machine struct {
	OS     string `json:"os"`
	Arch   string `json:"arch"`
	Kernel string `json:"kernel,omitempty"` // release
	Cores  int    `json:"cores"`            // that this process may use

	// Quota is the number of cores that the control group grants.
	Quota float64 `json:"quota,omitempty"`
	// Busy and Stolen are the shares of all cores, in [0, 1], that others
	// used and that the hypervisor gave to others, when nothing was measured.
	Busy   float64 `json:"busy"`
	Stolen float64 `json:"stolen"`

	Files     int `json:"files,omitempty"`      // most files that this process may open
	FilesHard int `json:"files_hard,omitempty"` // to which it may raise that by itself
	PortFirst int `json:"port_first,omitempty"` // ports of outgoing connections
	PortLast  int `json:"port_last,omitempty"`

	Clock    string `json:"clock,omitempty"`    // source of the kernel's clock
	Governor string `json:"governor,omitempty"` // who chooses the frequency of the cores
	Timer    Spread `json:"timer"`              // how late the best timer rings that this system has
	Stamps   bool   `json:"receive_stamps"`     // the kernel tells when it received (SO_TIMESTAMPNS)
}

// Ports is how many connections to one server can leave from one address of
// this machine; 0 is not known.
func (m *Machine) Ports() int {
	return limits.Limits{PortFirst: m.PortFirst, PortLast: m.PortLast}.Ports()
}

// mostStreams is how many streams the limits allow.
func (m *Machine) mostStreams() int {
	most := 1 << 20
	if m.Files > 0 {
		most = min(most, max(0, m.Files-limits.SpareFiles))
	}
	if p := m.Ports(); p > 0 {
		most = min(most, p)
	}
	return most
}

// lookAt describes this machine, which takes half a second of doing nothing.
func lookAt(ctx context.Context, quick bool) Machine {
	m := Machine{OS: runtime.GOOS, Arch: runtime.GOARCH, Cores: runtime.GOMAXPROCS(0)}
	span := 400 * time.Millisecond
	if quick {
		span = 200 * time.Millisecond
	}
	m.Busy, m.Stolen = others(ctx, span)
	rings := 100
	if quick {
		rings = 50
	}
	m.Timer = timers(ctx, rings)
	l := limits.Now()
	m.Files, m.FilesHard, m.PortFirst, m.PortLast = l.Files, l.FilesHard, l.PortFirst, l.PortLast
	m.system()
	m.Stamps = stamps()
	return m
}
