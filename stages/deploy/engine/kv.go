package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// kvParams are vLLM's kv_transfer_params, as far as a simulated transfer
// needs them; what else they hold is ignored.
//
// A request with DoRemoteDecode is prefilled here and its KV held; the answer
// carries parameters with DoRemotePrefill and where to fetch from. A request
// with those is decoded here: its KV "arrives" after the transfer time, and
// the instance that holds it is told so under RemoteHost:RemotePort.
type kvParams struct {
	DoRemotePrefill bool            `json:"do_remote_prefill"`
	DoRemoteDecode  bool            `json:"do_remote_decode"`
	RemoteBlockIDs  json.RawMessage `json:"remote_block_ids"`
	RemoteEngineID  *string         `json:"remote_engine_id"`
	RemoteRequestID string          `json:"remote_request_id,omitempty"`
	RemoteHost      *string         `json:"remote_host"`
	RemotePort      *int            `json:"remote_port"`
	TPSize          int             `json:"tp_size,omitempty"`

	// Tags is what of the parameters tells LMCache to name KV apart from that
	// of others: members lmcache.tag.NAME, as "NAME%VALUE" by name.
	Tags string `json:"-"`
}

// UnmarshalJSON reads the parameters, tags included.
func (p *kvParams) UnmarshalJSON(raw []byte) error {
	type plain kvParams
	var members map[string]json.RawMessage
	if err := json.Unmarshal(raw, (*plain)(p)); err != nil {
		return err
	}
	if err := json.Unmarshal(raw, &members); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(members)) {
		if tag, ok := strings.CutPrefix(name, "lmcache.tag."); ok {
			p.Tags += "@" + tag + "%" + string(members[name])
		}
	}
	return nil
}

// check tells what a decode request lacks. There may be no parameters.
func (p *kvParams) check() error {
	if p == nil || !p.DoRemotePrefill {
		return nil
	}
	missing := func(field string) error {
		return fmt.Errorf("kv_transfer_params has do_remote_prefill but no %s; pass on what the prefill instance answered", field)
	}
	switch {
	case p.DoRemoteDecode:
		return fmt.Errorf("kv_transfer_params has both do_remote_prefill and do_remote_decode; send one")
	case p.RemoteRequestID == "":
		return missing("remote_request_id")
	case p.RemoteHost == nil || *p.RemoteHost == "":
		return missing("remote_host")
	case p.RemotePort == nil:
		return missing("remote_port")
	}
	return nil
}

const (
	// releasePath is where an instance is told that held KV was read.
	releasePath = "/vbp/kv/release"
	// releaseTimeout bounds that telling; it takes well under a millisecond
	// between processes of one host.
	releaseTimeout = 10 * time.Second
)

type releaseBody struct {
	RemoteRequestID string `json:"remote_request_id"`
}

// kvRelease answers 200 if the KV was held until now, else 404.
func (s *server) kvRelease(w http.ResponseWriter, r *http.Request) {
	var body releaseBody
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(&body); err != nil {
		refuse(w, http.StatusBadRequest, "BadRequestError", "reading the request body: "+err.Error())
		return
	}
	if !s.replicas.release(body.RemoteRequestID) {
		s.log.Printf("KV of %q was asked for but is not held", body.RemoteRequestID)
		refuse(w, http.StatusNotFound, "NotFoundError",
			fmt.Sprintf("no KV is held for %q: it was read before, its lease of %v ended, or it never was here", body.RemoteRequestID, s.settings.Scheduler.Lease))
		return
	}
	answer(w, http.StatusOK, map[string]bool{"released": true})
}

// handOver makes the parameters by which another instance can fetch the KV of
// a finished request. The address is that of the replica's side channel, or
// the one at which the client of this request reached this server.
func (s *server) handOver(r *http.Request, c *completion) *kvParams {
	blocks, _ := json.Marshal(c.driver.blockIDs(c.call)) // integers can always be encoded
	p := &kvParams{
		DoRemotePrefill: true,
		RemoteBlockIDs:  blocks,
		RemoteEngineID:  &s.engineID,
		RemoteRequestID: c.call.name,
		TPSize:          s.options.TensorParallelSize,
	}
	if side := s.options.SideChannel; len(side) > 0 {
		rank := slices.Index(s.replicas.all, c.driver)
		p.setAddress(side[rank])
	} else if addr, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok {
		p.setAddress(addr.String())
	}
	return p
}

// setAddress takes the address of a socket.
func (p *kvParams) setAddress(address string) {
	if host, port, err := net.SplitHostPort(address); err == nil {
		n, _ := strconv.Atoi(port) // a port of a socket is a number
		p.RemoteHost, p.RemotePort = &host, &n
	}
}

// awaitKV waits until the KV of a request has been transferred and tells the
// instance that held it. If that one held it no longer, what was read is not
// the prompt's: as under vLLM's kv_load_failure_policy=fail the request fails.
func (s *server) awaitKV(ctx context.Context, c *completion) error {
	var gone error
	for !c.call.landed.Load() && gone == nil {
		select {
		case <-c.call.notify:
		case <-ctx.Done():
			gone = context.Cause(ctx)
		}
	}
	if gone != nil {
		// Nobody reads the KV any more: the holder need not wait for its
		// lease, though nothing is lost if it cannot be told.
		c.driver.cancel(c.call)
	}
	held, err := s.tellRead(c.kv)
	failure := gone
	switch {
	case gone != nil:
	case err != nil:
		failure = fmt.Errorf("KV transfer failed: the prefill instance could not be told: %w", err)
	case !held:
		failure = fmt.Errorf("KV transfer failed: %s no longer holds the KV of %s", c.kv.engine(), c.kv.RemoteRequestID)
	}
	c.driver.transferEnded(gone == nil && failure != nil, err != nil)
	if failure != nil && gone == nil {
		c.driver.fail(c.call)
		s.log.Printf("%s: %v", c.id, failure)
	}
	return failure
}

func (p *kvParams) engine() string {
	if p.RemoteEngineID == nil {
		return net.JoinHostPort(*p.RemoteHost, strconv.Itoa(*p.RemotePort))
	}
	return *p.RemoteEngineID
}

// tellRead tells the instance that holds KV that it may let go of it, and
// returns whether it still held it. It goes on when the request's client has
// left, for the holder should know in any case, but not when this server ends.
func (s *server) tellRead(p *kvParams) (held bool, err error) {
	body, _ := json.Marshal(releaseBody{p.RemoteRequestID}) // strings can always be encoded
	url := "http://" + net.JoinHostPort(*p.RemoteHost, strconv.Itoa(*p.RemotePort)) + releasePath
	ctx, cancel := context.WithTimeout(s.life, releaseTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return false, err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := s.client.Do(req)
	if err != nil {
		return false, err
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body) // so that the connection can be used again
	switch resp.StatusCode {
	case http.StatusOK:
		return true, nil
	case http.StatusNotFound:
		return false, nil
	}
	return false, fmt.Errorf("%s answered %s", url, resp.Status)
}

// transferEnded counts what went wrong with a transfer.
func (d *driver) transferEnded(failed, untold bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if failed {
		d.metrics.failedTransfers++
	}
	if untold {
		d.metrics.failedNotifications++
	}
}
