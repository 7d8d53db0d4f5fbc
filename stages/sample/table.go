package sample

import "slices"

// Table is the requests of one load point as columns of equal length, row i
// of each belonging to request i in order of sending. Field meanings and
// units are Outcome's.
type Table struct {
	ID                                                 []string
	PromptTokens, OutputTokens                         []int64
	Scheduled, Sent, FirstEvent, FirstToken, LastToken []int64
	SlotWait, TTFT, TPOT, E2E                          []float64
	Gaps                                               [][]int32
	Events                                             []int64
	Finish, Outcome                                    []string
	Status                                             []int64
	Error, Prefill, Decode                             []string
	PrefillTime                                        []float64
	Fallback                                           []int64

	Meta Meta
}

// Meta says what the rows of a Table belong to. It travels in the footer of
// the stored file.
type Meta struct {
	Axes    []Axis             // every axis of the run, in order; qps and repeat last
	Rate    float64            // requests per second that were asked for
	Repeat  int                // which repetition, from 0
	Seed    int64              // seed of prompts and arrivals
	Model   string             // model as the server or the file names it
	Dataset string             // dataset as the spec or the file names it
	Engine  string             // engine and version, such as "vllm 0.27.0"
	Host    string             // fingerprint of the machine that measured
	Start   int64              // wall clock at the point's start, Unix ns; Absent if not known
	Length  float64            // s from the start of the point to its end; NaN if not known
	GPUs    int                // accelerators of the deployment; 0 if not known
	Config  map[string]string  // configuration worth showing, such as tensor_parallel_size
	Facts   map[string]float64 // what was observed of the point as a whole, such as send_lag_p99_ms; rules of validity name these
	Extra   map[string]string  // anything else worth keeping
}

// Axis is one coordinate of a point. A value that does not apply to the
// point's mode is not Set.
type Axis struct {
	Name  string
	Value string
	Set   bool
}

// Len is the number of requests.
func (t *Table) Len() int { return len(t.ID) }

// Grow makes room for n more rows.
func (t *Table) Grow(n int) {
	for _, c := range []*[]string{&t.ID, &t.Finish, &t.Outcome, &t.Error, &t.Prefill, &t.Decode} {
		*c = slices.Grow(*c, n)
	}
	for _, c := range []*[]int64{
		&t.PromptTokens, &t.OutputTokens, &t.Scheduled, &t.Sent, &t.FirstEvent, &t.FirstToken, &t.LastToken,
		&t.Events, &t.Status, &t.Fallback,
	} {
		*c = slices.Grow(*c, n)
	}
	for _, c := range []*[]float64{&t.SlotWait, &t.TTFT, &t.TPOT, &t.E2E, &t.PrefillTime} {
		*c = slices.Grow(*c, n)
	}
	t.Gaps = slices.Grow(t.Gaps, n)
}

// Append adds one row.
func (t *Table) Append(o Outcome) {
	t.ID = append(t.ID, o.ID)
	t.PromptTokens = append(t.PromptTokens, o.PromptTokens)
	t.OutputTokens = append(t.OutputTokens, o.OutputTokens)
	t.Scheduled = append(t.Scheduled, o.Scheduled)
	t.Sent = append(t.Sent, o.Sent)
	t.FirstEvent = append(t.FirstEvent, o.FirstEvent)
	t.FirstToken = append(t.FirstToken, o.FirstToken)
	t.LastToken = append(t.LastToken, o.LastToken)
	t.SlotWait = append(t.SlotWait, o.SlotWait)
	t.TTFT = append(t.TTFT, o.TTFT)
	t.TPOT = append(t.TPOT, o.TPOT)
	t.E2E = append(t.E2E, o.E2E)
	t.Gaps = append(t.Gaps, o.Gaps)
	t.Events = append(t.Events, o.Events)
	t.Finish = append(t.Finish, o.Finish)
	t.Outcome = append(t.Outcome, o.Outcome)
	t.Status = append(t.Status, o.Status)
	t.Error = append(t.Error, o.Error)
	t.Prefill = append(t.Prefill, o.Prefill)
	t.Decode = append(t.Decode, o.Decode)
	t.PrefillTime = append(t.PrefillTime, o.PrefillTime)
	t.Fallback = append(t.Fallback, o.Fallback)
}

// Row returns request i as one value. Gaps are shared with the table.
func (t *Table) Row(i int) Outcome {
	return Outcome{
		ID: t.ID[i], PromptTokens: t.PromptTokens[i], OutputTokens: t.OutputTokens[i],
		Scheduled: t.Scheduled[i], Sent: t.Sent[i], FirstEvent: t.FirstEvent[i],
		FirstToken: t.FirstToken[i], LastToken: t.LastToken[i],
		SlotWait: t.SlotWait[i], TTFT: t.TTFT[i], TPOT: t.TPOT[i], E2E: t.E2E[i],
		Gaps: t.Gaps[i], Events: t.Events[i], Finish: t.Finish[i], Outcome: t.Outcome[i],
		Status: t.Status[i], Error: t.Error[i], Prefill: t.Prefill[i], Decode: t.Decode[i],
		PrefillTime: t.PrefillTime[i], Fallback: t.Fallback[i],
	}
}

// Slice returns rows [from, to) as a table that shares their memory, and the
// same Meta. Appending to it leaves t as it is.
func (t *Table) Slice(from, to int) *Table {
	return &Table{
		ID:           t.ID[from:to:to],
		PromptTokens: t.PromptTokens[from:to:to], OutputTokens: t.OutputTokens[from:to:to],
		Scheduled: t.Scheduled[from:to:to], Sent: t.Sent[from:to:to], FirstEvent: t.FirstEvent[from:to:to],
		FirstToken: t.FirstToken[from:to:to], LastToken: t.LastToken[from:to:to],
		SlotWait: t.SlotWait[from:to:to], TTFT: t.TTFT[from:to:to], TPOT: t.TPOT[from:to:to], E2E: t.E2E[from:to:to],
		Gaps: t.Gaps[from:to:to], Events: t.Events[from:to:to], Finish: t.Finish[from:to:to], Outcome: t.Outcome[from:to:to],
		Status: t.Status[from:to:to], Error: t.Error[from:to:to], Prefill: t.Prefill[from:to:to], Decode: t.Decode[from:to:to],
		PrefillTime: t.PrefillTime[from:to:to], Fallback: t.Fallback[from:to:to],
		Meta: t.Meta,
	}
}

// Failed counts the requests that did not end as a complete answer.
func (t *Table) Failed() int {
	n := 0
	for _, o := range t.Outcome {
		if o != OK {
			n++
		}
	}
	return n
}

// Axis returns the value of the named axis and whether it applies.
func (m *Meta) Axis(name string) (string, bool) {
	i := slices.IndexFunc(m.Axes, func(a Axis) bool { return a.Name == name })
	if i < 0 || !m.Axes[i].Set {
		return "", false
	}
	return m.Axes[i].Value, true
}
