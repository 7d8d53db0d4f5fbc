package engine

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"log"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"
)

// LMCache says where an instance with the connector LMCacheConnectorV1 shares
// KV with others: in an LMCache server, over its own protocol. The zero value
// shares nothing.
type LMCache struct {
	RemoteURL       string // lm://HOST:PORT; "": none
	ChunkSize       int    // tokens that are stored and found as one; 0: 256
	SaveUnfullChunk bool   // share the rest of a prompt behind its last whole chunk, too
	HashSeed        uint64 // equal in instances that find each other's KV
}

// lmcacheFrom reads LMCache's variables, and Python's: LMCache names chunks by
// Python's own hash, which differs from process to process unless
// PYTHONHASHSEED is set. Instances that have it not, or another one, store and
// never find each other's KV.
func lmcacheFrom(get func(name string) string) (LMCache, error) {
	c := LMCache{RemoteURL: get("LMCACHE_REMOTE_URL")}
	if text := get("LMCACHE_CHUNK_SIZE"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			return c, fmt.Errorf("LMCACHE_CHUNK_SIZE=%s: want a number of tokens", text)
		}
		c.ChunkSize = n
	}
	switch text := strings.ToLower(get("LMCACHE_SAVE_UNFULL_CHUNK")); text {
	case "", "0", "false", "no", "off":
	case "1", "true", "yes", "on":
		c.SaveUnfullChunk = true
	default:
		return c, fmt.Errorf("LMCACHE_SAVE_UNFULL_CHUNK=%s: want true or false", text)
	}
	switch seed := get("PYTHONHASHSEED"); seed {
	case "", "random":
		c.HashSeed = rand.Uint64()
	default:
		n, err := strconv.ParseUint(seed, 10, 32)
		if err != nil {
			return c, fmt.Errorf("PYTHONHASHSEED=%s: Python wants random or a number from 0 to 4294967295", seed)
		}
		c.HashSeed = n
	}
	if _, err := c.address(); err != nil {
		return c, err
	}
	return c, nil
}

// with is c with what a connector's extra configuration says, which counts
// more: members such as lmcache.remote_url.
func (c LMCache) with(extra map[string]any) LMCache {
	if url, ok := extra["lmcache.remote_url"].(string); ok {
		c.RemoteURL = url
	}
	if n, ok := extra["lmcache.chunk_size"].(float64); ok && n >= 1 && n < 1<<30 {
		c.ChunkSize = int(n)
	}
	if on, ok := extra["lmcache.save_unfull_chunk"].(bool); ok {
		c.SaveUnfullChunk = on
	}
	if discard, ok := extra["discard_partial_chunks"].(bool); ok && discard {
		c.SaveUnfullChunk = false
	}
	return c
}

func (c LMCache) chunk() int {
	if c.ChunkSize == 0 {
		return 256
	}
	return c.ChunkSize
}

// address is HOST:PORT of the server; "" for none.
func (c LMCache) address() (string, error) {
	if c.RemoteURL == "" {
		return "", nil
	}
	address, ok := strings.CutPrefix(c.RemoteURL, "lm://")
	host, port, err := net.SplitHostPort(strings.TrimSuffix(address, "/"))
	if n, numeric := strconv.Atoi(port); !ok || err != nil || numeric != nil || n < 1 || n > 65535 {
		return "", fmt.Errorf("LMCACHE_REMOTE_URL=%s: the simulation shares KV through an LMCache server only; write lm://HOST:PORT", c.RemoteURL)
	}
	return net.JoinHostPort(host, port), nil
}

// Limits of LMCache's own client.
const (
	shareTimeout   = 10 * time.Second // of one exchange
	shareReconnect = 10 * time.Second // from a failure to the next attempt
)

// sharedCache is an LMCache server as one instance uses it. It is safe for
// concurrent use. What goes wrong with it costs time, never a request: as
// under LMCache itself, an instance that cannot reach it computes by itself.
type sharedCache struct {
	address string
	prefix  string // of the keys: model and layout
	chunk   int
	seed    uint64
	partial bool
	stores  bool            // not as consumer
	life    context.Context // of the instance: its end cuts an exchange short
	log     *log.Logger

	mu     sync.Mutex // one exchange at a time, as LMCache does it
	conn   net.Conn
	failed time.Time // when it could last not be reached
}

// newSharedCache returns nil if o shares nothing. It contacts nobody.
func newSharedCache(life context.Context, o *Options, l *log.Logger) *sharedCache {
	if !o.KVTransfer.lmcache() {
		return nil
	}
	c := o.LMCache.with(o.KVTransfer.Extra)
	address, err := c.address()
	if address == "" || err != nil { // Resolve told the error
		l.Print("LMCache has no remote server (LMCACHE_REMOTE_URL=lm://HOST:PORT): KV is shared with nobody")
		return nil
	}
	model := o.model()
	if over := len(model) - 80; over > 0 {
		model = model[over:] // keys have 150 bytes
	}
	return &sharedCache{
		address: address, chunk: c.chunk(), partial: c.SaveUnfullChunk, seed: c.HashSeed, life: life, log: l,
		// LMCache's own form; the hash comes between. Other layouts of the
		// same model have other keys.
		prefix: fmt.Sprintf("%s@%d@0@", strings.ReplaceAll(strings.ReplaceAll(model, "@", "_"), " ", "_"), o.TensorParallelSize),
		stores: o.KVTransfer.Role != consumer,
	}
}

// keys name the chunks of a prompt, first to last: each stands for its tokens
// and all before them. ends are the tokens up to the end of each. KV under
// different tags is different KV.
func (c *sharedCache) keys(prompt []uint32, tags string) (keys []string, ends []int) {
	h := mix(c.seed, uint64(c.chunk))
	for _, b := range []byte(tags) {
		h = mix(h, uint64(b))
	}
	for from := 0; from < len(prompt); from += c.chunk {
		to := from + c.chunk
		if to > len(prompt) {
			if !c.partial {
				break
			}
			to = len(prompt)
		}
		for _, id := range prompt[from:to] {
			h = mix(h, uint64(id))
		}
		keys = append(keys, fmt.Sprintf("%s%016x@bfloat16", c.prefix, h))
		ends = append(ends, to)
	}
	return keys, ends
}

// lookup is the number of tokens at the beginning of a prompt whose KV is
// there.
func (c *sharedCache) lookup(ctx context.Context, prompt []uint32, tags string) int {
	if c == nil {
		return 0
	}
	found := 0
	keys, ends := c.keys(prompt, tags)
	c.exchange(ctx, func(conn net.Conn) error {
		for i, key := range keys {
			get := lmRequest{command: lmGet, format: 1, dtype: lmUint8, key: key}
			if _, err := conn.Write(get.bytes()); err != nil {
				return err
			}
			data, there, err := readLMAnswer(conn)
			// The content is the position of the chunk's end, as a proof
			// that it is the same chunk of a simulation.
			if err != nil || !there || len(data) != 8 || binary.LittleEndian.Uint64(data) != uint64(ends[i]) {
				return err
			}
			found = ends[i]
		}
		return nil
	})
	return found
}

// store makes the KV of a prompt findable. The first known tokens are there
// already.
func (c *sharedCache) store(ctx context.Context, prompt []uint32, tags string, known int) {
	if c == nil || !c.stores {
		return
	}
	keys, ends := c.keys(prompt, tags)
	var b bytes.Buffer
	for i, key := range keys {
		if ends[i] <= known {
			continue
		}
		// Eight bytes stand for the KV: to keep gigabytes of nothing would
		// prove no more.
		b.Write((&lmRequest{command: lmPut, length: 8, format: lmBinary, dtype: lmUint8, shape: [4]int32{8}, key: key}).bytes())
		b.Write(binary.LittleEndian.AppendUint64(nil, uint64(ends[i])))
	}
	if b.Len() == 0 {
		return
	}
	// A PUT has no answer. One question behind them makes sure that they have
	// been read before anybody is told that the prompt was computed.
	b.Write((&lmRequest{command: lmExist, format: 1, dtype: lmUint8, key: keys[len(keys)-1]}).bytes())
	c.exchange(ctx, func(conn net.Conn) error {
		if _, err := conn.Write(b.Bytes()); err != nil {
			return err
		}
		_, _, err := readLMAnswer(conn)
		return err
	})
}

// exchange runs f on the connection, which it opens if there is none.
func (c *sharedCache) exchange(ctx context.Context, f func(net.Conn) error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if ctx.Err() != nil || !c.failed.IsZero() && time.Since(c.failed) < shareReconnect {
		return
	}
	give := func(err error) {
		c.failed = time.Now()
		c.drop()
		c.log.Printf("LMCache server %s: %v; prompts are computed here, the next attempt is in %v", c.address, err, shareReconnect)
	}
	if c.conn == nil {
		dialer := net.Dialer{Timeout: shareTimeout}
		conn, err := dialer.DialContext(ctx, "tcp", c.address)
		if err != nil {
			if ctx.Err() == nil {
				give(err)
			}
			return
		}
		c.conn, c.failed = conn, time.Time{}
		c.log.Printf("KV is shared through the LMCache server %s", c.address)
	}
	_ = c.conn.SetDeadline(time.Now().Add(shareTimeout))
	conn := c.conn
	defer context.AfterFunc(c.life, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	// The end of a request is no reason to leave an answer half read: the
	// exchange goes on, and is short.
	if err := f(c.conn); err != nil {
		give(err)
	}
}

// drop closes the connection. c.mu is held, or nobody uses c any more.
func (c *sharedCache) drop() {
	if c != nil && c.conn != nil {
		c.conn.Close()
		c.conn = nil
	}
}
