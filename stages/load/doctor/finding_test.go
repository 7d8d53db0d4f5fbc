package doctor

import (
	"strings"
	"testing"
)

// A machine with nothing wrong: no finding. Then one thing at a time.
func TestFindings(t *testing.T) {
	good := Machine{
		OS: "linux", Cores: 8, Files: 12_000, FilesHard: 12_000, PortFirst: 32768, PortLast: 60999,
		Clock: "tsc", Governor: "performance", Timer: Spread{P50: 20, P99: 60}, Stamps: true,
	}
	for _, c := range []struct {
		name   string
		change func(*Report)
		want   string // begins the finding; "": none
		do     string // is in what to do
		grave  bool
	}{
		{"nothing", func(*Report) {}, "", "", false},
		{"busy", func(r *Report) { r.Machine.Busy = .34 }, "other processes used 34 %", "top", true},
		{"stolen", func(r *Report) { r.Machine.Stolen = .05 }, "the hypervisor gave 5 %", "cores of its own", true},
		{"one core", func(r *Report) { r.Machine.Cores = 1 }, "there is one core", "core to itself", true},
		{"quota", func(r *Report) { r.Machine.Quota = 1.5 }, "the control group grants 1.5 cores", "--cpus", true},
		{"enough quota", func(r *Report) { r.Machine.Quota = 4 }, "", "", false},
		{"timer", func(r *Report) { r.Machine.Timer.P99 = 1100 }, "timers ring 1100 us late", "power saving", true},
		{"clock", func(r *Report) { r.Machine.Clock = "hpet" }, "the kernel's clock is hpet", "echo tsc", true},
		{"governor", func(r *Report) { r.Machine.Governor = "powersave" }, "the frequency of the cores", "cpupower", false},
		{"stamps", func(r *Report) { r.Machine.Stamps = false }, "the kernel does not tell when it received", "gVisor", false},
		{"files", func(r *Report) { r.Machine.Files = 1024 }, "1024 files may be open at a time, which is some 960 streams", "ulimit -n", false},
		{"ports", func(r *Report) { r.Machine.PortFirst = 60000 }, "1000 ports are left", "ip_local_port_range", false},
		{"half of the ports", func(r *Report) { r.Machine.Files = 20_000 }, "beyond 14116 connections to one server", "source_addresses", false},
		{"error", func(r *Report) { r.Clients = []Vouched{{Client: "epoll", Error: "no timer"}} }, "client epoll could not be examined: no timer", "", true},
		{"limit", func(r *Report) { r.Clients = []Vouched{{Client: "epoll", Rungs: []Rung{{Limit: "x"}}}} }, "the metronome ran out", "core for each", false},
	} {
		r := &Report{Machine: good}
		c.change(r)
		got := findings(r)
		if c.want == "" {
			if len(got) != 0 {
				t.Errorf("%s: %+v", c.name, got)
			}
			continue
		}
		if len(got) != 1 || !strings.HasPrefix(got[0].What, c.want) || !strings.Contains(got[0].Do, c.do) || got[0].Grave != c.grave {
			t.Errorf("%s: %+v", c.name, got)
		}
	}
}
