//go:build linux && (amd64 || arm64)

package loop

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// resolve finds the addresses of a server. A request tries them in this order.
func resolve(ctx context.Context, u *url.URL) ([]netip.AddrPort, error) {
	port := 80
	if p := u.Port(); p != "" {
		n, err := strconv.ParseUint(p, 10, 16)
		if err != nil {
			return nil, fmt.Errorf("address of the server: port %q is not a number below 65536", p)
		}
		port = int(n)
	}
	found, err := net.DefaultResolver.LookupNetIP(ctx, "ip", u.Hostname())
	if err != nil {
		return nil, fmt.Errorf("address of the server: %w", err)
	}
	var out []netip.AddrPort
	for _, first := range []bool{true, false} { // IPv4 first: what has both most often listens there
		for _, a := range found {
			if a = a.Unmap(); a.Is4() == first {
				out = append(out, netip.AddrPortFrom(a, uint16(port)))
			}
		}
	}
	if len(out) == 0 {
		return nil, errors.New("address of the server: the name has no address")
	}
	return out, nil
}

// reachable is those of a server's addresses to which connections can be made
// from all of the source addresses. The error says what is wrong with one of
// these.
func reachable(addrs []netip.AddrPort, sources []netip.Addr) ([]netip.AddrPort, error) {
	for _, from := range sources {
		addrs = slices.DeleteFunc(addrs, func(a netip.AddrPort) bool { return a.Addr().Is4() != from.Is4() })
		if len(addrs) == 0 {
			return nil, fmt.Errorf("source address %v is of another kind (IPv4, IPv6) than the server's or than another source address", from)
		}
		fd, _, err := socket(from)
		if err != nil {
			return nil, fmt.Errorf("source address %v: %w", from, err)
		}
		err = bind(fd, from)
		unix.Close(fd)
		if err != nil {
			return nil, fmt.Errorf("source address %v: %w: it must be an address of this machine (ip address)", from, err)
		}
	}
	return addrs, nil
}

// zoneIndex is the interface of an IPv6 zone.
func zoneIndex(zone string) uint32 {
	if i, err := net.InterfaceByName(zone); err == nil {
		return uint32(i.Index)
	}
	n, _ := strconv.ParseUint(zone, 10, 32)
	return uint32(n)
}
