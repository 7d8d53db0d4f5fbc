package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	"vbp/pipeline"
	"vbp/pipeline/cache"
	"vbp/stages"
)

// progress shows the events of an apply: on a terminal as a block that is
// redrawn in place below the lines of what is done, elsewhere as one plain
// line an event. Its methods may be called from several goroutines.
type progress struct {
	mu    sync.Mutex
	w     io.Writer
	term  *os.File // nil: not a terminal
	quiet bool

	total, finished int // nodes that leave a result or act
	ended           map[*pipeline.Node]bool
	left            map[string]time.Duration
	active          []*activity // in order of beginning
	drawn           int         // lines of the block on the screen
	last            time.Time
	stop            chan struct{} // closed by end: nothing is redrawn any more
	stopped         sync.WaitGroup
}

// activity is a node at work.
type activity struct {
	node  *pipeline.Node
	begun time.Time
	text  string
	load  *stages.LoadProgress
}

func newProgress(w io.Writer, quiet bool) *progress {
	p := &progress{w: w, quiet: quiet, left: make(map[string]time.Duration), ended: make(map[*pipeline.Node]bool)}
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		p.term = f
		p.stop = make(chan struct{})
		p.stopped.Go(p.tick)
	}
	return p
}

// tick redraws the block each second, so that it can be seen how long
// something takes that tells nothing.
func (p *progress) tick() {
	t := time.NewTicker(time.Second)
	defer t.Stop()
	for {
		select {
		case <-p.stop:
			return
		case <-t.C:
			p.mu.Lock()
			if len(p.active) > 0 {
				p.draw(true)
			}
			p.mu.Unlock()
		}
	}
}

// plan says what is ahead.
func (p *progress) plan(pl *pipeline.Plan, runDir string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, d := range pl.Decisions {
		if d.Action == pipeline.Run || d.Action == pipeline.Pending {
			p.total++
			if d.Node.Expect > 0 {
				p.left[d.Node.ID] = d.Node.Expect
			}
		}
	}
	if runDir == "" {
		return
	}
	text := planSummary(pl)
	if rest := p.remaining(); rest > 0 {
		text += ", about " + rest.Round(time.Second).String() + " of load"
	}
	p.line("plan: " + text)
	p.line("results go to " + runDir)
}

func (p *progress) notice(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.line(text)
}

// event shows one event.
func (p *progress) event(e pipeline.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch e.Kind {
	case pipeline.Began:
		p.active = append(p.active, &activity{node: e.Node, begun: time.Now()})
		switch {
		case strings.HasPrefix(e.Text, cache.ErrDamaged.Error()), strings.HasPrefix(e.Text, cache.ErrGone.Error()):
			p.line(e.Node.ID + ": is made again, for " + e.Text)
		case p.term == nil && e.Node.Kind != pipeline.Pure:
			p.line(e.Node.ID + ": " + beginning(e))
		}
	case pipeline.Progress:
		p.progressed(e)
	case pipeline.Started:
		p.finish(e.Node)
		text := e.Node.ID + ": ready after " + e.Took.Round(time.Second).String()
		if e.Text != "" {
			text += ", " + e.Text
		}
		p.line(text)
	case pipeline.Stopped:
		text := e.Node.ID + ": stopped after " + e.Took.Round(time.Second).String()
		if e.Text != "" {
			text += ": " + e.Text
		}
		p.line(text)
	case pipeline.Done:
		a := p.finish(e.Node)
		name := e.Node.ID
		if p.term != nil {
			name = shortID(e.Node)
		}
		if text := doneText(name, e, a); text != "" {
			p.line(text)
		}
	case pipeline.Again:
		p.drop(e.Node)
		if p.ended[e.Node] {
			p.ended[e.Node] = false
			p.finished--
		}
	case pipeline.Reused, pipeline.Skipped:
		if _, planned := p.left[e.Node.ID]; planned {
			p.finish(e.Node)
		}
	case pipeline.Failed:
		p.finish(e.Node)
		p.line(e.Node.ID + ": failed: " + e.Text)
	}
	p.draw(e.Kind != pipeline.Progress)
}

func (p *progress) progressed(e pipeline.Event) {
	for _, a := range p.active {
		if a.node != e.Node {
			continue
		}
		if l, ok := e.Data.(stages.LoadProgress); ok {
			a.load = &l
			p.left[e.Node.ID] = l.Left
			return
		}
		a.text = e.Text
		if p.term == nil && (e.Node.Kind != pipeline.Measurement || strings.HasPrefix(e.Text, "waiting")) {
			p.line(e.Node.ID + ": " + e.Text)
		}
		return
	}
	if e.Text != "" { // it waits for its turn to begin
		p.line(e.Node.ID + ": " + e.Text)
	}
}

// beginning says that a node begins, and why if it was done before.
func beginning(e pipeline.Event) string {
	switch {
	case e.Node.Kind == pipeline.Service:
		return "starting"
	case e.Node.Kind == pipeline.Measurement && e.Text != pipeline.NotDoneYet:
		return "begins (" + e.Text + ")"
	}
	return "begins"
}

// doneText tells the end of a node; what is computed in no time is not worth
// a line.
func doneText(name string, e pipeline.Event, a *activity) string {
	r, _ := e.Data.(pipeline.Result)
	switch {
	case e.Node.Kind == pipeline.Pure && e.Took < time.Second:
		return ""
	case a == nil || a.load == nil:
		return fmt.Sprintf("%s: done in %s", name, e.Took.Round(10*time.Millisecond))
	}
	verdict := "valid"
	if !r.Verdict.Usable {
		verdict = "not valid: " + r.Verdict.Reason
	}
	return fmt.Sprintf("%s: %d sent, %d failed, met %s, %s, took %s",
		name, a.load.Sent, a.load.Failed, liveShare(a.load), verdict, e.Took.Round(100*time.Millisecond))
}

func liveShare(l *stages.LoadProgress) string {
	if l.Done == 0 {
		return "-"
	}
	return fmt.Sprintf("%.0f %% (%.0f..%.0f)", 100*float64(l.Met)/float64(l.Done), 100*l.Low, 100*l.High)
}

func (p *progress) finish(n *pipeline.Node) *activity {
	if !p.ended[n] { // a service that is started again ends its start twice
		p.ended[n] = true
		p.finished++
	}
	delete(p.left, n.ID)
	return p.drop(n)
}

// drop takes a node from those at work, which is to be tried again or has
// ended.
func (p *progress) drop(n *pipeline.Node) *activity {
	for i, a := range p.active {
		if a.node == n {
			p.active = append(p.active[:i:i], p.active[i+1:]...)
			return a
		}
	}
	return nil
}

// remaining is the load time ahead, by the schedules.
func (p *progress) remaining() time.Duration {
	var sum time.Duration
	for _, d := range p.left {
		sum += d
	}
	return sum
}

// line writes a line that stays.
func (p *progress) line(text string) {
	if p.quiet {
		return
	}
	p.erase()
	if p.term == nil {
		text = time.Now().Format("15:04:05 ") + text
	}
	fmt.Fprintln(p.w, text)
}

// draw redraws the block, ten times a second at most unless it must.
func (p *progress) draw(must bool) {
	if p.term == nil || p.quiet {
		return
	}
	if now := time.Now(); must || now.Sub(p.last) >= 100*time.Millisecond {
		p.last = now
	} else {
		return
	}
	width, _, err := term.GetSize(int(p.term.Fd()))
	if err != nil || width < 20 {
		width = 80
	}
	var b strings.Builder
	lines := 0
	add := func(text string) {
		r := []rune(text)
		if len(r) > width-1 {
			r = append(r[:width-2], '…')
		}
		b.WriteString(string(r) + "\n")
		lines++
	}
	for _, a := range p.active {
		switch {
		case a.load != nil:
			l := a.load
			add(fmt.Sprintf("  %s  sent %d/%d  done %d  failed %d  met %s", shortID(a.node), l.Sent, l.Total, l.Done, l.Failed, liveShare(l)))
		default:
			text := "  " + shortID(a.node)
			if took := time.Since(a.begun).Round(time.Second); took > 0 {
				text += "  " + took.String()
			}
			if a.text != "" {
				text += "  " + a.text
			}
			add(text)
		}
	}
	status := fmt.Sprintf("  %d of %d steps", p.finished, p.total)
	if rest := p.remaining(); rest > 0 {
		status += ", about " + rest.Round(time.Second).String() + " of load left"
	}
	add(status)
	p.erase()
	fmt.Fprint(p.w, b.String())
	p.drawn = lines
}

// shortID is a node's name with what goes without saying left out: a line of
// 80 columns has better to show.
func shortID(n *pipeline.Node) string {
	return strings.TrimSuffix(strings.Replace(n.ID, " mode=", " ", 1), " repeat=0")
}

// erase removes the block from the screen.
func (p *progress) erase() {
	if p.drawn > 0 {
		// From the first column: Ctrl-C leaves its own mark on the line.
		fmt.Fprintf(p.w, "\r\x1b[%dA\x1b[J", p.drawn)
		p.drawn = 0
	}
}

// end leaves the screen to what comes next. It may be called more than once.
func (p *progress) end() {
	if p.stop != nil {
		close(p.stop)
		p.stopped.Wait()
		p.stop = nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.erase()
}
