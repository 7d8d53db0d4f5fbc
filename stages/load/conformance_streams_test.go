package load_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"vbp/stages/load"
	"vbp/stages/sample"
)

// exchange is what a server sends for one request: bytes, cut into pieces, and
// whether the connection is closed after them.
type exchange struct {
	bytes  string
	cuts   []int
	settle bool // each piece is read by itself
	close  bool
}

// play has each transport read the same exchanges, and returns its rows.
func play(t *testing.T, k kind, exchanges []exchange) *sample.Table {
	t.Helper()
	s := serve(t, func(c *conn) {
		for {
			i, _, ok := c.ask()
			if !ok {
				return
			}
			e, from := exchanges[i], 0
			for _, to := range append(slices.Clone(e.cuts), len(e.bytes)) {
				c.write(e.bytes[from:to])
				if from = to; e.settle {
					c.settle()
				}
			}
			if e.close {
				return
			}
		}
	})
	c := at(s.url, len(exchanges))
	c.MaxConcurrency = 4
	return measure(t, k, c)
}

// columns is a row without its instants and what follows from them: of these
// only which there are, and that they are in order.
func columns(o sample.Outcome) string {
	order := "in order"
	last := o.Sent
	for _, at := range []int64{o.FirstEvent, o.FirstToken, o.LastToken} {
		if at == sample.Absent {
			order += " -"
			continue
		}
		if at < last {
			order = fmt.Sprintf("%d before %d", at, last)
		}
		last = at
	}
	return fmt.Sprint(o.ID, " ", o.PromptTokens, o.OutputTokens, o.Scheduled, " ", o.Events, len(o.Gaps), " ", o.Finish, " ", o.Outcome, " ", o.Status, " ",
		o.Prefill, o.Decode, o.PrefillTime, o.Fallback, " ", o.TTFT == o.TTFT, o.TPOT == o.TPOT, o.E2E == o.E2E, order, " ", o.Error)
}

// differ tells where the transports read the same exchanges otherwise.
func differ(t *testing.T, exchanges []exchange) (outcomes map[string]int) {
	t.Helper()
	var tables []*sample.Table
	for _, k := range kinds {
		tables = append(tables, play(t, k, exchanges))
	}
	outcomes = map[string]int{}
	for i, e := range exchanges {
		want := columns(tables[0].Row(i))
		for j, table := range tables[1:] {
			if got := columns(table.Row(i)); got != want {
				t.Errorf("%q\ncut at %v: %s reads\n%s\n%s reads\n%s", e.bytes, e.cuts, kinds[0].name, want, kinds[1+j].name, got)
			}
		}
		if strings.Contains(want, "before ") && !strings.Contains(want, "in order") {
			t.Errorf("%q: %s", e.bytes, want)
		}
		outcomes[tables[0].Outcome[i]]++
	}
	return outcomes
}

// cuts are up to n random places in a text.
func cuts(random *rand.Rand, text string, n int) (out []int) {
	for range random.IntN(n + 1) {
		out = append(out, random.IntN(len(text)+1))
	}
	slices.Sort(out)
	return out
}

// The recordings of real servers, in every framing.
func TestRecordingsAreReadAlike(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("answer", "testdata", "*.http"))
	if err != nil || len(files) < 30 {
		t.Fatalf("%d recordings, error %v", len(files), err)
	}
	random := rand.New(rand.NewPCG(1, 1))
	var exchanges []exchange
	for _, file := range files {
		status, header, body := load.Recording(t, strings.TrimSuffix(filepath.Base(file), ".http"))
		for range 6 {
			f := framing(random.IntN(frames))
			head, framed := f.frame(random, string(body))
			e := exchange{bytes: f.status(status) + "\r\n" + fields(header) + head + "\r\n" + framed, settle: random.IntN(2) == 0, close: f.closes()}
			e.cuts = cuts(random, e.bytes, 12)
			exchanges = append(exchanges, e)
		}
	}
	outcomes := differ(t, exchanges)
	if outcomes[sample.OK] < 50 || outcomes[sample.HTTPError] < 20 || outcomes[sample.StreamError] < 10 {
		t.Errorf("outcomes %v", outcomes)
	}
}

func fields(header http.Header) string {
	var b strings.Builder
	header.Write(&b)
	return b.String()
}

// framing is how a body is delimited.
type framing int

const (
	inOneChunk framing = iota
	inOddChunks
	byLength
	byEnd
	byEndOfOld // HTTP/1.0
	keptOld    // HTTP/1.0 with a length
	frames     = iota
)

func (f framing) closes() bool { return f == byEnd || f == byEndOfOld }

func (f framing) status(line string) string {
	if f == byEndOfOld || f == keptOld {
		return strings.Replace(line, "HTTP/1.1", "HTTP/1.0", 1)
	}
	return line
}

// frame returns header lines and the body as it is sent.
func (f framing) frame(random *rand.Rand, body string) (head, framed string) {
	switch f {
	case inOneChunk:
		return "Transfer-Encoding: chunked\r\n", load.Chunked(body, len(body)+1)
	case inOddChunks:
		var b strings.Builder
		for len(body) > 0 {
			n := min(len(body), 1+random.IntN(1+random.IntN(200)))
			size := fmt.Sprintf([]string{"%x", "%X", "%04x"}[random.IntN(3)], n)
			b.WriteString(size + []string{"", "", ";a", "; a=b", " "}[random.IntN(5)] + "\r\n" + body[:n] + "\r\n")
			body = body[n:]
		}
		return "transfer-encoding: Chunked\r\nTrailer: X-A\r\n", b.String() + "0" + []string{"", ";x"}[random.IntN(2)] + "\r\n" + []string{"", "X-A: b\r\n"}[random.IntN(2)] + "\r\n"
	case byLength:
		return fmt.Sprintf("Content-Length: %d\r\n", len(body)), body
	case keptOld:
		return fmt.Sprintf("Connection: keep-alive\r\nContent-Length: %d\r\n", len(body)), body
	case byEnd:
		return "Connection: close\r\n", body
	}
	return "", body
}

// Streams of every shape that servers send, mixed by chance.
func TestStreamsAreReadAlike(t *testing.T) {
	for seed := range uint64(4) {
		random := rand.New(rand.NewPCG(seed, 2))
		var exchanges []exchange
		for range 150 {
			exchanges = append(exchanges, anyExchange(random))
		}
		outcomes := differ(t, exchanges)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
		for _, o := range []string{sample.OK, sample.HTTPError, sample.StreamError, sample.Truncated} {
			if outcomes[o] == 0 {
				t.Errorf("seed %d: outcomes %v", seed, outcomes)
			}
		}
	}
}

// anyExchange is a random answer, mostly a good one.
func anyExchange(random *rand.Rand) exchange {
	pick := func(of ...string) string { return of[random.IntN(len(of))] }
	chance := func(one int) bool { return random.IntN(one) == 0 }
	body := anyBody(random)
	f := framing(random.IntN(frames))
	head, framed := f.frame(random, body)
	status := "HTTP/1.1 200 OK"
	if chance(12) {
		status = pick("HTTP/1.1 500 No", "HTTP/1.1 429", "HTTP/1.1 302 Found")
	}
	head = "Content-Type: " + pick("text/event-stream", "text/event-stream; charset=utf-8", "application/json") + "\r\n" + head
	garbage := chance(8)
	if garbage && !f.closes() { // else the next request might be answered by it
		head += "Connection: close\r\n"
	}
	head += pick("", "X-Vbp-Prefill: prefill-1\r\nX-Vbp-Decode: d\r\nX-Vbp-Prefill-Time: 0.5\r\nX-Vbp-Fallback: 1\r\n", "x-vbp-fallback: 0\r\n", "Server: a\r\n\tb\r\n")
	all := f.status(status) + "\r\n" + head + "\r\n" + framed
	if chance(6) {
		all = pick("HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", "HTTP/1.1 102 Processing\r\nContent-Length: 5\r\n\r\n") + all
	}
	e := exchange{bytes: all, close: f.closes(), settle: chance(2)}
	switch {
	case chance(8): // the connection ends somewhere, after the head, of whose errors net/http speaks in its own words
		from := strings.LastIndex(all, "\r\n\r\n"+framed[:min(len(framed), 20)]) + 4
		e.bytes, e.close = all[:from+random.IntN(len(all)-from+1)], true
	case garbage:
		e.bytes += pick("garbage", "\r\n", "HTTP/1.1 500 No\r\n\r\n", "\x00")
		e.close = true
	}
	e.cuts = cuts(random, e.bytes, 10)
	return e
}

// anyBody is a random stream.
func anyBody(random *rand.Rand) string {
	pick := func(of ...string) string { return of[random.IntN(len(of))] }
	chance := func(one int) bool { return random.IntN(one) == 0 }
	var b strings.Builder
	write := func(data string) {
		if chance(8) { // over several lines, where JSON has white space
			data = strings.Replace(data, ",", ",\ndata: ", 1)
		}
		b.WriteString(pick("data: ", "data: ", "data: ", "data:") + data + "\n\n")
	}
	chat := chance(2)
	words := []string{"a", " b", "\n", `"`, `\`, "é", "{}", "[DONE]", `","finish_reason":"stop"`, "data: x\n\n"}
	token := func() string {
		w := pick(words...)
		switch {
		case chat && chance(5):
			return load.Delta(fmt.Sprintf(`"reasoning_content":%q`, w))
		case chat:
			return load.Delta(fmt.Sprintf(`"content":%q`, w))
		}
		return load.Text(w)
	}
	if chat {
		write(load.Delta(pick(`"role":"assistant"`, `"role":"assistant","content":""`, `"role":"assistant","content":null`)))
	}
	n := random.IntN(12)
	for range n {
		write(token())
		if chance(4) {
			b.WriteString(pick(": ping\n\n", ":\n", "id: 7\n", "retry: 5\n\n", "event: delta\n", "\n"))
		}
		if chance(10) {
			write(pick(load.Text(""), load.Delta(""), load.Delta(`"content":""`), `{"choices":[]}`, `{"choices":[],"usage":null}`))
		}
	}
	switch {
	case chance(12):
		b.WriteString(pick("event: error\n", "") + "data: " + pick(`{"error":{"message":"out of memory"}}`, `{"object":"error","message":"no","code":400}`, `{"error":"gone"}`) + "\n\n")
	case chance(12):
		write("oops")
	case chance(12):
		b.WriteString(`{"error":{"message":"engine is gone"}}` + "\n")
	}
	usage := fmt.Sprintf(`"usage":{"prompt_tokens":%d,"completion_tokens":%d}`, random.IntN(50), n+random.IntN(3))
	switch random.IntN(8) {
	case 0: // no finish
	case 1:
		write(`{"choices":[{"index":0,"text":"z","finish_reason":"length"}],` + usage + `}`)
	case 2:
		write(`{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],` + usage + `}`)
	default:
		write(strings.Replace(stop, "stop", pick("stop", "length"), 1))
		if !chance(3) {
			write(pick(`{"choices":[],`, `{`) + usage + `}`)
		}
	}
	if !chance(5) {
		write(done)
	}
	if chance(6) {
		b.WriteString(pick("trailing garbage", "data: {", "\n\n\n", load.Stream(load.Text("late"))))
	}
	body := b.String()
	switch random.IntN(4) {
	case 0:
		body = strings.ReplaceAll(body, "\n", "\r\n")
	case 1: // now and then
		var mixed strings.Builder
		for line := range strings.Lines(body) {
			if chance(2) {
				line = strings.TrimSuffix(line, "\n") + "\r\n"
			}
			mixed.WriteString(line)
		}
		body = mixed.String()
	}
	return body
}

// FuzzStreamsAreReadAlike is TestStreamsAreReadAlike for any seed.
func FuzzStreamsAreReadAlike(f *testing.F) {
	f.Add(uint64(100))
	f.Fuzz(func(t *testing.T, seed uint64) {
		random := rand.New(rand.NewPCG(seed, 2))
		var exchanges []exchange
		for range 20 {
			exchanges = append(exchanges, anyExchange(random))
		}
		differ(t, exchanges)
	})
}
