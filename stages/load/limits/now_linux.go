package limits

import (
	"os"
	"strconv"
	"strings"
)

// Now reads the limits.
func Now() Limits {
	l := Limits{Open: open()}
	l.Files, l.FilesHard = files()
	if b, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range"); err == nil {
		if f := strings.Fields(string(b)); len(f) == 2 {
			first, err1 := strconv.Atoi(f[0])
			last, err2 := strconv.Atoi(f[1])
			if err1 == nil && err2 == nil {
				l.PortFirst, l.PortLast = first, last
			}
		}
	}
	return l
}

// open is how many files this process has open, the folder that is read for it
// included.
func open() int {
	d, err := os.Open("/proc/self/fd")
	if err != nil {
		return 0
	}
	defer d.Close()
	names, _ := d.Readdirnames(-1)
	return len(names)
}
