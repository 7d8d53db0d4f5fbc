package engine

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"syscall"
)

// listenSide takes the addresses of NIXL's side channel, one for each
// replica. Under vLLM the handshakes between instances go there; here it is
// where an instance is told that KV was read.
func listenSide(addresses []string) ([]net.Listener, error) {
	var out []net.Listener
	for _, address := range addresses {
		ln, err := net.Listen("tcp", address)
		if err == nil {
			out = append(out, ln)
			continue
		}
		for _, ln := range out {
			ln.Close()
		}
		if errors.Is(err, syscall.EADDRINUSE) {
			return nil, fmt.Errorf("NIXL side channel: Address already in use (addr='tcp://%s'): give each instance of this host a VLLM_NIXL_SIDE_CHANNEL_PORT of its own, "+
				"with one port for each data-parallel rank", address)
		}
		return nil, fmt.Errorf("NIXL side channel: %w; VLLM_NIXL_SIDE_CHANNEL_HOST must be an address of this host", err)
	}
	return out, nil
}

// sideKey marks the contexts of requests that came by the side channel.
type sideKey struct{}

// baseContext is the context of a listener's connections.
func (s *server) baseContext(side []net.Listener) func(net.Listener) context.Context {
	return func(ln net.Listener) context.Context {
		for _, each := range side {
			if each == ln {
				return context.WithValue(s.life, sideKey{}, true)
			}
		}
		return s.life
	}
}

func onSideChannel(r *http.Request) bool { return r.Context().Value(sideKey{}) != nil }
