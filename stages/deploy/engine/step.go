package engine

import "time"

// Next opens the step that starts now and says when it ends; ok is false if
// there is nothing to compute now (see Wake). Transfers that arrived and
// leases that ended by now come as events, with a step or without one; they
// are valid until the next call of Next or Finish. While a step is open, Next
// returns that step again.
func (s *Scheduler) Next(now time.Duration) (step Step, events []Event, ok bool) {
	if s.open {
		return s.step, nil, true
	}
	s.events = s.events[:0]
	s.expire(now)
	s.land(now)
	s.step = Step{Start: now}
	for {
		budget, preempted := s.continueRunning(s.cfg.MaxBatchedTokens)
		if !preempted {
			s.admit(now, budget)
		}
		if len(s.pieces) > 0 {
			break
		}
		if !preempted {
			return Step{}, s.events, false
		}
		// The batch threw itself out whole. An empty step takes no time, so
		// the next one is looked for at once; without a batch it preempts
		// nothing, and this ends.
	}
	s.open = true
	s.stats.Steps++
	s.step.End = now + s.step.Load + max(1, s.cfg.StepTime.Of(s.step.Work)) // time must pass, or nothing ever would
	return s.step, s.events, true
}

// Wake is the earliest instant after now at which Next may have something to
// do without anything being added, released or cancelled.
func (s *Scheduler) Wake(now time.Duration) (at time.Duration, ok bool) {
	soonest := func(t time.Duration) {
		if t > now && (!ok || t < at) {
			at, ok = t, true
		}
	}
	if r := s.waiting.front(); r != nil {
		soonest(r.ready)
	}
	for _, r := range s.fetching {
		soonest(r.deadline)
	}
	if len(s.holding) > 0 {
		soonest(s.holding[0].deadline)
	}
	return at, ok
}

// plan makes n tokens of a request part of the step that is being formed.
func (s *Scheduler) plan(r *Request, n int) {
	s.pieces = append(s.pieces, piece{r, n})
	s.step.Work.add(r.computed, n)
	if n == 1 {
		s.step.Decodes++
	}
}

// continueRunning schedules the batch, in the order of admission, and returns
// the budget that is left and whether anything had to be thrown out.
func (s *Scheduler) continueRunning(budget int) (left int, preempted bool) {
	for i := 0; i < len(s.running) && budget > 0; i++ {
		r := s.running[i]
		n := min(r.total()-r.computed, budget)
		scheduled := true
		for !s.grow(r, r.computed+n) {
			last := len(s.running) - 1
			tail := s.running[last]
			s.running[last] = nil
			s.running = s.running[:last]
			s.preempt(tail)
			preempted = true
			if tail == r {
				scheduled = false
				break
			}
		}
		if scheduled {
			s.plan(r, n)
			budget -= n
		}
	}
	return budget, preempted
}

// preempt puts a request back to the head of the queue, to compute its prompt
// and what it generated anew. Its blocks stay findable by their content until
// they are handed out.
func (s *Scheduler) preempt(r *Request) {
	s.pool.release(r.blocks)
	r.blocks = r.blocks[:0]
	r.computed, r.registered = 0, 0
	r.Preemptions++
	s.stats.Preemptions++
	r.state = waiting
	s.waiting.pushFront(r)
	s.nWaiting++
}

// admit adds to the batch while budget, sequences and blocks last. Requests
// whose KV has arrived go first: they own their blocks already, and if a
// waiting one that needs blocks could stand before them, both might wait for
// each other for ever.
func (s *Scheduler) admit(now time.Duration, budget int) {
	moved := false
	for _, r := range s.fetching {
		if budget == 0 || len(s.running) >= s.cfg.MaxSeqs {
			break
		}
		if !r.fetched {
			continue
		}
		moved = true
		budget--
		s.enter(r, now, 1)
	}
	if moved {
		s.fetching = keep(s.fetching, fetching)
	}
	for budget > 0 && len(s.running) < s.cfg.MaxSeqs {
		r := s.waiting.front()
		if r == nil || r.ready > now {
			return
		}
		found := s.lookup(r)
		cached := found * s.cfg.BlockSize
		if r.RemoteKV && !r.fetched {
			if !s.occupy(r, found, r.PromptTokens) {
				return
			}
			s.leaveQueue(r, cached, r.PromptTokens-cached)
			s.fetch(r, now, cached)
			continue
		}
		// The last token is computed in any case: its output is what is wanted.
		external := max(0, min(r.External, r.total()-1)-cached)
		n := min(r.total()-cached-external, budget)
		if !s.occupy(r, found, cached+external+n) {
			return
		}
		s.leaveQueue(r, cached, external)
		s.load(external)
		r.computed = cached + external
		s.publish(r, cached+external+n)
		s.enter(r, now, n)
		budget -= n
	}
}

// enter puts a request into the batch, with n tokens in this step.
func (s *Scheduler) enter(r *Request, now time.Duration, n int) {
	if !r.started {
		r.started = true
		r.Scheduled = now
	}
	r.state = running
	s.running = append(s.running, r)
	s.plan(r, n)
}

// leaveQueue takes the head off the queue; its first time counts as the
// lookup in the prefix cache and, for what that did not have, outside.
func (s *Scheduler) leaveQueue(r *Request, cached, external int) {
	s.waiting.popFront()
	s.nWaiting--
	if !r.admitted {
		r.admitted = true
		r.Cached, r.Loaded = cached, external
		if s.cfg.PrefixCaching {
			s.stats.PrefixQueries += int64(r.PromptTokens)
			s.stats.PrefixHits += int64(cached)
		}
		if s.cfg.Connector || external > 0 {
			s.stats.ExternalQueries += int64(r.PromptTokens - cached)
			s.stats.ExternalHits += int64(external)
		}
	}
}

// lookup finds the blocks that already hold the beginning of a request and
// leaves them in s.hits. The last token is never among them: its output is
// what is wanted.
func (s *Scheduler) lookup(r *Request) int {
	s.hits = s.hits[:0]
	if !s.cfg.PrefixCaching || r.Prompt == nil {
		return 0
	}
	if r.hashes == nil && len(s.chains) > 0 {
		last := len(s.chains) - 1
		r.hashes, s.chains = s.chains[last], s.chains[:last]
	}
	for i := range (r.total() - 1) / s.cfg.BlockSize {
		b, found := s.pool.byHash[r.hash(i, s.cfg.BlockSize)]
		if !found {
			break
		}
		s.hits = append(s.hits, b)
	}
	return len(s.hits)
}

// occupy gives a request without blocks the found ones and as many new ones
// as the given number of tokens needs; false, with nothing done, if there are
// not enough.
func (s *Scheduler) occupy(r *Request, found, tokens int) bool {
	need := s.blocksFor(tokens) - found
	idle := 0 // found blocks that are in the free list now
	for _, b := range s.hits {
		if s.pool.refs[b] == 0 {
			idle++
		}
	}
	if need+idle > s.pool.free {
		return false
	}
	if r.blocks == nil && len(s.spare) > 0 {
		last := len(s.spare) - 1
		r.blocks, s.spare = s.spare[last], s.spare[:last]
	}
	for _, b := range s.hits {
		s.pool.share(b)
		r.blocks = append(r.blocks, b)
	}
	for range need {
		r.blocks = append(r.blocks, s.pool.take())
	}
	r.registered = found
	return true
}

// grow gives a running request the blocks for that many tokens; false, with
// nothing done, if there are not enough.
func (s *Scheduler) grow(r *Request, tokens int) bool {
	need := s.blocksFor(tokens) - len(r.blocks)
	if need > s.pool.free {
		return false
	}
	for range need {
		r.blocks = append(r.blocks, s.pool.take())
	}
	s.publish(r, tokens)
	return true
}

// publish makes the blocks that are whole with that many tokens findable. As
// in vLLM this happens when they are scheduled, not when they are computed,
// so that of equal prompts in one step the second one hits.
func (s *Scheduler) publish(r *Request, tokens int) {
	if !s.cfg.PrefixCaching || r.Prompt == nil {
		return
	}
	for ; r.registered < tokens/s.cfg.BlockSize; r.registered++ {
		i := r.registered
		s.pool.register(r.blocks[i], r.hash(i, s.cfg.BlockSize))
	}
}

func (s *Scheduler) blocksFor(tokens int) int {
	return (tokens + s.cfg.BlockSize - 1) / s.cfg.BlockSize
}

// release frees a request's blocks and keeps its lists for others.
func (s *Scheduler) release(r *Request) {
	s.pool.release(r.blocks)
	const spares = 4096 // as many as the largest batch in sight; the rest goes to the garbage collector
	if cap(r.blocks) > 0 && len(s.spare) < spares {
		s.spare = append(s.spare, r.blocks[:0])
	}
	if cap(r.hashes) > 0 && len(s.chains) < spares {
		s.chains = append(s.chains, r.hashes[:0])
	}
	r.blocks, r.hashes = nil, nil
}
