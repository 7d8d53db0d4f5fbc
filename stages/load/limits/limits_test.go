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
		need          Need
		likely, worst int
	}{
		{Need{Requests: 300, Rate: 400, Timeout: 2 * time.Minute}, 300, 300},
		{Need{Requests: 1_000_000, Rate: 400, Timeout: 2 * time.Minute, Tokens: 100}, 2401, 48_001}, // 1 s and 100 x 50 ms
		{Need{Requests: 1_000_000, Rate: 400, Timeout: 3 * time.Second, Tokens: 100}, 1201, 1201},
		{Need{Requests: 1_000_000, Rate: 0.5, Timeout: 3 * time.Second}, 2, 3},
		{Need{Requests: 1_000_000, Rate: 400, Timeout: 2 * time.Minute, Tokens: 100, Concurrency: 256}, 256, 256},
		{Need{Requests: 7, Rate: 1e300, Timeout: time.Hour}, 7, 7},
	} {
		if c.need.Likely() != c.likely || c.need.Worst() != c.worst {
			t.Errorf("%+v: %d and %d streams, want %d and %d", c.need, c.need.Likely(), c.need.Worst(), c.likely, c.worst)
		}
	}
}

// The error has the command that helps, with a number that is enough in any case.
func TestCheck(t *testing.T) {
	l := Limits{Files: 20_000, Open: 36, PortFirst: 32_768, PortLast: 60_999} // 19,900 files are left, 28,232 ports
	check := func(n Need, says, fails string) {
		t.Helper()
		note, err := l.Check(n)
		text := ""
		if err != nil {
			text = err.Error()
		}
		if (note == "") != (says == "") || !strings.Contains(note, says) || (text == "") != (fails == "") || !strings.Contains(text, fails) {
			t.Errorf("%+v:\nnote %q\nerror %q", n, note, text)
		}
	}
	need := Need{Requests: 1_000_000, Rate: 100, Tokens: 20, Timeout: 199*time.Second - time.Second/100}
	check(need, "", "") // 19,900 in the worst case
	need.Timeout = 200 * time.Second
	check(need, "up to 20001 requests are in flight", "")
	check(need, "prlimit --pid $$ --nofile=20101:20101", "")
	need.Rate = 10_000 // 20,001 of 2 s each
	check(need, "", "about 20001 requests are in flight")
	check(need, "", "workload.max_concurrency: 19900")
	need.Concurrency = 19_900
	check(need, "", "")
	l.Files, need.Concurrency, need.Server = 1<<20, 0, netip.MustParseAddr("10.0.0.1")
	need.Rate = 15_000
	check(need, "", "there are 28232 local ports")
	check(need, "", "sysctl -w net.ipv4.ip_local_port_range")
	need.Sources = 2
	check(need, "there are 56464 local ports", "")
	need.Sources, need.Server = 0, netip.MustParseAddr("127.0.0.1")
	check(need, "", "") // a million files
	l = Limits{}
	check(Need{Requests: 1 << 30, Rate: 1e9, Timeout: time.Hour, Server: netip.MustParseAddr("10.0.0.1")}, "", "")
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
