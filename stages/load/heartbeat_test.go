package load

import (
	"testing"
	"testing/synctest"
	"time"
)

// In virtual time no beat is late, however long it takes; that one can be late
// shows a process that stops itself (stall_linux_test.go).
func TestHeartbeatIsInTimeWhereTimeIsVirtual(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHeartbeat()
		time.Sleep(time.Hour + 3*time.Millisecond)
		if late := h.end(); late != 0 {
			t.Errorf("a beat was %v late", late)
		}
	})
}
