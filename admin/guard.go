package admin

import (
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
)

// guard lets through what an operator asks, and not what a web page makes the operator's browser ask: a page whose name points
// to this address (the Host is then that name), or one that posts here from elsewhere. It also keeps answers from being
// framed, sniffed or stored.
func (s *Server) guard(next http.Handler) http.Handler {
	next = http.NewCrossOriginProtection().Handler(next)
	next = http.MaxBytesHandler(next, bodyBytesMax)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Cache-Control", "no-store")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		if !s.ours(r.Host) {
			http.Error(w, "this host name is not one of the admin address; ask for it by its IP address", http.StatusMisdirectedRequest)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// ours says whether a request's Host names this server without a resolver that somebody else may control: an IP address,
// localhost, the machine's own name, or the one in --admin. No browser reaches a unix socket.
func (s *Server) ours(host string) bool {
	if strings.HasPrefix(s.options.Addr, unixPrefix) {
		return true
	}
	name := hostOf(host)
	if _, err := netip.ParseAddr(name); err == nil {
		return true
	}
	own, _ := os.Hostname()
	for _, known := range [...]string{"localhost", own, hostOf(s.options.Addr)} {
		if known != "" && strings.EqualFold(name, known) {
			return true
		}
	}
	return false
}

// hostOf is the host of "host", "host:port" or "[ip]:port".
func hostOf(host string) string {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	return strings.Trim(host, "[]")
}
