package local

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"regexp"
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
	Cause   string // the first line above Tail that looks like an exception; "": none
	Tail    []string
}

func (e *ProcessError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s\n  command: %s\n  log: %s", e.Process.Name, e.What, e.Process.Shell(), e.Log)
	if len(e.Tail) == 0 {
		b.WriteString(" (empty)")
		return b.String()
	}
	if e.Cause != "" {
		b.WriteString(", says:\n    | " + e.Cause + "\n  and")
	} else {
		b.WriteString(",")
	}
	b.WriteString(" ends with:")
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

// exception is a line by which a Python program tells what went wrong, alone or
// behind a logger's prefix. What comes after it is often only what followed.
var exception = regexp.MustCompile(`(^|[\s'"])[A-Za-z_][\w.]*(Error|Exception): \S`)

// tail returns the last n lines that file holds after offset, and the first
// line before them that looks like an exception; none if the file cannot be
// read, since it only ever explains another error.
func tail(file string, offset int64, n int) (last []string, cause string) {
	const (
		most = 256 << 10 // read at most, from the end
		wide = 400       // bytes of a line shown
	)
	f, err := os.Open(file)
	if err != nil {
		return nil, ""
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, ""
	}
	offset = max(offset, info.Size()-most)
	data, err := io.ReadAll(io.NewSectionReader(f, offset, most))
	if err != nil {
		return nil, ""
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
	above := max(0, len(lines)-n)
	for _, l := range lines[:above] {
		if exception.MatchString(l) && !strings.Contains(l, "WARNING") {
			cause = l
			break
		}
	}
	return lines[above:], cause
}
