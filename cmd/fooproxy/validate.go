package main

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// validate finds what single values cannot show: settings that contradict each other. It also turns --port into the
// address to listen on. Each line says which setting, what is wrong and what to do.
func (o *options) validate() (lines []string) {
	port, listen := o.setting("port").from, o.setting("listen").from
	switch {
	case listen.rank == fromDefault || port.rank > listen.rank:
		o.cfg.Listen = ":" + strconv.Itoa(o.port)
		o.setting("listen").from = port
	case port.rank == listen.rank:
		lines = append(lines, fmt.Sprintf("%s and %s both say where to listen; leave one of them", port.where, listen.where))
	}
	o.cfg.Track = o.track == trackOn || o.track == trackAuto && o.admin != ""
	if o.admin != "" {
		o.cfg.Violations = violationsKept
	}
	if o.track == trackOff && o.cfg.Log != "" {
		lines = append(lines, fmt.Sprintf("%s and %s contradict each other: the log says what became of each request; leave one of them",
			o.where("track"), o.where("log")))
	}
	if o.admin != "" && !o.adminPublic && !isPrivate(o.admin) {
		lines = append(lines, fmt.Sprintf(
			"%s %s: other hosts could look inside and end the proxy; give 127.0.0.1:PORT or unix:/PATH, or --admin-public if you mean it",
			o.where("admin"), quote(o.admin),
		))
	}
	return lines
}

// isPrivate tells whether only this host can reach an address.
func isPrivate(addr string) bool {
	if strings.HasPrefix(addr, unixPrefix) {
		return true
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// checkLoop reports a proxy whose server is the proxy itself: every connection would come back until descriptors run out.
// The addresses are resolved ones, local holds this host's own.
func (o *options) checkLoop(listen, forward string, local []netip.Addr) error {
	if !sameEndpoint(listen, forward, local) {
		return nil
	}
	return usagef("%s %s: is where fooproxy itself listens; give the server's address", o.where("forward"), quote(o.cfg.Forward))
}

func sameEndpoint(listen, forward string, local []netip.Addr) bool {
	if strings.HasPrefix(listen, unixPrefix) || strings.HasPrefix(forward, unixPrefix) {
		return listen == forward
	}
	to, err := netip.ParseAddrPort(forward)
	if err != nil {
		return false
	}
	host, port, err := net.SplitHostPort(listen)
	if err != nil || port != strconv.Itoa(int(to.Port())) {
		return false
	}
	at, err := netip.ParseAddr(host)
	if host != "" && err != nil {
		return false
	}
	target := to.Addr().Unmap()
	if host != "" && !at.IsUnspecified() {
		return at.Unmap() == target
	}
	if target.IsLoopback() || target.IsUnspecified() {
		return true
	}
	for _, own := range local {
		if own.Unmap() == target {
			return true
		}
	}
	return false
}
