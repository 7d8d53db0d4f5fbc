package pipeline

import "time"

// EventKind says what an Event tells.
type EventKind string

// Kinds of Event. Progress comes from a node's own work, with Data of a type
// that package stages knows; the others come from the executor.
const (
	Began    EventKind = "began"
	Reused   EventKind = "reused"
	Done     EventKind = "done"
	Failed   EventKind = "failed"
	Again    EventKind = "again" // it is to be tried again, later
	Skipped  EventKind = "skipped"
	Started  EventKind = "started" // a service is up
	Stopped  EventKind = "stopped" // a service is gone
	Progress EventKind = "progress"
)

// Event is something that a person who waits may want to know.
type Event struct {
	At   time.Time
	Kind EventKind
	Node *Node
	Text string // in words
	Took time.Duration
	Data any
}
