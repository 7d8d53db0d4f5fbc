package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	promodel "github.com/prometheus/common/model"
)

// lockedBuffer is a log that can be read while it is written.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// instance is a server on a real socket.
type instance struct {
	t      *testing.T
	url    string
	log    *lockedBuffer
	stop   context.CancelFunc
	ended  chan struct{}
	err    error // how Serve ended, once ended is closed
	client *http.Client
}

// quick is an engine whose steps take 1 ms.
var quick = []string{"--model=Qwen/Qwen3-0.6B", "--step-base=1ms", "--request-overhead=0", "--kv-transfer-latency=0", "--port=0"}

func start(t *testing.T, args ...string) *instance {
	t.Helper()
	return serve(t, options(t, append(quick, args...)...))
}

func serve(t *testing.T, o Options) *instance {
	t.Helper()
	ln, err := o.Listen()
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	i := &instance{
		t: t, url: "http://" + ln.Addr().String(), log: new(lockedBuffer), stop: stop, ended: make(chan struct{}),
		client: &http.Client{Transport: &http.Transport{}},
	}
	go func() {
		defer close(i.ended)
		i.err = Serve(ctx, o, ln, i.log)
	}()
	t.Cleanup(func() {
		stop()
		<-i.ended
		i.client.CloseIdleConnections()
	})
	return i
}

// do sends a request; a body that is not a string is sent as JSON.
func (i *instance) do(ctx context.Context, method, path string, body any) (*http.Response, error) {
	var r io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		r = strings.NewReader(b)
	default:
		raw, err := json.Marshal(b)
		if err != nil {
			i.t.Fatal(err)
		}
		r = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(ctx, method, i.url+path, r)
	if err != nil {
		i.t.Fatal(err)
	}
	req.Header.Set("X-Request-Id", "abc")
	return i.client.Do(req)
}

// ask sends a request and reads the whole answer.
func (i *instance) ask(method, path string, body any) (status int, answer string) {
	i.t.Helper()
	resp, err := i.do(i.t.Context(), method, path, body)
	if err != nil {
		i.t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		i.t.Fatal(err)
	}
	if id := resp.Header.Get("X-Request-Id"); id != "abc" {
		i.t.Errorf("%s %s: the request id came back as %q", method, path, id)
	}
	return resp.StatusCode, string(raw)
}

// object sends a request that is answered with status 200 and JSON.
func (i *instance) object(method, path string, body any) map[string]any {
	i.t.Helper()
	status, raw := i.ask(method, path, body)
	var v map[string]any
	if err := json.Unmarshal([]byte(raw), &v); err != nil || status != http.StatusOK {
		i.t.Fatalf("%s %s: status %d, %s", method, path, status, raw)
	}
	return v
}

// metrics reads /metrics with Prometheus' own parser.
func (i *instance) metrics() map[string]*dto.MetricFamily {
	i.t.Helper()
	status, raw := i.ask(http.MethodGet, "/metrics", nil)
	p := expfmt.NewTextParser(promodel.UTF8Validation)
	families, err := p.TextToMetricFamilies(strings.NewReader(raw))
	if err != nil || status != http.StatusOK {
		i.t.Fatalf("metrics: status %d, %v\n%s", status, err, raw)
	}
	return families
}

// value is a gauge, a counter or the count of a histogram.
func (i *instance) value(name string) float64 {
	i.t.Helper()
	f := i.metrics()[name]
	if f == nil {
		i.t.Fatalf("there is no metric %s", name)
	}
	switch m := f.Metric[0]; f.GetType() {
	case dto.MetricType_GAUGE:
		return m.GetGauge().GetValue()
	case dto.MetricType_COUNTER:
		return m.GetCounter().GetValue()
	default:
		return float64(m.GetHistogram().GetSampleCount())
	}
}

type object = map[string]any

func TestServeLogsItsSettingsAndStops(t *testing.T) {
	i := start(t, "--num-gpu-blocks-override=77", "--served-model-name=m")
	i.ask(http.MethodGet, "/health", nil)
	i.stop()
	<-i.ended
	if i.err != nil {
		t.Errorf("stopped with %v", i.err)
	}
	for _, want := range []string{Identity, i.url[len("http://"):], "serves m", "h100/qwen3-0.6b", "77 KV blocks", "step 1ms"} {
		if !strings.Contains(i.log.String(), want) {
			t.Errorf("the start line does not say %q: %s", want, i.log)
		}
	}
	if strings.Contains(i.log.String(), "FAULTS") {
		t.Errorf("faults that were not asked for: %s", i.log)
	}
}

// The end of the server breaks streams off rather than ending them well.
func TestStopUnderLoad(t *testing.T) {
	i := start(t)
	resp, err := i.do(t.Context(), http.MethodPost, "/v1/completions", object{"prompt": "a", "max_tokens": 30000, "stream": true, "ignore_eos": true})
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	i.stop()
	<-i.ended
	if _, err := io.ReadAll(resp.Body); err == nil {
		t.Error("the stream ended as if it were whole")
	}
}

func TestServeRefusesWrongOptions(t *testing.T) {
	o := options(t, "--block-size=0")
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := Serve(t.Context(), o, ln, io.Discard); err == nil || !strings.Contains(err.Error(), "--block-size") {
		t.Errorf("%v", err)
	}
	if _, err := ln.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the listener is still open: %v", err)
	}
}

func TestListenSaysWhatToDo(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	if _, err := options(t, "--port="+port).Listen(); err == nil || !strings.Contains(err.Error(), "--port") {
		t.Errorf("%v", err)
	}
}

var short = object{"prompt": "hello", "max_tokens": 2}

func TestFailAfter(t *testing.T) {
	i := start(t, "--fail-after=1")
	if status, body := i.ask(http.MethodPost, "/v1/completions", short); status != http.StatusOK {
		t.Errorf("the first request: %d %s", status, body)
	}
	for range 2 {
		if status, _ := i.ask(http.MethodPost, "/v1/completions", short); status != http.StatusInternalServerError {
			t.Errorf("a further request: %d", status)
		}
	}
	if status, _ := i.ask(http.MethodGet, "/health", nil); status != http.StatusOK {
		t.Errorf("health: %d", status)
	}
	if n := strings.Count(i.log.String(), "status 500"); n != 1 {
		t.Errorf("the failing was logged %d times: %s", n, i.log)
	}
}

func TestExitAfter(t *testing.T) {
	i := start(t, "--exit-after=0")
	if resp, err := i.do(t.Context(), http.MethodPost, "/v1/completions", short); err == nil {
		resp.Body.Close()
		t.Errorf("the request that ends the server was answered with %s", resp.Status)
	}
	<-i.ended
	if i.err == nil || !strings.Contains(i.err.Error(), "--exit-after") {
		t.Errorf("ended with %v", i.err)
	}
}

func TestStallAfter(t *testing.T) {
	i := start(t, "--stall-after=0")
	ctx, leave := context.WithCancel(t.Context())
	answered := make(chan error, 1)
	go func() {
		resp, err := i.do(ctx, http.MethodPost, "/v1/completions", short)
		if err == nil {
			resp.Body.Close()
		}
		answered <- err
	}()
	for !strings.Contains(i.log.String(), "--stall-after") {
		if status, _ := i.ask(http.MethodGet, "/health", nil); status != http.StatusOK {
			t.Fatalf("health: %d", status)
		}
	}
	leave()
	if err := <-answered; !errors.Is(err, context.Canceled) {
		t.Errorf("the request ended with %v", err)
	}
}

func TestReadyDelay(t *testing.T) {
	i := start(t, "--ready-delay=1h")
	for _, path := range []string{"/health", "/ping", "/v1/models"} {
		if status, _ := i.ask(http.MethodGet, path, nil); status != http.StatusServiceUnavailable {
			t.Errorf("%s: %d before the server is ready", path, status)
		}
	}
}
