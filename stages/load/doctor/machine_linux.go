package doctor

import (
	"context"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// read is the first line of a file, "" if there is none.
func read(path string) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	line, _, _ := strings.Cut(string(data), "\n")
	return strings.TrimSpace(line)
}

// system fills in what the system tells of itself.
func (m *Machine) system() {
	m.Kernel = read("/proc/sys/kernel/osrelease")
	m.Clock = read("/sys/devices/system/clocksource/clocksource0/current_clocksource")
	m.Governor = read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
	m.Quota = quota(read("/sys/fs/cgroup/cpu.max"))
}

// quota reads cpu.max of a control group (version 2): microseconds of
// processor time for each period, or max. 0 is no limit.
func quota(line string) float64 {
	f := strings.Fields(line)
	if len(f) != 2 {
		return 0
	}
	most, err1 := strconv.ParseFloat(f[0], 64)
	period, err2 := strconv.ParseFloat(f[1], 64)
	if err1 != nil || err2 != nil || period <= 0 {
		return 0
	}
	return most / period
}

// others is what everybody else uses of all cores while we do nothing.
func others(ctx context.Context, span time.Duration) (busy, stolen float64) {
	before := read("/proc/stat")
	select {
	case <-time.After(span):
	case <-ctx.Done():
	}
	return used(before, read("/proc/stat"))
}

// used compares two first lines of /proc/stat: cpu, then ticks of user, nice,
// system, idle, iowait, irq, softirq, steal (proc_stat(5)).
func used(before, after string) (busy, stolen float64) {
	a, b := strings.Fields(before), strings.Fields(after)
	if len(a) < 9 || len(b) < 9 {
		return 0, 0
	}
	var ticks [8]float64
	total := 0.0
	for i := range ticks {
		x, _ := strconv.ParseFloat(a[i+1], 64)
		y, _ := strconv.ParseFloat(b[i+1], 64)
		ticks[i] = y - x
		total += ticks[i]
	}
	if total <= 0 {
		return 0, 0
	}
	const idle, iowait, steal = 3, 4, 7
	return (total - ticks[idle] - ticks[iowait] - ticks[steal]) / total, ticks[steal] / total
}

// timers is how late a timerfd rings, which is what sends requests.
func timers(ctx context.Context, n int) Spread {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC)
	if err != nil {
		return Spread{}
	}
	defer unix.Close(fd)
	var late []float64
	var count [8]byte
	for len(late) < n && ctx.Err() == nil {
		due := time.Now().Add(time.Millisecond)
		if unix.TimerfdSettime(fd, 0, &unix.ItimerSpec{Value: unix.NsecToTimespec(int64(time.Until(due)))}, nil) != nil {
			break
		}
		if _, err := unix.Read(fd, count[:]); err != nil {
			continue
		}
		late = append(late, float64(time.Since(due)))
	}
	return spread(late)
}
