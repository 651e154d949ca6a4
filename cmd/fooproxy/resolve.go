package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// resolveLimit bounds how long start-up waits for the name service.
const resolveLimit = 5 * time.Second

// resolve turns the host names of both addresses into IP addresses, once and before anything listens, and refuses a proxy
// that would forward to itself.
func (o *options) resolve(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, resolveLimit)
	defer cancel()
	listen, err := resolveAddr(ctx, o.where("listen"), o.cfg.Listen)
	if err != nil {
		return err
	}
	forward, err := resolveAddr(ctx, o.where("forward"), o.cfg.Forward)
	if err != nil {
		return err
	}
	if err := o.checkLoop(listen, forward, hostAddrs()); err != nil {
		return err
	}
	o.cfg.Listen, o.cfg.Forward = listen, forward
	return nil
}

// resolveAddr replaces the host name of a host:port by its first address, IPv4 before IPv6; all else stays as it is.
func resolveAddr(ctx context.Context, where, addr string) (string, error) {
	host, port, err := net.SplitHostPort(addr)
	if strings.HasPrefix(addr, unixPrefix) || err != nil || host == "" {
		return addr, nil
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return addr, nil
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil || len(ips) == 0 {
		why := "has no address"
		if dns := (*net.DNSError)(nil); errors.As(err, &dns) {
			why = dns.Err
		}
		return "", fmt.Errorf("%s %s: host name: %s; check the name or give an IP address", where, quote(addr), why)
	}
	best := ips[0]
	if i := slices.IndexFunc(ips, func(ip netip.Addr) bool { return ip.Unmap().Is4() }); i >= 0 {
		best = ips[i]
	}
	return net.JoinHostPort(best.Unmap().String(), port), nil
}

// hostAddrs returns this host's own addresses; none when the kernel does not tell, loopback is known without it.
func hostAddrs() (own []netip.Addr) {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	for _, a := range addrs {
		if prefix, err := netip.ParsePrefix(a.String()); err == nil {
			own = append(own, prefix.Addr())
		}
	}
	return own
}
