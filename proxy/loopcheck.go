package proxy

import (
	"fmt"
	"net"
	"net/netip"
)

// refuseLoop refuses an upstream that is the proxy's own listener: every connection would open the next one.
func refuseLoop(listen, forward *address) error {
	same := listen.domain == forward.domain && listen.path == forward.path && listen.path != ""
	if listen.path == "" && forward.path == "" && listen.ip.Port() == forward.ip.Port() && listen.ip.Port() != 0 {
		same = listen.ip.Addr() == forward.ip.Addr() || listen.ip.Addr().IsUnspecified() && isLocal(forward.ip.Addr())
	}
	if same {
		return fmt.Errorf("forward %s is this proxy's own listener; forward to the Foo server's address instead", forward)
	}
	return nil
}

// isLocal says whether ip belongs to this host.
func isLocal(ip netip.Addr) bool {
	if ip.IsLoopback() || ip.IsUnspecified() {
		return true
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return false
	}
	for _, a := range addrs {
		if prefix, err := netip.ParsePrefix(a.String()); err == nil && prefix.Addr().Unmap() == ip {
			return true
		}
	}
	return false
}
