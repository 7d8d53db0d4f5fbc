// Package count counts the tokens of texts by asking a server that serves the
// model, so that a workload's filters and answer lengths are those of the
// model that is measured.
//
// Steps: New finds out whether the server can be asked, and in which of the
// forms that are in use (form.go); Count asks for the texts that nobody asked
// for before, several at a time; what it learns is kept in a folder by content
// (kept.go), so that an experiment asks once. Its neighbour is workload, whose
// Counter a *Server is; nothing here knows a dataset.
package count

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Target is what is asked.
type Target struct {
	URLs    []string          // of servers of the same model, with or without /v1
	Model   string            // as they call it
	Headers map[string]string // sent with every question
}

// ErrNone is what New's error is when the servers answer, and none of them
// counts tokens.
var ErrNone = errors.New("the server has no /tokenize")

// TooLong is the count of a text that a server does not count because it is
// longer than the model can read.
const TooLong = 1 << 30

// workers is how many texts are asked for at a time. Servers count on one or
// a few cores; more would wait there.
const workers = 8

// patience is how long a server may take for one text. A hundred thousand
// tokens take less than a second.
const patience = 30 * time.Second

// probe is the text that tells servers' forms apart, and tokenizers too: its
// ids are part of the identity of what is kept. It has what tokenizers are
// known to treat differently: numbers, spaces, capitals, code, other scripts.
const probe = "The 12345 quick  brown\tfoxes' don’t JUMP;\n\n  for (i=0;i<10;++i) {x[i]+=3.14159e-2;}\nÜbergrößenträger, 日本語のテキスト, русский текст, 🦊🚀 naïve"

// Server counts by asking servers. It is safe for concurrent use.
type Server struct {
	target Target
	form   *form
	urls   []string // that answered
	client *http.Client
	kept   *kept
}

// New asks each server to count a text. cacheDir is where counts are kept,
// made if need be; "" keeps them in memory only. The error is an ErrNone if
// there is no server that counts, and otherwise about one that could not be
// asked, or about the folder.
func New(ctx context.Context, t Target, cacheDir string) (*Server, error) {
	s := &Server{target: t, client: &http.Client{
		Timeout:   patience,
		Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, MaxIdleConnsPerHost: workers, DisableCompression: true},
	}}
	defer s.client.CloseIdleConnections()
	if len(t.URLs) == 0 {
		return nil, errors.New("counting tokens: no server to ask was given")
	}
	var ids string
	var errs []error
	for _, u := range t.URLs {
		u = strings.TrimSuffix(strings.TrimRight(u, "/"), "/v1")
		f, got, err := s.recognize(ctx, u)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", u, err))
			continue
		}
		// Those that count otherwise than the first serve another model.
		if s.form == nil {
			s.form, ids = f, got.ids
		}
		if s.form == f && ids == got.ids {
			s.urls = append(s.urls, u)
		}
	}
	if len(s.urls) == 0 {
		return nil, none(errs)
	}
	identity := sha256.Sum256([]byte(s.form.name + "\x00" + t.Model + "\x00" + ids))
	var err error
	s.kept, err = openKept(cacheDir, t.Model, hex.EncodeToString(identity[:8]))
	return s, err
}

// none joins the errors of all servers. It is an ErrNone only if each of them
// said so: one that could not be reached may have had it.
func none(errs []error) error {
	for _, err := range errs {
		if !errors.Is(err, ErrNone) {
			return fmt.Errorf("counting tokens: %w", err)
		}
	}
	return errs[0]
}

// Method names the source of the counts, for people.
func (s *Server) Method() string { return "the server's /tokenize" }

// Form is which servers' form of /tokenize is spoken.
func (s *Server) Form() string { return s.form.name }

// Count returns the number of tokens of each text, the special ones included
// that the tokenizer puts around it; an empty text has 0. Each distinct text
// is asked for once, in all time if there is a folder.
func (s *Server) Count(ctx context.Context, texts []string) ([]int, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer s.client.CloseIdleConnections() // they are in nobody's way while it is measured

	sums := make([]sum, len(texts))
	var missing []int // the first of each text that is not known
	asked := make(map[sum]bool)
	for i, text := range texts {
		sums[i] = sumOf(text)
		if _, known := s.kept.get(sums[i]); !known && text != "" && !asked[sums[i]] {
			asked[sums[i]] = true
			missing = append(missing, i)
		}
	}
	if len(missing) > 0 {
		if err := s.kept.begin(); err != nil {
			return nil, err
		}
		defer s.kept.end()
	}
	work := make(chan int)
	var wg sync.WaitGroup
	for w := range min(workers, len(missing)) {
		wg.Go(func() {
			for i := range work {
				n, err := s.ask(ctx, w+i, texts[i])
				if err == nil {
					err = s.kept.put(sums[i], n)
				}
				if err != nil {
					cancel(err)
				}
			}
		})
	}
	for _, i := range missing {
		select {
		case work <- i:
			continue
		case <-ctx.Done():
		}
		break
	}
	close(work)
	wg.Wait()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	out := make([]int, len(texts))
	for i, text := range texts {
		if text != "" {
			out[i], _ = s.kept.get(sums[i])
		}
	}
	return out, nil
}

// ask counts one text. Servers take turns; what one fails to answer for a
// passing reason, another is asked, or the same one once more.
func (s *Server) ask(ctx context.Context, turn int, text string) (int, error) {
	for try := 0; ; try++ {
		u := s.urls[(turn+try)%len(s.urls)]
		got, err := s.form.ask(ctx, s, u, text)
		if err == nil {
			return got.count, nil
		}
		var status *statusError
		refused := errors.As(err, &status)
		if refused && status.tooLong() {
			return TooLong, nil
		}
		if passing := !refused || status.passing(); ctx.Err() != nil || !passing || try >= max(1, len(s.urls)-1) {
			return 0, fmt.Errorf("asking for the tokens of a text of %d bytes: %s: %w", len(text), u, err)
		}
	}
}
