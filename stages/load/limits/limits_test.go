package limits

import (
	"net/netip"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

func TestStreams(t *testing.T) {
	for _, c := range []struct {
		need Need
		want int
	}{
		{Need{Requests: 300, Rate: 400, Timeout: 2 * time.Minute}, 300},
		{Need{Requests: 1_000_000, Rate: 400, Timeout: 2 * time.Minute}, 48_001},
		{Need{Requests: 1_000_000, Rate: 0.5, Timeout: 3 * time.Second}, 3},
		{Need{Requests: 1_000_000, Rate: 400, Timeout: 2 * time.Minute, Concurrency: 256}, 256},
		{Need{Requests: 7, Rate: 1e300, Timeout: time.Hour}, 7},
	} {
		if got := c.need.Streams(); got != c.want {
			t.Errorf("%+v: %d streams, want %d", c.need, got, c.want)
		}
	}
}

// The error has the command that helps, with a number that is enough.
func TestCheck(t *testing.T) {
	l := Limits{Files: 20_000, Open: 36, PortFirst: 32_768, PortLast: 60_999}
	need := Need{Requests: 1_000_000, Rate: 100, Timeout: 199*time.Second - time.Second/100, Server: netip.MustParseAddr("10.0.0.1")}
	if err := l.Check(need); err != nil { // 19,900 and 64 + 36 are just 20,000
		t.Error(err)
	}
	need.Timeout = 200 * time.Second
	if err := l.Check(need); err == nil || !strings.Contains(err.Error(), "prlimit --pid $$ --nofile=20101:20101") {
		t.Errorf("%v", err)
	}
	l.Files = 1 << 20
	need.Rate = 1000
	err := l.Check(need)
	if err == nil || !strings.Contains(err.Error(), "28232 local ports") || !strings.Contains(err.Error(), "sysctl -w net.ipv4.ip_local_port_range") {
		t.Errorf("%v", err)
	}
	need.Sources = 8
	if err := l.Check(need); err != nil {
		t.Error(err)
	}
	need.Sources, need.Server = 0, netip.MustParseAddr("127.0.0.1")
	if err := l.Check(need); err != nil {
		t.Error(err)
	}
	if err := (Limits{}).Check(Need{Requests: 1 << 30, Rate: 1e9, Timeout: time.Hour}); err != nil {
		t.Errorf("refused by limits that are not known: %v", err)
	}
}

func TestNow(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("limits are read on Linux only")
	}
	before := Now()
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if now := Now(); now.Open != before.Open+1 || now.Files < now.Open || now.Ports() < 1 {
		t.Errorf("%+v, and with one file more %+v", before, now)
	}
}
