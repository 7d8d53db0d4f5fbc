//go:build amd64 || arm64

package metronome

import "net"

func serve(ln net.Listener, c Config) (server, error) { return serveEpoll(ln, c) }
