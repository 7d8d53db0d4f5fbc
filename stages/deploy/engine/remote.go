package engine

import "time"

// fetch reserves nothing more (its blocks are occupied) and starts the
// transfer of what is not in this instance's own prefix cache. The pull is
// asynchronous: the request takes part in no step until it is over.
//
//	duration = latency + tokens x KV bytes per token / bandwidth
//
// Transfers do not slow each other down.
func (s *Scheduler) fetch(r *Request, now time.Duration, cached int) {
	bytes, took := s.transfer(r.PromptTokens - cached)
	took = max(1, took) // it ends after it began, so that Wake can name the instant
	r.Transferred, r.TransferFor = int64(bytes), took
	r.deadline = now + took
	r.state = fetching
	s.fetching = append(s.fetching, r)
}

// transfer is the size of tokens' KV and how long it takes to move it.
func (s *Scheduler) transfer(tokens int) (bytes float64, took time.Duration) {
	bytes, took = float64(tokens)*s.cfg.KVBytesPerToken, s.cfg.TransferLatency
	if s.cfg.TransferBytesPer > 0 {
		took += seconds(bytes / s.cfg.TransferBytesPer)
	}
	return bytes, took
}

// load copies the KV of tokens in from a shared cache as part of the step that
// is being formed. LMCache does this before the forward pass, so that the
// whole batch waits for it.
func (s *Scheduler) load(tokens int) {
	if tokens > 0 {
		_, took := s.transfer(tokens)
		s.step.Load += took
	}
}

// land marks the transfers that are over. All of the prompt is computed then
// but its last token, whose output is the first token of the answer.
func (s *Scheduler) land(now time.Duration) {
	for _, r := range s.fetching {
		if r.fetched || r.deadline > now {
			continue
		}
		r.fetched = true
		s.publish(r, r.PromptTokens)
		r.computed = r.PromptTokens - 1
		s.stats.Transfers++
		s.stats.TransferredBytes += r.Transferred
		s.events = append(s.events, Event{Request: r, Kind: Transferred, At: r.deadline})
	}
}

// expire frees held blocks whose lease has ended. Leases are equally long, so
// those that end first stand first.
func (s *Scheduler) expire(now time.Duration) {
	n := 0
	for _, r := range s.holding {
		if r.deadline > now {
			break
		}
		n++
		s.release(r)
		r.state = ended
		s.stats.ExpiredHolds++
		s.events = append(s.events, Event{Request: r, Kind: Expired, At: r.deadline})
	}
	if n > 0 {
		s.holding = keep(s.holding, holding)
	}
}
