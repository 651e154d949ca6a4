// Fooproxy relays the Foo line protocol between clients and one server, and checks and counts every message on its way.
//
//	args ─┐
//	env  ─┼▶ flags.go ─▶ validate.go ─▶ resolve.go ─▶ limits.go ─▶ proxy.New ─▶ serve.go ─▶ exit code
//	file ─┘  settings     contradictions  host names    maxconn      listeners    TERM INT    0 clean stop
//	         values.go                                                            HUP  USR1   1 broke
//	         configfile.go                                                        signals.go  2 wrong usage
//
// This package owns the process: flags, limits, signals, the pid file, standard output and standard error. It never touches
// a connection; package proxy does, and this package reaches it only through the interface service. All that is wrong with
// the configuration is a *usageError (exit 2), all that keeps a right configuration from running is any other error (exit 1).
package main
