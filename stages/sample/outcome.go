// Package sample holds what a benchmark measured: one Outcome for each sent
// request, and a Table of them as plain columns.
//
// It is the currency between the packages that measure (load), store
// (collect) and judge (analyze), and therefore imports nothing but the
// standard library and knows neither HTTP nor Parquet nor SLOs.
//
// Units: instants are nanoseconds from the start of the point, durations are
// seconds, gaps are microseconds. Absent differs from zero everywhere: an
// absent instant or count is Absent, an absent duration is NaN, an absent
// text is "".
package sample

import (
	"math"
)

// Absent is the value of an instant or a count that is not known.
const Absent = math.MinInt64

// Status values of an Outcome: how a request ended, as the client saw it.
const (
	OK           = "ok"            // a complete answer with a finish reason
	HTTPError    = "http_error"    // the server answered with a status other than 200
	StreamError  = "stream_error"  // an error arrived inside the stream, or the stream was not readable
	Truncated    = "truncated"     // the stream ended without a finish reason
	Timeout      = "timeout"       // the time allowed for the request ran out
	ConnectError = "connect_error" // no connection could be had, or it broke before the answer's status
)

// Outcome is what is known of one sent request. One Outcome becomes one row.
type Outcome struct {
	ID           string
	PromptTokens int64 // tokens of the prompt, as the server counted them; else Absent
	OutputTokens int64 // tokens generated, from usage; else Absent

	Scheduled  int64 // ns from the point's start: when the schedule wanted it sent
	Sent       int64 // ns: just before the request was written
	FirstEvent int64 // ns: first event of the answer, whatever it carried
	FirstToken int64 // ns: first event that carried generated text or a token
	LastToken  int64 // ns: last event that carried generated text or a token

	// SlotWait is how long it waited, after it was due, for one of the places
	// that a limit of requests in flight leaves, in s; 0: not at all; NaN:
	// there was no limit.
	SlotWait float64

	TTFT float64 // s: FirstToken - Sent; NaN if no token came
	TPOT float64 // s: (LastToken - FirstToken) / (OutputTokens - 1); NaN for one token and where unknown
	E2E  float64 // s: end of the answer - Sent; NaN if it did not end well

	Gaps   []int32 // us between successive events that carried tokens
	Events int64   // events that carried tokens

	Finish  string // finish_reason as the server gave it
	Outcome string // one of the constants above
	Status  int64  // HTTP status; Absent if none arrived
	Error   string // what went wrong, in words

	// Told by a prefill/decode proxy in response headers, where there is one.
	Prefill     string  // prefill instance
	Decode      string  // decode instance
	PrefillTime float64 // s: duration of the prefill leg; NaN if not told
	Fallback    int64   // 1: decode had to prefill by itself; 0: it had not; Absent: not told
}

// NewOutcome returns an Outcome in which everything is absent.
func NewOutcome(id string) Outcome {
	nan := math.NaN()
	return Outcome{
		ID: id, PromptTokens: Absent, OutputTokens: Absent,
		Scheduled: Absent, Sent: Absent, FirstEvent: Absent, FirstToken: Absent, LastToken: Absent,
		SlotWait: nan, TTFT: nan, TPOT: nan, E2E: nan, Status: Absent, PrefillTime: nan, Fallback: Absent,
	}
}

// Derive fills TTFT and TPOT from the instants and the token count, after
// design's definitions; what cannot be known stays NaN.
func (o *Outcome) Derive() {
	o.TTFT, o.TPOT = math.NaN(), math.NaN()
	if o.FirstToken == Absent || o.Sent == Absent {
		return
	}
	o.TTFT = float64(o.FirstToken-o.Sent) / 1e9
	if o.OutputTokens > 1 && o.LastToken != Absent {
		o.TPOT = float64(o.LastToken-o.FirstToken) / 1e9 / float64(o.OutputTokens-1)
	}
}

// Failed reports whether the request did not end as a complete answer. A
// failed request meets no SLO.
func (o *Outcome) Failed() bool { return o.Outcome != OK }

// Lag is how late a client sent a request, in seconds: from its scheduled
// instant to its sending, less the time that it waited for a slot, which the
// client was told to let it wait. NaN if either instant is not known.
func Lag(scheduled, sent int64, slotWait float64) float64 {
	if scheduled == Absent || sent == Absent {
		return math.NaN()
	}
	late := sent - scheduled
	if slotWait > 0 { // not so NaN
		late -= int64(math.Round(slotWait * 1e9)) // whole ns, so that no lag is exactly 0
	}
	return float64(late) / 1e9
}
