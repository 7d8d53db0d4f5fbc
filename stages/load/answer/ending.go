package answer

import (
	"fmt"
	"strings"
	"time"

	"vbp/stages/sample"
)

// TimedOut ends an answer that was not complete after the time allowed for it.
func (a *Answer) TimedOut(after time.Duration) {
	a.Fail(sample.Timeout, "no complete answer within %v; %d events with tokens had come", after, a.Out.Events)
}

// ServerEnded ends an answer whose server is known to have ended, in the way
// that how tells on its first line; the rest is of its log.
func (a *Answer) ServerEnded(how error, at int64) {
	line, _, _ := strings.Cut(how.Error(), "\n")
	if a.Out.Status == sample.Absent {
		a.Fail(sample.ConnectError, "the server ended before it answered: %s", line)
		return
	}
	a.Closed(fmt.Errorf("the server ended: %s", line), at)
}
