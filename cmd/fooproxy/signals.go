package main

import (
	"os"
	"os/signal"

	"golang.org/x/sys/unix"
)

// signals holds one channel for each thing a signal asks for. A full channel drops further signals, which then mean the
// same as those that wait: stop needs room for two, the others for one.
type signals struct {
	stop  chan os.Signal // TERM, INT: drain; the second one: stop at once
	stats chan os.Signal // USR1: print the statistics
	log   chan os.Signal // HUP: reopen the request log
}

func newSignals() *signals {
	return &signals{
		stop:  make(chan os.Signal, 2),
		stats: make(chan os.Signal, 1),
		log:   make(chan os.Signal, 1),
	}
}

// catchSignals takes over the process's signals for its whole life: were they given back at the end, a late USR1 would
// kill the process and change its exit code. PIPE is ignored so that a reader of standard output may go away.
func catchSignals() *signals {
	s := newSignals()
	signal.Ignore(unix.SIGPIPE)
	signal.Notify(s.stop, unix.SIGTERM, unix.SIGINT)
	signal.Notify(s.stats, unix.SIGUSR1)
	signal.Notify(s.log, unix.SIGHUP)
	return s
}
