//go:build !linux || !(amd64 || arm64)

package metronome

import "net"

func serve(ln net.Listener, c Config) (server, error) { return servePlain(ln, c) }
