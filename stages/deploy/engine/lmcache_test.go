package engine

import (
	"context"
	"encoding/binary"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// cacheServer is an LMCache server on a real socket.
func cacheServer(t *testing.T) (address string, log *lockedBuffer, stop func()) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	log = new(lockedBuffer)
	go func() { ended <- ServeLMCache(ctx, ln, log) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the cache server: %v", err)
		}
	})
	t.Cleanup(stop)
	return ln.Addr().String(), log, stop
}

// sharing starts an instance with LMCache as `vllm serve` would be started.
func sharing(t *testing.T, role, address string, vars ...string) *instance {
	t.Helper()
	env := map[string]string{"LMCACHE_REMOTE_URL": "lm://" + address, "PYTHONHASHSEED": "0", "VLLM_SERVER_DEV_MODE": "1"}
	for i := 0; i < len(vars); i += 2 {
		env[vars[i]] = vars[i+1]
	}
	args := append([]string{"Qwen/Qwen3-0.6B", `--kv-transfer-config={"kv_connector":"LMCacheConnectorV1","kv_role":"` + role + `"}`}, quick[1:]...)
	return serve(t, parseServe(t, env, args...))
}

// leg sends one prompt and returns how many prompt tokens came from outside,
// and how many tokens were computed for it.
func (i *instance) leg(prompt []uint32, output int) (loaded, computed float64) {
	i.t.Helper()
	const hits = "vllm:external_prefix_cache_hits_total"
	work := func() float64 {
		return i.metrics()["vllm:iteration_tokens_total"].Metric[0].GetHistogram().GetSampleSum()
	}
	h, w := i.value(hits), work()
	i.object(http.MethodPost, "/v1/completions", object{"prompt": prompt, "max_tokens": output, "ignore_eos": true})
	return i.value(hits) - h, work() - w
}

// The decode leg takes from the cache what the prefill leg left there: whole
// chunks of 256 tokens, as LMCache has it.
func TestLMCacheSharesChunks(t *testing.T) {
	address, log, stop := cacheServer(t)
	p, d := sharing(t, producer, address), sharing(t, consumer, address)
	if loaded, computed := p.leg(ids(1, 700), 1); loaded != 0 || computed != 700 {
		t.Errorf("prefill: %g tokens loaded, %g computed", loaded, computed)
	}
	// 512 of the 700 tokens are whole chunks; 188 are computed, and 2 to go on.
	if loaded, computed := d.leg(ids(1, 700), 3); loaded != 512 || computed != 190 {
		t.Errorf("decode: %g tokens loaded, %g computed; want 512 and 190", loaded, computed)
	}
	if q := d.value("vllm:external_prefix_cache_queries_total"); q != 700 {
		t.Errorf("decode asked for %g tokens", q)
	}
	if n := labelled(d, "vllm:prompt_tokens_by_source_total", "source", "external_kv_transfer"); n != 512 {
		t.Errorf("%g prompt tokens are said to be from outside", n)
	}
	// A consumer stores nothing.
	if loaded, _ := d.leg(ids(2000, 2600), 1); loaded != 0 {
		t.Errorf("%g tokens that nobody had stored", loaded)
	}
	if status, _ := p.ask(http.MethodPost, "/reset_prefix_cache", nil); status != 200 {
		t.Fatal("no reset")
	}
	// The reset does not reach the server: what is there is found, by the
	// instance that stored it, too.
	if loaded, computed := p.leg(ids(1, 700), 1); loaded != 512 || computed != 188 {
		t.Errorf("prefill again, after a reset: %g tokens loaded, %g computed", loaded, computed)
	}
	// Other tokens before a chunk make another chunk of it.
	if loaded, _ := d.leg(append([]uint32{9}, ids(2, 700)...), 1); loaded != 0 {
		t.Errorf("%g tokens behind another beginning", loaded)
	}
	stop()
	if !strings.Contains(log.String(), "2 objects, 2 stored, 4 found,") {
		t.Errorf("the server's account:\n%s", log)
	}
}

// KV under different tags is different KV.
func TestLMCacheTags(t *testing.T) {
	address, _, _ := cacheServer(t)
	p, d := sharing(t, both, address), sharing(t, consumer, address)
	loaded := func(i *instance, tag string) float64 {
		before := i.value("vllm:external_prefix_cache_hits_total")
		i.object(http.MethodPost, "/v1/completions", object{"prompt": ids(1, 600), "max_tokens": 1, "kv_transfer_params": object{"lmcache.tag.vbp": tag}})
		if status, _ := i.ask(http.MethodPost, "/reset_prefix_cache", nil); status != 200 {
			t.Fatal("no reset")
		}
		return i.value("vllm:external_prefix_cache_hits_total") - before
	}
	for _, c := range []struct {
		at   *instance
		tag  string
		want float64
	}{{p, "a", 0}, {d, "a", 512}, {d, "b", 0}, {p, "b", 0}, {d, "b", 512}, {p, "a", 512}} {
		if got := loaded(c.at, c.tag); got != c.want {
			t.Errorf("tag %s: %g tokens found, want %g", c.tag, got, c.want)
		}
	}
}

func TestLMCacheSharesAll(t *testing.T) {
	address, _, _ := cacheServer(t)
	whole := []string{"LMCACHE_SAVE_UNFULL_CHUNK", "True"}
	p, d := sharing(t, both, address, whole...), sharing(t, both, address, whole...)
	p.leg(ids(1, 100), 1)
	if loaded, computed := d.leg(ids(1, 100), 1); loaded != 99 || computed != 1 {
		t.Errorf("%g tokens loaded, %g computed; want all but the last", loaded, computed)
	}
	// A longer prompt has other chunks.
	if loaded, _ := d.leg(ids(1, 101), 1); loaded != 0 {
		t.Errorf("%g tokens of a longer prompt", loaded)
	}
	small := append(whole, "LMCACHE_CHUNK_SIZE", "32")
	p, d = sharing(t, both, address, small...), sharing(t, both, address, small...)
	p.leg(ids(1, 100), 1)
	if loaded, _ := d.leg(ids(1, 101), 1); loaded != 96 {
		t.Errorf("%g tokens in chunks of 32, want 96", loaded)
	}
}

// Without an equal hash seed, with another tensor-parallel size or without a
// server nothing is shared, and every request is served all the same.
func TestLMCacheInVain(t *testing.T) {
	address, _, _ := cacheServer(t)
	sharing(t, both, address).leg(ids(1, 300), 1)
	if loaded, _ := sharing(t, both, address, "PYTHONHASHSEED", "1").leg(ids(1, 300), 1); loaded != 0 {
		t.Errorf("with another hash seed %g tokens came", loaded)
	}
	unseeded := sharing(t, both, address, "PYTHONHASHSEED", "random")
	if loaded, _ := unseeded.leg(ids(1, 300), 1); loaded != 0 {
		t.Errorf("without a hash seed %g tokens came", loaded)
	}
	if !strings.Contains(unseeded.log.String(), "PYTHONHASHSEED is not set") {
		t.Errorf("the log does not tell:\n%s", unseeded.log)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead := ln.Addr().String()
	ln.Close()
	i := sharing(t, both, dead)
	for range 3 {
		if loaded, _ := i.leg(ids(1, 300), 1); loaded != 0 {
			t.Errorf("%g tokens from nowhere", loaded)
		}
	}
	if n := strings.Count(i.log.String(), "connection refused; prompts are computed here"); n != 1 {
		t.Errorf("told %d times:\n%s", n, i.log)
	}
	i = sharing(t, both, address, "LMCACHE_REMOTE_URL", "")
	if loaded, _ := i.leg(ids(1, 300), 1); loaded != 0 || !strings.Contains(i.log.String(), "KV is shared with nobody") {
		t.Errorf("without a server: %g tokens\n%s", loaded, i.log)
	}
}

// A server that dies, or talks nonsense, takes no request with it.
func TestLMCacheServerDies(t *testing.T) {
	address, _, stop := cacheServer(t)
	i := sharing(t, both, address)
	i.leg(ids(1, 300), 1)
	stop()
	i.leg(ids(1, 300), 1)

	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var answers sync.WaitGroup
	answers.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			io.WriteString(conn, strings.Repeat("HTTP/1.1 400 Bad Request\r\n", 4))
			io.Copy(io.Discard, conn)
			conn.Close()
		}
	})
	i = sharing(t, both, ln.Addr().String())
	i.leg(ids(1, 300), 1)
	if !strings.Contains(i.log.String(), "is this an LMCache server?") {
		t.Errorf("the log:\n%s", i.log)
	}
	i.stop()
	<-i.ended
	ln.Close()
	answers.Wait()
}

// TestRealLMCacheServer shares through LMCache's own server.
func TestRealLMCacheServer(t *testing.T) {
	address := os.Getenv("VBP_LMCACHE_SERVER")
	if address == "" {
		t.Skip("VBP_LMCACHE_SERVER does not name HOST:PORT of a running lmcache_server")
	}
	seed := uint32(time.Now().Unix() % 100000) // of prompts that it has not seen
	p, d := sharing(t, producer, address), sharing(t, consumer, address)
	p.leg(ids(seed, seed+699), 1)
	if loaded, _ := d.leg(ids(seed, seed+699), 1); loaded != 512 {
		t.Errorf("%g tokens loaded, want 512\n%s", loaded, d.log)
	}
}

// An instance that is stopped does not wait for a server that does not answer.
func TestLMCacheServerIsSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		life, end := context.WithCancel(t.Context())
		conn, silent := net.Pipe()
		defer silent.Close()
		c := &sharedCache{chunk: 256, life: life, log: log.New(io.Discard, "", 0), conn: conn}
		begun := time.Now()
		go func() {
			io.ReadFull(silent, make([]byte, lmClientHeader))
			synctest.Wait() // until the instance waits for the answer
			end()
		}()
		if n := c.lookup(t.Context(), ids(1, 300), ""); n != 0 {
			t.Errorf("%d tokens from a silent server", n)
		}
		if took := time.Since(begun); took != 0 {
			t.Errorf("it waited %v for the answer", took)
		}
	})
}

// The bytes are what LMCache 0.5's Python writes:
// struct.pack("iiiiiiiii150s", 1, 8, 4, 6, 0, 8, 0, 0, 0, key.ljust(150)) and
// struct.pack("iiiiiiiii", 200, 8, 4, 6, 8, 0, 0, 0, 0).
func TestLMCacheWire(t *testing.T) {
	const key = "m@1@0@00000000000000ff@bfloat16"
	r := lmRequest{command: lmPut, length: 8, format: lmBinary, dtype: lmUint8, shape: [4]int32{8}, key: key}
	var want []byte
	for _, v := range []uint32{1, 8, 4, 6, 0, 8, 0, 0, 0} {
		want = append(want, byte(v), 0, 0, 0)
	}
	want = append(want, key+strings.Repeat(" ", 150-len(key))...)
	if got := r.bytes(); string(got) != string(want) {
		t.Errorf("a request:\n%q, want\n%q", got, want)
	}
	back, err := readLMRequest(strings.NewReader(string(want)))
	if err != nil || back != r {
		t.Errorf("read back: %+v %v", back, err)
	}
	answer := lmAnswer(lmSuccess, lmObject{lmBinary, lmUint8, [4]int32{8}, []byte("12345678")})
	head := "\xc8\x00\x00\x00\x08\x00\x00\x00\x04\x00\x00\x00\x06\x00\x00\x00\x08\x00\x00\x00" + strings.Repeat("\x00", 16)
	if string(answer) != head+"12345678" {
		t.Errorf("an answer: %q", answer)
	}
	if data, found, err := readLMAnswer(strings.NewReader(string(answer))); err != nil || !found || string(data) != "12345678" {
		t.Errorf("read back: %q %v %v", data, found, err)
	}
	if _, found, err := readLMAnswer(strings.NewReader(string(lmAnswer(lmFail, lmObject{})))); found || err != nil {
		t.Errorf("a key that is not there: %v %v", found, err)
	}
	for _, bad := range []string{"", "\xc8", string(answer[:40]), strings.Repeat("\xff", 40), "\xc8\x00\x00\x00" + strings.Repeat("\xff", 32)} {
		if _, _, err := readLMAnswer(strings.NewReader(bad)); err == nil {
			t.Errorf("%q was read", bad)
		}
	}
}

// Clients that misbehave lose their connection, and nobody else's.
func TestLMCacheServerRefuses(t *testing.T) {
	address, log, stop := cacheServer(t)
	request := func(command, length int32) string {
		return string((&lmRequest{command: command, length: length, key: "k@1@0@1@bfloat16"}).bytes())
	}
	for what, bytes := range map[string]string{
		"an unknown command": request(77, 0), "LIST": request(4, 0), "a negative length": request(lmPut, -1), "a huge length": request(lmPut, 1<<31-1),
		"text": strings.Repeat("GET / HTTP/1.1\r\n", 20),
	} {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(conn, bytes)
		conn.SetDeadline(time.Now().Add(10 * time.Second))
		if rest, err := io.ReadAll(conn); len(rest) > 0 || os.IsTimeout(err) {
			t.Errorf("%s was answered: %q %v", what, rest, err)
		}
		conn.Close()
	}
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	io.WriteString(conn, request(lmHealth, 0)+request(lmPut, 3)+"abc"+request(lmExist, 0)+request(lmGet, 0))
	for _, want := range []string{"", "", "abc"} {
		if data, found, err := readLMAnswer(conn); err != nil || !found || string(data) != want {
			t.Errorf("%q %v %v, want %q", data, found, err, want)
		}
	}
	io.WriteString(conn, request(lmPut, 100)+"half")
	stop() // with a client in mid-object
	if !strings.Contains(log.String(), "command 77 is not known") {
		t.Errorf("the log:\n%s", log)
	}
}

func FuzzLMCacheRequest(f *testing.F) {
	f.Add((&lmRequest{command: lmGet, key: "k"}).bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := readLMRequest(strings.NewReader(string(b)))
		if err == nil && (r.length < 0 || len(r.key) > lmKeyLength || binary.LittleEndian.Uint32(b) != uint32(r.command)) {
			t.Errorf("%q is read as %+v", b, r)
		}
	})
}
