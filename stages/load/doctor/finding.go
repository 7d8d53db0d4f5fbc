package doctor

import (
	"fmt"
	"slices"

	"vbp/stages/load/limits"
)

// Finding is something that limits what this machine can vouch for.
type Finding struct {
	Grave bool   `json:"grave"` // it makes measurements wrong; else it only limits them
	What  string `json:"what"`
	Do    string `json:"do,omitempty"` // a command, or what else to do
}

// What is taken for normal. A core of a machine at rest is used by others for
// a percent or two; clocks that are not these are read by a system call or from
// a slow device.
const (
	busyShare   = 0.1
	stolenShare = 0.02
	lateTimer   = 200 // us, p99
	manyStreams = 10_000
)

var fastClocks = []string{"tsc", "kvm-clock", "hyperv_clocksource_tsc_page", "arch_sys_counter", ""}

// findings judges a machine, in order of weight.
func findings(r *Report) []Finding {
	m := &r.Machine
	var out []Finding
	add := func(grave bool, what, do string, args ...any) {
		out = append(out, Finding{grave, fmt.Sprintf(what, args...), do})
	}
	if m.Busy > busyShare {
		add(true, "other processes used %.0f %% of this machine before anything was measured", "end them, or measure when they have ended (top shows them)", 100*m.Busy)
	}
	if m.Stolen > stolenShare {
		add(true, "the hypervisor gave %.0f %% of this machine's processor time to others", "use a machine with cores of its own", 100*m.Stolen)
	}
	if m.Cores == 1 {
		add(true, "there is one core: client, server and everything else wait for each other", "run the client where it has a core to itself")
	} else if m.Quota > 0 && m.Quota < float64(min(m.Cores, 2)) {
		add(true, "the control group grants %g cores: above that all processes in it are stopped for a while", "raise the container's limit of processors to 2 or more (docker run --cpus, resources.limits.cpu)", m.Quota)
	}
	if m.Timer.P99 > lateTimer {
		add(true, "timers ring %.0f us late (p99)", "look for power saving of the cores (cpupower idle-set -D 0) or a busy host", m.Timer.P99)
	}
	if !slices.Contains(fastClocks, m.Clock) {
		add(true, "the kernel's clock is "+m.Clock+", which is slow to read", "echo tsc | sudo tee /sys/devices/system/clocksource/clocksource0/current_clocksource")
	}
	if m.Governor != "" && m.Governor != "performance" && m.Governor != "schedutil" {
		add(false, "the frequency of the cores follows the governor "+m.Governor, "sudo cpupower frequency-set -g performance")
	}
	if m.OS == "linux" && !m.Stamps {
		add(false, "the kernel does not tell when it received (SO_TIMESTAMPNS): times are those of reading", "run the client on the host, not in a sandbox that emulates the network, such as gVisor")
	}
	if m.Files > 0 && m.Files < manyStreams+limits.SpareFiles {
		do := "ulimit -n 65536; above a hard limit of as much, as root, or in /etc/security/limits.conf: * hard nofile 65536 (systemd: LimitNOFILE=65536; docker: --ulimit nofile=65536)"
		add(false, "%d files may be open at a time, which is some %d streams", do, m.Files, m.mostStreams())
	}
	const sources = "sudo sysctl -w net.ipv4.ip_local_port_range='1024 65535', or several stages.load.source_addresses"
	switch p := m.Ports(); {
	case p == 0:
	case p < manyStreams:
		add(false, "%d ports are left for connections to one server (%d to %d)", sources, p, m.PortFirst, m.PortLast)
	case m.OS == "linux" && m.mostStreams() > p/2:
		// For connect() the kernel takes ports of one parity first, and when
		// those are gone it looks at each of them again before it tries the
		// other. Measured on Linux 6.18: 23 us a connection before, 660 after.
		add(false, "beyond %d connections to one server from one address each takes most of a millisecond to open", sources, p/2)
	}
	limited := false
	for _, c := range r.Clients {
		if c.Error != "" {
			add(true, "client "+c.Client+" could not be examined: "+c.Error, "")
		}
		limited = limited || slices.ContainsFunc(c.Rungs, func(r Rung) bool { return r.Limit != "" })
	}
	if limited {
		add(false, "the metronome ran out of processor time before the client did", "what else runs on this machine may be why; one with a core for each of both can be vouched for further")
	}
	return out
}
