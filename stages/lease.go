package stages

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"vbp/pipeline"
	"vbp/pipeline/cache"
	"vbp/stages/runs"
)

// leases gives the services of an execution what all applies of this user on
// this machine share, in whatever results folders they are:
//
//   - the machine: host.lock, exclusive for a service that must not be
//     measured beside another, shared for one that may be;
//   - its GPUs: a lock for each, named for the device and not for how a spec
//     writes it.
//
// They are locks of the kernel, which end with the process that holds them,
// however that ends. A service gets all that it needs at once or nothing, and
// then waits without holding anything that another could use, so that no two
// can wait for each other.
//
// Beside each lock there is a turn, a second lock, which whoever takes the
// first must have: a service that waits keeps the turns of what it waits for,
// and those that come later wait behind it. Without that, one that needs the
// whole machine would wait for ever if there is always somebody on a part of
// it. Of those that wait for a turn, whoever looks first has it next. Turns
// are waited for in one order, GPUs by name and then the machine, and whoever
// holds what they are turns of waits for nothing more. The turn of the machine
// is not kept while GPUs are missing: others may have theirs.
type leases struct {
	dir  string
	what string // who leases, for those who wait: "apply small"
	gpus []leasedGPU
}

// leasedGPU is a GPU under the name that the graph gives it and under that of
// its lock.
type leasedGPU struct{ id, name string }

// leasePoll is how often a service that waits looks again: not noticed beside
// the start of a server, and not by the machine that others measure on.
const leasePoll = 200 * time.Millisecond

// newLeases returns the leases of an execution of g. Their locks are in dir,
// which need not be there yet; "" is the folder that all applies of this user
// agree on.
func newLeases(dir string, g *pipeline.Graph, what string) *leases {
	if dir == "" {
		dir = filepath.Join(os.TempDir(), fmt.Sprintf("vbp-%d", os.Getuid()))
	}
	l := &leases{dir: dir, what: what}
	names := g.Units[gpuLocks]
	for i, id := range g.Units[gpuResource] {
		gpu := leasedGPU{id, "gpu-" + runs.FileName(id)}
		if i < len(names) {
			gpu.name = "gpu-" + runs.FileName(names[i])
		}
		l.gpus = append(l.gpus, gpu)
	}
	return l
}

// lease waits until n can have what it uses of the machine and of its GPUs,
// and takes it. The names of the GPUs are granted, earliest of the graph's
// first; release gives all back, and does nothing the second time. Emit is
// told for whom n waits, again whenever that changes, but not of what is over
// at the second look. When ctx ends, nothing is held and the error is its
// cause.
func (l *leases) lease(ctx context.Context, n *pipeline.Node, emit func(string)) (granted map[string][]string, release func() error, err error) {
	a := &applicant{leases: l, host: n.Uses[hostResource], count: n.Uses[gpuResource], turns: make(map[string]*cache.Lock)}
	if a.count > len(l.gpus) {
		return nil, nil, fmt.Errorf("%s needs %s, and there are %d", n.ID, countGPUs(a.count), len(l.gpus))
	}
	err = os.MkdirAll(l.dir, 0o700)
	if err == nil {
		if accessErr := unix.Access(l.dir, unix.W_OK|unix.X_OK); accessErr != nil {
			err = fmt.Errorf("%s: %w", l.dir, accessErr)
		}
	}
	if err != nil {
		return nil, nil, fmt.Errorf("this machine's locks cannot be kept: %w; make that folder writable, or name another one in TMPDIR, the same for all", err)
	}
	var seen, told string
	for {
		if ctx.Err() != nil {
			return nil, nil, errors.Join(context.Cause(ctx), a.leave())
		}
		ids, held, in, err := a.try()
		if err != nil {
			return nil, nil, errors.Join(err, a.leave())
		}
		if len(in) == 0 {
			if err := a.leave(); err != nil {
				return nil, nil, errors.Join(err, held.release())
			}
			granted = make(map[string][]string)
			if len(ids) > 0 {
				granted[gpuResource] = ids
			}
			return granted, sync.OnceValue(held.release), nil
		}
		if whom := whomOf(in); whom != told && whom == seen {
			emit(a.text(in))
			told = whom
		} else {
			seen = whom
		}
		select {
		case <-ctx.Done():
		case <-time.After(leasePoll):
		}
	}
}

// applicant is a service on its way to what it needs.
type applicant struct {
	*leases
	host  int                    // units of hostResource; hostUnits: all
	count int                    // of GPUs
	turns map[string]*cache.Lock // by the name of the lock that they are for
}

// obstacle is something that a request cannot have now.
type obstacle struct {
	gpu    string // its id; "": the machine
	turn   bool   // holder does not have it yet, and comes first
	holder cache.Holder
}

// locks are given back together.
type locks []*cache.Lock

func (h locks) release() error {
	var err error
	for _, l := range h {
		err = errors.Join(err, l.Release())
	}
	return err
}

// try takes all that a needs, or nothing and says why. It keeps turns.
func (a *applicant) try() (ids []string, held locks, in []obstacle, err error) {
	ids, held, in, err = a.tryGPUs()
	if err == nil && in == nil && a.host > 0 {
		var host *cache.Lock
		if host, in, err = a.tryHost(); host != nil {
			held = append(held, host)
		}
	}
	if err != nil || in != nil {
		return nil, nil, in, errors.Join(err, held.release())
	}
	return ids, held, nil, nil
}

// tryGPUs takes the first GPUs that are free and whose turn is a's or
// nobody's. If they are too few, a lines up for those that it can use.
func (a *applicant) tryGPUs() (ids []string, held locks, in []obstacle, err error) {
	for _, gpu := range a.gpus {
		if len(ids) == a.count {
			break
		}
		lock, blocked, err := a.tryGPU(gpu)
		if lock != nil {
			ids, held = append(ids, gpu.id), append(held, lock)
		} else {
			in = append(in, blocked)
		}
		if err != nil {
			return nil, held, nil, err
		}
	}
	if len(ids) == a.count {
		return ids, held, nil, nil
	}
	err = a.giveTurn(hostTurn)
	byName := slices.SortedFunc(slices.Values(a.gpus), func(a, b leasedGPU) int { return strings.Compare(a.name, b.name) })
	for _, gpu := range byName {
		if _, turnErr := a.takeTurn(gpu.name); a.turns[gpu.name] == nil {
			err = errors.Join(err, turnErr)
			break // whose turn it is may wait for those that come later
		}
	}
	return nil, held, in, err
}

// tryGPU takes one GPU, if it is not another's turn.
func (a *applicant) tryGPU(gpu leasedGPU) (lock *cache.Lock, blocked obstacle, err error) {
	if a.turns[gpu.name] == nil {
		turn, holder, err := cache.TryLock(a.path(gpu.name+".turn"), a.what)
		if turn == nil {
			return nil, obstacle{gpu: gpu.id, turn: true, holder: holder}, err
		}
		defer func() { err = errors.Join(err, turn.Release()) }()
	}
	lock, holder, err := cache.TryLock(a.path(gpu.name+".lock"), a.what)
	return lock, obstacle{gpu: gpu.id, holder: holder}, err
}

// hostTurn is the name of the machine's lock and turn.
const hostTurn = "host"

// tryHost takes the machine, or a part of it.
func (a *applicant) tryHost() (*cache.Lock, []obstacle, error) {
	holder, err := a.takeTurn(hostTurn)
	if a.turns[hostTurn] == nil {
		return nil, []obstacle{{turn: true, holder: holder}}, err
	}
	take := cache.TryShare
	if a.host >= hostUnits {
		take = cache.TryLock
	}
	lock, holder, err := take(a.path(hostTurn+".lock"), a.what)
	if lock == nil {
		return nil, []obstacle{{holder: holder}}, err
	}
	return lock, nil, nil // with its turn: leave follows at once
}

// takeTurn takes and keeps a turn that a does not have yet, unless somebody
// else has it.
func (a *applicant) takeTurn(name string) (cache.Holder, error) {
	if a.turns[name] != nil {
		return cache.Holder{}, nil
	}
	turn, holder, err := cache.TryLock(a.path(name+".turn"), a.what)
	if turn != nil {
		a.turns[name] = turn
	}
	return holder, err
}

func (a *applicant) giveTurn(name string) error {
	turn := a.turns[name]
	if turn == nil {
		return nil
	}
	delete(a.turns, name)
	return turn.Release()
}

// leave gives the turns back.
func (a *applicant) leave() error {
	all := slices.Collect(maps.Values(a.turns))
	clear(a.turns)
	return locks(all).release()
}

func (a *applicant) path(name string) string { return filepath.Join(a.dir, name) }

// text says for whom a waits.
func (a *applicant) text(in []obstacle) string {
	if in[0].gpu == "" {
		h := in[0].holder
		if in[0].turn {
			return fmt.Sprintf("waiting: %s is next to measure on this machine%s", h, whatOf(h))
		}
		return fmt.Sprintf("waiting: %s measures on this machine%s", h, whatOf(h))
	}
	var all []string
	for _, gpu := range a.gpus {
		all = append(all, gpu.id)
	}
	var parts []string
	for len(in) > 0 {
		var ids []string
		var rest []obstacle
		for _, o := range in {
			if o.turn == in[0].turn && whomOf([]obstacle{o}) == whomOf(in[:1]) {
				ids = append(ids, o.gpu)
			} else {
				rest = append(rest, o)
			}
		}
		verb := "is held by"
		switch {
		case in[0].turn && len(ids) > 1:
			verb = "are next for"
		case in[0].turn:
			verb = "is next for"
		case len(ids) > 1:
			verb = "are held by"
		}
		h := in[0].holder
		parts = append(parts, fmt.Sprintf("%s %s %s%s", strings.Join(ids, ","), verb, h, whatOf(h)))
		in = rest
	}
	return fmt.Sprintf("waiting for %s of %s: %s", countGPUs(a.count), strings.Join(all, ","), strings.Join(parts, ", "))
}

// whomOf tells those for whom somebody waits from others. That one of them had
// its turn and now measures is no change.
func whomOf(in []obstacle) string {
	var all []string
	for _, o := range in {
		all = append(all, fmt.Sprintf("%t %s %d %s", o.gpu == "", o.holder.Host, o.holder.PID, o.holder.What))
	}
	slices.Sort(all)
	return strings.Join(slices.Compact(all), "\n")
}

func whatOf(h cache.Holder) string {
	if h.What == "" {
		return ""
	}
	return " (" + h.What + ")"
}

func countGPUs(n int) string {
	if n == 1 {
		return "1 GPU"
	}
	return fmt.Sprintf("%d GPUs", n)
}
