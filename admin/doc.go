// Package admin shows a running proxy over HTTP, on a private address.
//
//	GET  /                 the live page, one file with everything in it          page.go, page.html
//	GET  /metrics          for Prometheus                                         metrics.go
//	GET  /stats            Stats as JSON: the figures of SIGUSR1 and more         stats.go, sampler.go
//	GET  /connections      live connections                                      live.go
//	GET  /violations       the latest places where a peer broke the grammar       live.go
//	GET  /healthz, /readyz the process lives; it takes connections                control.go
//	POST /drain            as SIGTERM                                             control.go
//	POST /loglevel         of the log of operations: ?level=debug|info|warn|error control.go
//	GET  /debug/pprof/     Go profiles
//
// It reads what the loops publish anyway, and asks a loop for what only the loop may look at (connections, violations), a
// bounded piece per turn. So no loop waits for it, whatever a client of it does. Who may ask, and how, is decided in guard.go;
// addresses and time limits are in server.go.
package admin
