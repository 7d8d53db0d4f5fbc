package local

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"

	"vbp/stages/deploy"
)

// tailLines is how many log lines an error shows: a Python traceback's end
// fits.
const tailLines = 15

// ProcessError says that a process of a deployment is not as it should be,
// with what somebody needs to find out why.
type ProcessError struct {
	Process deploy.Process
	What    string // "died (exit status 1) before it was ready"
	Log     string // file that holds its output
	Tail    []string
}

func (e *ProcessError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s\n  command: %s\n  log: %s", e.Process.Name, e.What, commandLine(&e.Process), e.Log)
	if len(e.Tail) == 0 {
		b.WriteString(" (empty)")
		return b.String()
	}
	b.WriteString(", ends with:")
	for _, l := range e.Tail {
		b.WriteString("\n    | " + l)
	}
	return b.String()
}

// addressInUse reports whether the log tells that the process could not have
// its port.
func (e *ProcessError) addressInUse() bool {
	text := strings.ToLower(strings.Join(e.Tail, "\n"))
	return strings.Contains(text, "address already in use") || strings.Contains(text, "eaddrinuse")
}

// tail returns the last n lines that file holds after offset; none if it
// cannot be read, since it only ever explains another error.
func tail(file string, offset int64, n int) []string {
	const (
		most = 64 << 10 // read at most, from the end
		wide = 400      // bytes of a line shown
	)
	f, err := os.Open(file)
	if err != nil {
		return nil
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil
	}
	offset = max(offset, info.Size()-most)
	data, err := io.ReadAll(io.NewSectionReader(f, offset, most))
	if err != nil {
		return nil
	}
	var lines []string
	for l := range bytes.Lines(data) {
		// A progress bar overwrites its line: only its last state counts.
		l = bytes.TrimRight(l, "\r\n ")
		l = l[bytes.LastIndexByte(l, '\r')+1:]
		if len(l) == 0 {
			continue
		}
		text := strings.ToValidUTF8(string(l[:min(len(l), wide)]), "")
		lines = append(lines, strings.Map(func(r rune) rune {
			if r < ' ' && r != '\t' { // colours and the like
				return -1
			}
			return r
		}, text))
	}
	return lines[max(0, len(lines)-n):]
}
