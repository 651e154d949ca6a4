package main

import (
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/coreos/go-systemd/v22/activation"
	"github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sys/unix"

	"fooproxy/proxy"
)

// What a service manager that speaks systemd's protocols (sd_notify(3), sd_listen_fds(3)) is told, and what it may give. All
// of it does nothing without the environment variables by which the manager makes itself known.

// inherit takes over the listening sockets that were passed to the process; they stand in for --listen and --port.
func (o *options) inherit(log *slog.Logger) error {
	for _, file := range activation.Files(true) {
		fd, err := unix.FcntlInt(file.Fd(), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("socket passed as descriptor %d: %w", file.Fd(), err)
		}
		_ = file.Close()
		addr, err := proxy.InheritedAddress(fd)
		if err != nil {
			return fmt.Errorf("socket %s passed by the service manager: %w", quote(file.Name()), err)
		}
		if len(o.cfg.Inherited) == 0 {
			if from := o.setting("listen").from; from.rank != fromDefault {
				log.Warn("the sockets passed by the service manager are used instead", "ignored", from.where, "addr", addr)
			}
			o.cfg.Listen = addr
		}
		o.cfg.Inherited = append(o.cfg.Inherited, fd)
	}
	return nil
}

// notify tells the service manager. One that cannot be told is no reason to end.
func (p *process) notify(state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		p.log.Warn("the service manager cannot be told", "state", state, "err", err)
	}
}

// managed says whether there is a service manager to be told anything.
func managed() bool { return os.Getenv("NOTIFY_SOCKET") != "" }

func (p *process) notifyReady() {
	if !managed() {
		return
	}
	in := p.service.Info()
	p.notify(fmt.Sprintf("%s\nSTATUS=%s engine, %d loops, listening on %s", daemon.SdNotifyReady, in.Engine, in.Loops, in.Listen))
}

// notifyReloading begins a reload, which notifyReady ends; the time tells the manager which of its orders was meant.
func (p *process) notifyReloading() {
	if !managed() {
		return
	}
	p.notify(daemon.SdNotifyReloading + "\n" + daemon.SdNotifyMonotonicUsec())
}

// watchdogShare of the time that the manager waits for a sign of life is between two of them.
const watchdogShare = 3

// feedWatchdog gives the signs of life that the manager asks for, until ended is closed: one whenever every loop has turned
// since the last. A loop that hangs stops them, and the manager then does what its configuration says.
func (p *process) feedWatchdog(ended <-chan struct{}) {
	interval, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		p.log.Warn("no watchdog", "err", err)
	}
	if err != nil || interval <= 0 {
		return
	}
	every := interval / watchdogShare
	tick := time.NewTicker(every)
	defer tick.Stop()
	hangs := false
	for {
		select {
		case <-ended:
			return
		case <-tick.C:
		}
		if p.service.Alive(every) {
			p.notify(daemon.SdNotifyWatchdog)
			hangs = false
		} else if !hangs {
			hangs = true
			p.log.Error("an event loop hangs, the service manager's watchdog gets no sign of life", "limit", interval)
		}
	}
}
