package metronome

import (
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"time"
)

// Child is a metronome in a process of its own, so that what it costs is not
// the client's: neither processor time nor memory, nor the scheduler of Go.
// It is for one goroutine.
type Child struct {
	cmd  *exec.Cmd
	in   io.WriteCloser
	ask  *gob.Encoder
	tell *gob.Decoder
	url  string
}

// question and reply are what parent and child say to each other, over the
// child's standard input and output. The first question is a Config.
type question struct {
	Records bool  // tell the records
	Pace    *Pace // forget them and serve so
}

type reply struct {
	URL     string
	Err     string
	Records []Record
	CPU     time.Duration // that the process has used, user and system
}

// StartChild starts cmd, which must call RunChild with its standard input and
// output, and returns when it serves. Cmd's own Stderr and Env are respected.
// The caller closes the child; it also ends when this process does.
func StartChild(cmd *exec.Cmd, c Config) (*Child, error) {
	if err := c.Pace.check(); err != nil {
		return nil, err
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("metronome: %w", err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("metronome: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("metronome: %w", err)
	}
	ch := &Child{cmd: cmd, in: in, ask: gob.NewEncoder(in), tell: gob.NewDecoder(out)}
	err = ch.ask.Encode(c)
	if err == nil {
		var r reply
		r, err = ch.answer()
		ch.url = r.URL
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("metronome: start of %s: %w", cmd.Path, err), ch.Close())
	}
	return ch, nil
}

func (c *Child) answer() (reply, error) {
	var r reply
	if err := c.tell.Decode(&r); err != nil {
		return r, err
	}
	if r.Err != "" {
		return r, errors.New(r.Err)
	}
	return r, nil
}

func (c *Child) request(q question) (reply, error) {
	if err := c.ask.Encode(q); err != nil {
		return reply{}, fmt.Errorf("metronome: its process has ended: %w", err)
	}
	r, err := c.answer()
	if err != nil {
		return r, fmt.Errorf("metronome: %w", err)
	}
	return r, nil
}

// URL is where it listens.
func (c *Child) URL() string { return c.url }

// Reset is Server.Reset.
func (c *Child) Reset(p Pace) error {
	_, err := c.request(question{Pace: &p})
	return err
}

// Records is Server.Records.
func (c *Child) Records() ([]Record, error) {
	r, err := c.request(question{Records: true})
	return r.Records, err
}

// CPU is the processor time that its process has used since it started.
func (c *Child) CPU() (time.Duration, error) {
	r, err := c.request(question{})
	return r.CPU, err
}

// Close ends the process and returns when it has ended.
func (c *Child) Close() error {
	c.in.Close() // which is how it is told
	if err := c.cmd.Wait(); err != nil {
		return fmt.Errorf("metronome: its process: %w", err)
	}
	return nil
}

// RunChild is the whole of a child's process. It returns when in ends.
func RunChild(in io.Reader, out io.Writer) error {
	ask, tell := gob.NewDecoder(in), gob.NewEncoder(out)
	var c Config
	if err := ask.Decode(&c); err != nil {
		return fmt.Errorf("metronome: no configuration came: %w", err)
	}
	s, err := Start(c)
	if err != nil {
		return errors.Join(err, tell.Encode(reply{Err: err.Error()}))
	}
	err = tell.Encode(reply{URL: s.URL()})
	for err == nil {
		var q question
		if err = ask.Decode(&q); err != nil {
			break
		}
		r := reply{CPU: cpuTime()}
		if q.Pace != nil {
			if err := s.Reset(*q.Pace); err != nil {
				r.Err = err.Error()
			}
		}
		if q.Records {
			r.Records = s.Records()
		}
		err = tell.Encode(r)
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return errors.Join(err, s.Close())
}
