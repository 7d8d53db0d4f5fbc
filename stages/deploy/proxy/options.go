package proxy

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"
)

// Connectors: how KV blocks get from prefill to decode.
const (
	NIXL    = "nixl"    // decode pulls them, told where by kv_transfer_params
	LMCache = "lmcache" // both sides share a cache; the proxy passes nothing on
)

// Defaults of Options. The port is the one of vLLM's own test layout.
const (
	DefaultPort           = 8192
	DefaultConnectTimeout = 5 * time.Second
	DefaultProbeTimeout   = 5 * time.Second
)

// Options says where the proxy listens and which instances it joins.
type Options struct {
	Host      string   // address to listen on; "": 127.0.0.1
	Port      int      // 0: any free port
	Connector string   // NIXL or LMCache; "": NIXL
	Prefill   []string // base URLs, no trailing path such as /v1; at least one, for LMCache exactly one
	Decode    []string // likewise

	ConnectTimeout time.Duration // for connecting to an instance; 0: 5 s
	PrefillTimeout time.Duration // for the whole prefill leg, then 504; 0: as long as the client waits
	ProbeTimeout   time.Duration // for each instance's /health, /metrics and /reset_prefix_cache; 0: 5 s
}

// Flags adds the options to a command's flags, with o's values as defaults
// where they are set.
func (o *Options) Flags(fs *pflag.FlagSet) {
	if o.Port == 0 {
		o.Port = DefaultPort
	}
	*o = o.withDefaults()
	fs.StringVar(&o.Host, "host", o.Host, "address to listen on")
	fs.IntVar(&o.Port, "port", o.Port, "port to listen on; 0 picks a free one and prints it")
	fs.StringVar(&o.Connector, "connector", o.Connector, "how KV blocks get from prefill to decode: nixl or lmcache")
	fs.StringArrayVar(&o.Prefill, "prefill", o.Prefill, "base `URL` of a prefill instance, such as http://127.0.0.1:8100; repeat for more")
	fs.StringArrayVar(&o.Decode, "decode", o.Decode, "base `URL` of a decode instance, such as http://127.0.0.1:8200; repeat for more")
	fs.DurationVar(&o.ConnectTimeout, "connect-timeout", o.ConnectTimeout, "time allowed for connecting to an instance")
	fs.DurationVar(&o.PrefillTimeout, "prefill-timeout", o.PrefillTimeout, "time allowed for a prefill, after which the client gets 504; 0 waits as long as the client does")
	fs.DurationVar(&o.ProbeTimeout, "probe-timeout", o.ProbeTimeout, "time allowed for an instance's /health, /metrics and /reset_prefix_cache")
}

// Check tells everything that is wrong with the options, one error a line.
func (o *Options) Check() error {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }

	if o.Port < 0 || o.Port > 65535 {
		wrong("proxy port %d: want 0 to 65535", o.Port)
	}
	if !slices.Contains([]string{"", NIXL, LMCache}, o.Connector) {
		wrong("proxy connector %q: want %s or %s", o.Connector, NIXL, LMCache)
	}
	for _, pool := range []struct {
		role string
		urls []string
	}{{"prefill", o.Prefill}, {"decode", o.Decode}} {
		if len(pool.urls) == 0 {
			wrong("proxy has no %s instance: give at least one with --%s URL", pool.role, pool.role)
		}
		if o.Connector == LMCache && len(pool.urls) > 1 {
			wrong("proxy has %d %s instances: lmcache works with exactly one; use nixl for more", len(pool.urls), pool.role)
		}
		seen := map[string]bool{}
		for _, s := range pool.urls {
			u, err := baseURL(s)
			if err != nil {
				wrong("proxy %s instance: %w", pool.role, err)
				continue
			}
			if seen[u.String()] {
				wrong("proxy %s instance %s is given twice: each takes its turn once a round", pool.role, s)
			}
			seen[u.String()] = true
		}
	}
	for _, t := range []struct {
		name string
		d    time.Duration
	}{{"connect", o.ConnectTimeout}, {"prefill", o.PrefillTimeout}, {"probe", o.ProbeTimeout}} {
		if t.d < 0 {
			wrong("proxy %s timeout %v: want 0 or more", t.name, t.d)
		}
	}
	return errors.Join(errs...)
}

// withDefaults fills in what was left out, but for the port, whose zero means
// any.
func (o Options) withDefaults() Options {
	if o.Host == "" {
		o.Host = "127.0.0.1"
	}
	if o.Connector == "" {
		o.Connector = NIXL
	}
	if o.ConnectTimeout == 0 {
		o.ConnectTimeout = DefaultConnectTimeout
	}
	if o.ProbeTimeout == 0 {
		o.ProbeTimeout = DefaultProbeTimeout
	}
	return o
}

// address is what to listen on.
func (o Options) address() string {
	return net.JoinHostPort(o.Host, fmt.Sprint(o.Port))
}

// baseURL reads the address of an instance; the result has no trailing slash.
func baseURL(s string) (*url.URL, error) {
	if !strings.Contains(s, "://") {
		return nil, fmt.Errorf("%q is not a URL (did you mean http://%s ?)", s, s)
	}
	u, err := url.Parse(s)
	if err != nil {
		return nil, fmt.Errorf("%q is not a URL: %w", s, errors.Unwrap(err))
	}
	switch {
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf("%q: want http or https", s)
	case u.Hostname() == "":
		return nil, fmt.Errorf("%q names no host", s)
	case u.RawQuery != "" || u.Fragment != "":
		return nil, fmt.Errorf("%q: want a base URL, without ? and #", s)
	case u.User != nil:
		return nil, fmt.Errorf("%s: credentials do not belong into the URL; the client's Authorization header is passed on", u.Redacted())
	}
	u.Path = strings.TrimRight(u.Path, "/")
	u.RawPath = ""
	if strings.HasSuffix(u.Path, "/v1") {
		return nil, fmt.Errorf("%q: want the base URL, without /v1", s)
	}
	return u, nil
}
