package doctor

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"vbp/stages/load/metronome"
	"vbp/stages/sample"
)

// Spread is how a number of durations spread, in microseconds.
type Spread struct {
	P50 float64 `json:"p50_us"`
	P99 float64 `json:"p99_us"`
	Max float64 `json:"max_us"`
}

// Reading is what a trial tells of a client.
type Reading struct {
	Rate     float64 `json:"qps"`           // requests per second that were asked for; 0: all at once
	Sent     int     `json:"sent"`          // requests
	Failed   int     `json:"failed"`        // requests without a complete answer
	Events   float64 `json:"events_per_s"`  // tokens, one an event, per second, from the first to the last
	Streams  int     `json:"streams"`       // most requests in flight at a time
	TTFT     Spread  `json:"ttft_error"`    // |the client's TTFT - the server's own|, a request each
	TPOT     Spread  `json:"tpot_error"`    // likewise of TPOT
	Lateness Spread  `json:"lateness"`      // the client's write - the schedule
	Arrival  Spread  `json:"arrival"`       // arrival of the request at the server - the schedule
	Server   Spread  `json:"server_late"`   // the worst segment of each answer - its own schedule: not the client's doing
	CPU      float64 `json:"cpu_s_per_1e6"` // s of processor time of the client for a million events; 0: not known
	Core     float64 `json:"core"`          // processor time of the client / time from the first to the last event
	Allocs   float64 `json:"allocs"`        // of memory in the client, an event
	PerRead  float64 `json:"events_per_read"`
}

// judge compares what a client measured with what the server knows. All
// requests must have a record; that failures have none of what is compared is
// told by Failed.
func (t trial) judge(c *taken, records []metronome.Record) (*Reading, error) {
	own := make(map[string]*metronome.Record, len(records))
	for i := range records {
		own[records[i].ID] = &records[i]
	}
	rows := c.Table
	r := &Reading{Rate: t.rate, Sent: rows.Len(), Failed: rows.Failed()}
	var ttft, tpot, late, arrival, server []float64
	first, last := int64(math.MaxInt64), int64(0)
	events := int64(0)
	type change struct {
		at int64
		by int
	}
	var changes []change
	for i := range rows.Len() {
		wait := rows.SlotWait[i]
		if math.IsNaN(wait) {
			wait = 0
		}
		late = append(late, float64(rows.Sent[i]-rows.Scheduled[i])-wait*1e9)
		if rows.Outcome[i] != sample.OK {
			continue
		}
		rec, ok := own[rows.ID[i]]
		if !ok || rec.Last == 0 {
			return nil, fmt.Errorf("doctor: request %s was answered, but the metronome has no record of it", rows.ID[i])
		}
		if rows.OutputTokens[i] != int64(t.pace.Tokens) || rows.Events[i] != int64(t.pace.Tokens) {
			return nil, fmt.Errorf("doctor: request %s was sent %d tokens, one an event; the client saw %d tokens in %d events",
				rows.ID[i], t.pace.Tokens, rows.OutputTokens[i], rows.Events[i])
		}
		ttft = append(ttft, math.Abs(float64(rows.FirstToken[i]-rows.Sent[i]-int64(rec.TTFT()))))
		if t.pace.Tokens > 1 {
			tpot = append(tpot, math.Abs(float64(rows.LastToken[i]-rows.FirstToken[i])-float64(rec.Last-rec.First))/float64(t.pace.Tokens-1))
		}
		arrival = append(arrival, float64(rec.Arrived-rows.Meta.Start-rows.Scheduled[i]))
		server = append(server, float64(rec.Late))
		first, last = min(first, rows.FirstToken[i]), max(last, rows.LastToken[i])
		events += rows.Events[i]
		changes = append(changes, change{rows.Sent[i], 1}, change{rows.LastToken[i], -1})
	}
	if events == 0 {
		text := ""
		if i := slices.IndexFunc(rows.Error, func(s string) bool { return s != "" }); i >= 0 {
			text = ": " + rows.Error[i]
		}
		return nil, errors.New("doctor: not one request was answered" + text)
	}
	slices.SortFunc(changes, func(a, b change) int { return int(a.at - b.at) })
	under := 0
	for _, c := range changes {
		under += c.by
		r.Streams = max(r.Streams, under)
	}
	r.TTFT, r.TPOT, r.Lateness, r.Arrival, r.Server = spread(ttft), spread(tpot), spread(late), spread(arrival), spread(server)
	if span := time.Duration(last - first).Seconds(); span > 0 {
		r.Events = float64(events) / span
		r.Core = c.CPU.Seconds() / span
	}
	r.CPU = c.CPU.Seconds() / float64(events) * 1e6
	r.Allocs = float64(c.Allocs) / float64(events)
	r.PerRead = rows.Meta.Facts["events_per_read"]
	return r, nil
}

// spread is of nanoseconds, by nearest rank, so that each value is one that
// was measured. It sorts them.
func spread(ns []float64) Spread {
	if len(ns) == 0 {
		return Spread{}
	}
	slices.Sort(ns)
	at := func(p float64) float64 {
		return ns[max(0, int(math.Ceil(p*float64(len(ns))))-1)] / 1e3
	}
	return Spread{P50: at(0.5), P99: at(0.99), Max: at(1)}
}
