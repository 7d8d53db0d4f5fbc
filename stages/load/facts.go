package load

import "vbp/stages/sample"

// Fact names and explains one number of Meta.Facts.
type Fact struct {
	Name string
	Doc  string
}

// FactNames lists the facts that Measure tells of a point (tally.go and notes.go
// work them out); rules of validity name these. A fact that cannot be known of a
// point is absent from it, never 0.
var FactNames = []Fact{
	{"planned", "requests of the schedule, without those that were dropped"},
	{"sent", "requests that were sent: fewer than planned where the point ended before its time"},
	{"failed", "requests that did not end as a complete answer"},
	{sample.OK, "requests that ended as a complete answer"},
	{sample.HTTPError, "requests that the server answered with a status other than 200"},
	{sample.StreamError, "requests whose stream held an error or was not readable"},
	{sample.Truncated, "requests whose stream ended without a finish reason"},
	{sample.Timeout, "requests whose time ran out"},
	{sample.ConnectError, "requests for which no connection was had, or it broke before the status"},
	{"stopped_early", "complete answers with fewer tokens, by the server's count, than asked for though ignore_eos was set, whatever they ended for; absent where it was not set"},
	{"resent", "times that a request was sent again, since the server had closed the kept connection before any answer; it counts as sent when it first was"},
	{"fallbacks", "requests whose decode instance had to prefill by itself; absent where no proxy told"},
	{"schedule_kept", "span of the schedule / span of the actual sends, each less its wait for a slot; 1 is kept, 0.5 is half the rate"},
	{"send_lag_p50_ms", "median of how long after its schedule a request was first sent, in ms, less its wait for a slot of max_concurrency"},
	{"send_lag_p99_ms", "99th percentile of the same"},
	{"send_lag_max_ms", "maximum of the same"},
	{"slot_waited", "share of the requests that were due and had to wait, since max_concurrency were in flight; absent without such a limit, as are the next two"},
	{"slot_wait_p99_ms", "99th percentile of how long a request waited so, in ms; 0 for those that did not"},
	{"slot_wait_max_ms", "maximum of the same"},
	{"dropped", "requests of the schedule that were never sent, since max_concurrency held them back until the point's duration was over; absent where not both are set"},
	{"scheduled_qps", "requests of the schedule per second, first to last: what chance made of the point's rate"},
	{"achieved_qps", "requests sent per second, first to last"},
	{"client_cpu_share", "CPU time of this process during the point / (wall time x cores)"},
	{"client_stall_max_ms", "longest time, in ms, for which this process did not run though it should have: it was stopped, or others had the processor"},
	{"client_busy", "share of the time in which the busiest event loop of the client had something to do; near 1 it could do no more; absent for a transport without one"},
	{"client_starved", "requests that failed since the client's machine had no local port or no open file left for them, and not for the server"},
	{"streams_max", "most requests in flight at a time; absent where the transport does not tell, as are the next three"},
	{"open_files_max", "most connections that the client had open at a time"},
	{"read_lag_p50_us", "median of how long bytes of answers had been in this machine when the client read them, in us"},
	{"read_lag_p99_us", "99th percentile of the same"},
	{"events_per_read", "events with tokens for each read of an answer; far above 1, the gaps between tokens are the network's"},
	{"tokens_per_event", "output tokens of complete answers for each of their events with tokens; above 1, gaps are between groups of tokens; absent where tokens were counted from events"},
}
