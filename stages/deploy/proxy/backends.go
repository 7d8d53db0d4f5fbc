package proxy

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync"
)

// probe is what one instance said when all were asked the same.
type probe struct {
	in     *instance
	status int // 0: no answer
	body   []byte
	err    error

	refused string // what is wrong although the status is 200
}

// problem is what was wrong with an instance's answer, in words; "" for 200.
func (a probe) problem() string {
	switch {
	case a.err != nil:
		return a.in.failure(a.err)
	case a.status != http.StatusOK:
		return "answered " + statusText(a.status)
	}
	return a.refused
}

// askAll sends one request without a body to every instance at once, and
// returns when all have answered or their time is over; prefill first. The
// client's end-to-end headers go along; accept, if set, replaces its Accept.
func (p *Proxy) askAll(r *http.Request, method, path, accept string) []probe {
	ctx, cancel := context.WithTimeout(r.Context(), p.opts.ProbeTimeout)
	defer cancel()
	header := endToEnd(r.Header)
	for _, name := range []string{"Content-Length", "Content-Type", "Content-Encoding", "Accept-Encoding", "Expect"} {
		header.Del(name)
	}
	if accept != "" {
		header.Set("Accept", accept)
	}
	probes := make([]probe, len(p.instances()))
	var wg sync.WaitGroup
	for i, in := range p.instances() {
		probes[i].in = in
		wg.Go(func() {
			a := &probes[i]
			req, err := http.NewRequestWithContext(ctx, method, in.target(path, r.URL.RawQuery).String(), nil)
			if err != nil {
				a.err = err
				return
			}
			req.Header = header.Clone()
			resp, err := p.transport.RoundTrip(req)
			if err != nil {
				a.err = err
				return
			}
			defer resp.Body.Close()
			a.status = resp.StatusCode
			a.body, a.err = io.ReadAll(io.LimitReader(resp.Body, p.maxBody+1))
			if a.err == nil && int64(len(a.body)) > p.maxBody {
				a.err = fmt.Errorf("its answer is larger than %d bytes", p.maxBody)
			}
		})
	}
	wg.Wait()
	return probes
}

// verdict is the answer of /health and /reset_prefix_cache.
type verdict struct {
	Status    string            `json:"status"`           // "ok", "failed"
	Instances map[string]string `json:"instances"`        // of each: "ok" or what is wrong
	Failed    []failedInstance  `json:"failed,omitempty"` // those that are not ok, prefill first
}

type failedInstance struct {
	Instance string `json:"instance"`
	URL      string `json:"url"`
	Status   int    `json:"status,omitempty"` // HTTP; absent if there was no answer
	Error    string `json:"error"`
}

// judge sums probes up.
func judge(probes []probe) verdict {
	v := verdict{Status: "ok", Instances: map[string]string{}}
	for _, a := range probes {
		v.Instances[a.in.name] = "ok"
		if why := a.problem(); why != "" {
			v.Status = "failed"
			v.Instances[a.in.name] = why
			v.Failed = append(v.Failed, failedInstance{a.in.name, a.in.url.String(), a.status, why})
		}
	}
	return v
}

// health answers 200 if every instance's /health does, else 503 and which do
// not: with one of them missing a share of the requests would fail.
func (p *Proxy) health(w http.ResponseWriter, r *http.Request) {
	v := judge(p.askAll(r, http.MethodGet, "/health", ""))
	status := http.StatusOK
	if len(v.Failed) > 0 {
		status = http.StatusServiceUnavailable
	}
	writeJSON(w, status, v)
}

// resetPrefixCache resets every instance and answers 200 if all could, else
// which could not, with 409 if all of these only because their blocks are in
// use, and 502 if not. vLLM serves this path in development mode only and
// answers 404 without it; in mode, newer versions answer 200 with "success":
// false when blocks are still held.
func (p *Proxy) resetPrefixCache(w http.ResponseWriter, r *http.Request) {
	probes := p.askAll(r, http.MethodPost, "/reset_prefix_cache", "")
	inUse := 0
	for i := range probes {
		var answer struct{ Success *bool }
		switch a := &probes[i]; {
		case a.status == http.StatusConflict:
			inUse++
		case a.problem() == "" && json.Unmarshal(a.body, &answer) == nil && answer.Success != nil && !*answer.Success:
			a.refused = "answered that it could not: requests are under way there, or KV waits to be fetched"
			inUse++
		}
	}
	v := judge(probes)
	status := http.StatusOK
	switch {
	case len(v.Failed) == 0:
	case len(v.Failed) == inUse:
		status = http.StatusConflict // a later try may do
	default:
		status = http.StatusBadGateway
	}
	writeJSON(w, status, v)
}

// forward passes /v1/models, /version, /server_info, /tokenize and /detokenize
// on to the first decode instance. All instances serve one model, so any can answer;
// always the same one does, and the turns of the completions stay as they
// are.
func (p *Proxy) forward(w http.ResponseWriter, r *http.Request) {
	in := p.decode.members[0]
	id := r.Header.Get(HeaderRequestID)
	if id == "" {
		id = p.newID()
	}
	facts := http.Header{HeaderRequestID: {id}, HeaderDecode: {in.name}}
	body, ok := p.readBody(w, r, facts)
	if !ok {
		return
	}
	resp, err := p.send(r.Context(), in, r, body, legHeader(r.Header, id))
	if err != nil {
		if r.Context().Err() != nil {
			panic(http.ErrAbortHandler)
		}
		p.log.Printf("%s %s: %s", r.Method, r.URL.Path, in.failure(err))
		p.refuse(w, facts, gatewayStatus(err), in.failure(err))
		return
	}
	defer resp.Body.Close()
	if err := p.relay(w, resp, facts); err != nil {
		panic(http.ErrAbortHandler)
	}
}
