package proxy

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strconv"
)

// complete answers /v1/completions and /v1/chat/completions, streamed or not.
func (p *Proxy) complete(w http.ResponseWriter, r *http.Request) {
	p.counts.requests.Add(1)
	id := r.Header.Get(HeaderRequestID)
	if id == "" {
		id = p.newID()
	}
	facts := http.Header{HeaderRequestID: {id}}

	body, ok := p.readBody(w, r, facts)
	if !ok {
		return
	}
	request, err := parseObject(body)
	if err != nil {
		p.counts.rejected.Add(1)
		p.refuse(w, facts, http.StatusBadRequest, fmt.Sprintf("the request's body is %v", err))
		return
	}

	params, ok := p.prefillLeg(w, r, request, facts)
	if !ok {
		return
	}
	if p.opts.Connector == NIXL {
		facts.Set(HeaderFallback, "0")
		if params == nil {
			facts.Set(HeaderFallback, "1")
			p.counts.fallbacks.Add(1)
			p.warnFallback.Do(func() {
				p.log.Printf("%s answered request %s without %s: decode prefills it by itself. "+
					"Later ones are only counted (vbp_proxy_fallbacks_total)", facts.Get(HeaderPrefill), id, transferParams)
			})
		}
		body = decodeBody(body, request, params)
	}
	p.decodeLeg(w, r, body, facts)
}

// prefillLeg has the prompt prefilled and returns the transfer parameters
// that came back, nil for none. If ok is false the client has its answer
// already, or is gone.
func (p *Proxy) prefillLeg(w http.ResponseWriter, r *http.Request, request object, facts http.Header) (params json.RawMessage, ok bool) {
	in := p.prefill.next()
	facts.Set(HeaderPrefill, in.name)
	ctx := r.Context()
	if p.opts.PrefillTimeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, p.opts.PrefillTimeout)
		defer cancel()
	}
	failed := func(status int, why string) (json.RawMessage, bool) {
		p.stopIfGone(r)
		p.failed(in, &p.counts.prefillErrors, facts, why)
		p.refuse(w, facts, status, why)
		return nil, false
	}

	header := legHeader(r.Header, facts.Get(HeaderRequestID))
	header.Del("Accept-Encoding") // this answer is read here
	start := p.now()
	resp, err := p.send(ctx, in, r, prefillBody(request, p.opts.Connector), header)
	if err != nil {
		return failed(gatewayStatus(err), in.failure(err))
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 400 {
		p.failed(in, &p.counts.prefillErrors, facts, fmt.Sprintf("%s answered %s", in.name, statusText(resp.StatusCode)))
		if err := p.relay(w, resp, facts); err != nil {
			panic(http.ErrAbortHandler) // half of an error body; the status is out
		}
		return nil, false
	}
	answer, err := io.ReadAll(io.LimitReader(resp.Body, p.maxBody+1))
	if err != nil {
		return failed(gatewayStatus(err), fmt.Sprintf("%s (%s) broke off in its answer: %v", in.name, in.url, err))
	}
	facts.Set(HeaderPrefillTime, strconv.FormatFloat(p.now().Sub(start).Seconds(), 'f', 6, 64))
	switch {
	case resp.StatusCode != http.StatusOK:
		return failed(http.StatusBadGateway, fmt.Sprintf("%s (%s) answered %s where 200 was due; is this the address of a vLLM instance?",
			in.name, in.url, statusText(resp.StatusCode)))
	case int64(len(answer)) > p.maxBody:
		return failed(http.StatusBadGateway, fmt.Sprintf("%s (%s) answered with more than %d bytes", in.name, in.url, p.maxBody))
	case p.opts.Connector != NIXL:
		return nil, true // what lmcache's prefill says is of no use
	}
	params, err = paramsOf(answer)
	if err != nil {
		return failed(http.StatusBadGateway, fmt.Sprintf("%s (%s) answered 200, but its body is %v", in.name, in.url, err))
	}
	return params, true
}

// decodeLeg sends the request to a decode instance and passes its answer on.
func (p *Proxy) decodeLeg(w http.ResponseWriter, r *http.Request, body []byte, facts http.Header) {
	in := p.decode.next()
	facts.Set(HeaderDecode, in.name)
	resp, err := p.send(r.Context(), in, r, body, legHeader(r.Header, facts.Get(HeaderRequestID)))
	if err != nil {
		p.stopIfGone(r)
		why := in.failure(err)
		p.failed(in, &p.counts.decodeErrors, facts, why)
		p.refuse(w, facts, gatewayStatus(err), why)
		return
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		p.failed(in, &p.counts.decodeErrors, facts, fmt.Sprintf("%s answered %s", in.name, statusText(resp.StatusCode)))
	}
	status, failure, err := firstEvent(resp)
	if err != nil || failure != nil {
		p.stopIfGone(r)
		why := fmt.Sprintf("%s (%s) failed before the first token: %s", in.name, in.url, failure)
		if err != nil {
			why = in.failure(err)
		}
		p.failed(in, &p.counts.decodeErrors, facts, why)
		if failure == nil {
			p.refuse(w, facts, gatewayStatus(err), why)
			return
		}
		maps.Copy(w.Header(), facts)
		writeRaw(w, status, failure)
		return
	}
	err = p.relay(w, resp, facts)
	var gone clientGone
	switch {
	case err == nil:
	case errors.As(err, &gone):
		p.counts.cancelled.Add(1)
	default:
		p.stopIfGone(r)
		// The status is out, so a broken stream is all that can be told. A
		// clean end here would make a failed request look like a short one.
		if resp.StatusCode == http.StatusOK { // others are counted above
			p.failed(in, &p.counts.decodeErrors, facts, fmt.Sprintf("%s (%s) broke off in mid-answer: %v", in.name, in.url, err))
		}
		panic(http.ErrAbortHandler)
	}
}

// send posts a body to the instance, to the path the client asked for. It
// follows no redirects.
func (p *Proxy) send(ctx context.Context, in *instance, r *http.Request, body []byte, header http.Header) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, r.Method, in.target(r.URL.Path, r.URL.RawQuery).String(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header = header
	return p.transport.RoundTrip(req)
}

// readBody reads the client's body. If ok is false the client has its answer
// already, or is gone.
func (p *Proxy) readBody(w http.ResponseWriter, r *http.Request, facts http.Header) (body []byte, ok bool) {
	reject := func(status int, why string) ([]byte, bool) {
		p.counts.rejected.Add(1)
		p.refuse(w, facts, status, why)
		return nil, false
	}
	if enc := r.Header.Get("Content-Encoding"); enc != "" && enc != "identity" {
		return reject(http.StatusUnsupportedMediaType, fmt.Sprintf("the request's body is encoded with %s; send it plain", enc))
	}
	tooLarge := fmt.Sprintf("the request's body is larger than %d bytes", p.maxBody)
	if r.ContentLength > p.maxBody {
		return reject(http.StatusRequestEntityTooLarge, tooLarge)
	}
	var b bytes.Buffer
	if r.ContentLength > 0 {
		// Believed up to 1 MiB, so that a header alone allocates no more.
		b.Grow(int(min(r.ContentLength, 1<<20)) + bytes.MinRead)
	}
	if _, err := b.ReadFrom(http.MaxBytesReader(w, r.Body, p.maxBody)); err != nil {
		var large *http.MaxBytesError
		if errors.As(err, &large) {
			return reject(http.StatusRequestEntityTooLarge, tooLarge)
		}
		return reject(http.StatusBadRequest, fmt.Sprintf("the request's body broke off: %v", err))
	}
	return b.Bytes(), true
}

// refuse answers with an error of the proxy's own.
func (p *Proxy) refuse(w http.ResponseWriter, facts http.Header, status int, why string) {
	for name, values := range facts {
		w.Header()[name] = values
	}
	writeError(w, status, why)
}

// failed counts and logs a leg that failed.
func (p *Proxy) failed(in *instance, count interface{ Add(int64) int64 }, facts http.Header, why string) {
	count.Add(1)
	in.errors.Add(1)
	p.log.Printf("request %s: %s", facts.Get(HeaderRequestID), why)
}

// stopIfGone ends the handler if the client is gone or the proxy is being
// stopped; what failed then did so because of that. To return would not do: to
// net/http that is a complete answer, which a client cut off by a stopping
// proxy would take for one.
func (p *Proxy) stopIfGone(r *http.Request) {
	if r.Context().Err() != nil {
		p.counts.cancelled.Add(1)
		panic(http.ErrAbortHandler)
	}
}

// gatewayStatus is 504 when a connected instance took too long, else 502.
func gatewayStatus(err error) int {
	if errors.Is(err, context.DeadlineExceeded) && !unreachable(err) {
		return http.StatusGatewayTimeout
	}
	return http.StatusBadGateway
}
