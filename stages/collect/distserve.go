package collect

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"

	"vbp/stages/sample"
)

// distserveRequest is one request of a DistServe .exp file, a JSON list of
// them. Times are seconds of one clock.
type distserveRequest struct {
	PromptLen       *int64    `json:"prompt_len"`
	OutputLen       *int64    `json:"output_len"`
	StartTime       *float64  `json:"start_time"`
	EndTime         *float64  `json:"end_time"`
	TokenTimestamps []float64 `json:"token_timestamps"`
	Lifecycle       []struct {
		Timestamp float64 `json:"timestamp"` // Unix seconds
		EventType string  `json:"event_type"`
	} `json:"lifecycle_events"`
}

// isDistServe tells whether a list looks like DistServe's requests.
func isDistServe(list json.RawMessage) bool {
	var entries []map[string]json.RawMessage
	if json.Unmarshal(list, &entries) != nil || len(entries) == 0 {
		return false
	}
	_, ok := entries[0]["token_timestamps"]
	return ok
}

// readDistServe turns a list of requests into a table in order of sending.
// name is the file's name, for its rate. The warning is empty or says what is
// odd.
func readDistServe(list json.RawMessage, name, mode string) (t *sample.Table, warning string, err error) {
	rate := lastNumber(name)
	if !(rate > 0) {
		return nil, "", errors.New("its name ends in no request rate above 0: name it like distserve-120-1.5.exp")
	}
	var requests []distserveRequest
	if err := json.Unmarshal(list, &requests); err != nil {
		return nil, "", typeError(err)
	}
	if len(requests) == 0 {
		return nil, "", errors.New("it holds no request")
	}
	uneven := 0
	for i, r := range requests {
		if err := r.check(); err != nil {
			return nil, "", fmt.Errorf("request %d: %w", i, err)
		}
		if n := len(r.TokenTimestamps); n > 0 && int64(n) != *r.OutputLen {
			uneven++
		}
	}
	if uneven > 0 {
		warning = fmt.Sprintf("%d of %d requests have another number of token_timestamps than output_len says; output_len is used", uneven, len(requests))
	}
	slices.SortStableFunc(requests, func(a, b distserveRequest) int {
		switch {
		case *a.StartTime < *b.StartTime:
			return -1
		case *a.StartTime > *b.StartTime:
			return 1
		}
		return 0
	})
	epoch, end := *requests[0].StartTime, math.Inf(-1)
	t = &sample.Table{Meta: sample.Meta{
		Rate: rate, Start: requests[0].issued(), Engine: "distserve", Axes: foreignAxes(mode, rate),
	}}
	for i, r := range requests {
		if r.EndTime != nil {
			end = max(end, *r.EndTime)
		}
		o := r.row(epoch)
		o.ID = strconv.Itoa(i)
		t.Append(o)
	}
	t.Meta.Length = end - epoch
	if !(t.Meta.Length > 0) || math.IsInf(t.Meta.Length, 0) {
		t.Meta.Length = math.NaN()
	}
	return t, warning, nil
}

func (r *distserveRequest) check() error {
	switch {
	case r.StartTime == nil:
		return errors.New("it has no start_time")
	case r.OutputLen == nil:
		return errors.New("it has no output_len")
	case *r.OutputLen < 0:
		return fmt.Errorf("its output_len is %d: a count cannot be below 0", *r.OutputLen)
	case !slices.IsSorted(r.TokenTimestamps):
		return errors.New("its token_timestamps go back in time")
	case len(r.TokenTimestamps) > 0 && r.TokenTimestamps[0] < *r.StartTime:
		return errors.New("its first token came before its start_time")
	}
	return nil
}

// row is the request as an Outcome, its instants relative to the epoch.
//
//	TTFT = token_timestamps[0] - start_time
//	TPOT = (token_timestamps[last] - token_timestamps[0]) / (output_len - 1)
//
// A request without a token failed.
func (r *distserveRequest) row(epoch float64) sample.Outcome {
	o := sample.NewOutcome("")
	if r.PromptLen != nil {
		o.PromptTokens = *r.PromptLen
	}
	o.OutputTokens = *r.OutputLen
	o.Sent = nanoseconds(*r.StartTime - epoch)
	n := len(r.TokenTimestamps)
	o.Events = int64(n)
	if n == 0 || o.OutputTokens == 0 {
		o.Outcome, o.Error = sample.StreamError, "no token came"
		return o
	}
	o.Outcome = sample.OK
	first, last := r.TokenTimestamps[0], r.TokenTimestamps[n-1]
	o.FirstToken, o.LastToken = nanoseconds(first-epoch), nanoseconds(last-epoch)
	o.TTFT = first - *r.StartTime
	if o.OutputTokens > 1 {
		o.TPOT = (last - first) / float64(o.OutputTokens-1)
	}
	if r.EndTime != nil {
		o.E2E = *r.EndTime - *r.StartTime
	}
	o.Gaps = make([]int32, n-1)
	for i := range o.Gaps {
		o.Gaps[i] = microseconds(r.TokenTimestamps[i+1] - r.TokenTimestamps[i])
	}
	return o
}

// issued is the wall clock at which the request was sent, Unix ns; Absent if
// its lifecycle does not tell.
func (r *distserveRequest) issued() int64 {
	for _, e := range r.Lifecycle {
		if e.EventType == "issued" && e.Timestamp > 0 {
			return nanoseconds(e.Timestamp)
		}
	}
	return sample.Absent
}
