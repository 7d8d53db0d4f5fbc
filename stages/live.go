package stages

import (
	"time"

	"vbp/pipeline"
	"vbp/specs"
	"vbp/stages/analyze"
	"vbp/stages/load"
	"vbp/stages/sample"
)

// LoadProgress is the Data of a load node's progress events.
type LoadProgress struct {
	Sent, Done, Failed, Total int
	Met                       int           // requests done that met both objectives
	Low, High                 float64       // 95 % interval of Met / Done
	Left                      time.Duration // until the last request is sent, by the schedule
}

// live turns load's events into progress with live attainment. It only looks
// on: nothing it does reaches what is measured or stored.
type live struct {
	rt       *pipeline.Runtime
	slo      specs.SLO
	schedule []time.Duration
	state    LoadProgress
	told     time.Time
}

func newLive(rt *pipeline.Runtime, slo specs.SLO, total int, schedule []time.Duration) *live {
	l := &live{rt: rt, slo: slo, schedule: schedule, state: LoadProgress{Total: total}}
	l.tell(true)
	return l
}

func (l *live) observe(e load.Event) {
	switch e.Kind {
	case load.Sent:
		l.state.Sent++
	case load.Done:
		l.state.Done++
		if e.Outcome.Failed() {
			l.state.Failed++
		}
		if met(&e.Outcome, l.slo) {
			l.state.Met++
		}
	default:
		return
	}
	l.tell(l.state.Done == l.state.Total)
}

// met is attainment's rule for one request.
func met(o *sample.Outcome, slo specs.SLO) bool {
	return analyze.Met(o, seconds(slo.TTFT), seconds(slo.TPOT))
}

// tell emits the state, ten times a second at most unless it must be told.
func (l *live) tell(must bool) {
	now := l.rt.Now()
	if !must && now.Sub(l.told) < 100*time.Millisecond {
		return
	}
	l.told = now
	s := l.state
	s.Low, s.High = analyze.Wilson(s.Met, s.Done)
	if n := len(l.schedule); n > 0 && s.Sent < n {
		begun := time.Duration(0)
		if s.Sent > 0 {
			begun = l.schedule[s.Sent-1]
		}
		s.Left = l.schedule[n-1] - begun
	}
	l.rt.Emit(pipeline.Event{Data: s})
}
