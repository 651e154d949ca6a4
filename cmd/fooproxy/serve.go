package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"fooproxy/admin"
)

const (
	// stopLimit is how long the loops may take to end once told to stop at once.
	stopLimit = 10 * time.Second
	// printLimit is how long the end waits for statistics already asked for, and as long again for the log to be reopened.
	printLimit = time.Second
)

// A service is the running proxy as the process sees it; *proxy.Proxy in life, a fake in tests.
type service interface {
	admin.Source
	Start()
	Drain(limit time.Duration)
	Stop()
	Done() <-chan struct{}
	Err() error
	AppendStats(dst []byte) []byte // one call at a time
	Reopen() error
	Alive(limit time.Duration) bool
}

// A process runs one service from its start to its end.
type process struct {
	service service
	options *options
	signals *signals
	drain   chan struct{} // gets a value when a drain is asked for other than by a signal
	admin   *admin.Server // nil = none
	stdout  io.Writer
	log     *slog.Logger

	text    []byte         // printStats's: the last answer
	figures processFigures // printStats's
}

// run serves until the service has ended and returns why it broke, or nil after a clean stop. Statistics and the request
// log have goroutines of their own: a full pipe behind standard output must not keep TERM from being heard.
func (p *process) run() error {
	p.service.Start()
	if p.admin != nil {
		p.admin.Serve(p.service)
		p.log.Info("admin", "url", p.admin.URL())
	}
	if err := p.announce(); err != nil {
		p.service.Stop()
		return errors.Join(err, p.await(nil))
	}
	p.notifyReady()
	ended := make(chan struct{})
	go p.feedWatchdog(ended)
	printed := each(p.signals.stats, ended, p.printStats)
	reopened := each(p.signals.log, ended, p.reopen)

	err := p.await(p.signals.stop)
	close(ended)
	select {
	case <-printed:
	case <-time.After(printLimit):
		p.log.Warn("nobody reads standard output, statistics asked for are lost")
	}
	select {
	case <-reopened:
	case <-time.After(printLimit):
	}
	removePidfile(p.options.pidfile)
	if err == nil {
		p.log.Info("stopped", "uptime", time.Since(p.service.Info().Start).Round(time.Millisecond).String())
	}
	return err
}

// each calls handle for every signal until ended is closed, and then once more if one has come before. What it returns is closed
// thereafter.
func each(from <-chan os.Signal, ended <-chan struct{}, handle func()) (done <-chan struct{}) {
	over := make(chan struct{})
	go func() {
		defer close(over)
		for {
			select {
			case <-from:
				handle()
			case <-ended:
				select {
				case <-from:
					handle()
				default:
				}
				return
			}
		}
	}()
	return over
}

// announce writes the pid file and the line that says the proxy is ready.
func (p *process) announce() error {
	if err := writePidfile(p.options.pidfile); err != nil {
		return err
	}
	in := p.service.Info()
	if in.Fallback != "" {
		p.log.Warn("io_uring is not used", "why", in.Fallback)
	}
	p.log.Info("listening",
		"addr", in.Listen, "forward", p.options.cfg.Forward, "engine", in.Engine,
		"loops", in.Loops, "maxconn", p.options.cfg.MaxConn, "splice", in.Splice)
	return nil
}

// await returns when the service has ended: by itself, or drained after the first signal, or stopped after the second one
// or when the drain time-out is over.
func (p *process) await(stop <-chan os.Signal) error {
	var deadline, giveUp <-chan time.Time
	draining := stop == nil
	if draining {
		giveUp = time.After(stopLimit)
	}
	for {
		select {
		case <-p.service.Done():
			return p.service.Err()
		case <-p.drain:
			if !draining {
				draining, deadline = true, p.beginDrain("none")
			}
			continue
		case sig := <-stop:
			if !draining {
				draining, deadline = true, p.beginDrain(sig.String())
				continue
			}
			p.log.Info("stopping at once", "signal", sig.String())
		case <-deadline:
			p.log.Warn("drain time-out is over, open connections are closed", "timeout", p.options.drainTimeout.String())
		case <-giveUp:
			return fmt.Errorf("the event loops did not end within %v of the order to stop", stopLimit)
		}
		p.service.Stop()
		stop, deadline, giveUp = nil, nil, time.After(stopLimit)
	}
}

// beginDrain has the service end with its last connection, and returns the channel that says when this has taken too long.
func (p *process) beginDrain(signal string) (deadline <-chan time.Time) {
	limit := p.options.drainTimeout
	p.notify(daemon.SdNotifyStopping)
	p.log.Info("draining, a further signal stops at once", "signal", signal, "timeout", limit.String())
	p.service.Drain(limit)
	if limit > 0 {
		return time.After(limit)
	}
	return nil
}

// askDrain asks for what the first TERM does, from any goroutine and any number of times.
func (p *process) askDrain() {
	select {
	case p.drain <- struct{}{}:
	default: // one is asked for already
	}
}

// printStats answers USR1, from one goroutine. It allocates nothing but the first time: whoever asks often does not make the heap
// grow to the collector's next goal again and again.
func (p *process) printStats() {
	p.text = p.service.AppendStats(p.text[:0])
	p.text = p.figures.append(p.text, p.service.Info(), p.options.cfg.MaxConn)
	// A reader that has gone away is no reason to end.
	_, _ = p.stdout.Write(p.text)
}

func (p *process) reopen() {
	p.notifyReloading()
	defer p.notifyReady()
	if p.options.cfg.Log == "" {
		p.log.Info("hang-up ignored, there is no request log to reopen")
		return
	}
	if err := p.service.Reopen(); err != nil {
		p.log.Error("the request log could not be reopened", "err", err)
		return
	}
	// LogAttrs allocates nothing, unlike Info.
	p.log.LogAttrs(context.Background(), slog.LevelInfo, "request log reopened", slog.String("path", p.options.cfg.Log))
}
