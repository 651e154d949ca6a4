package main

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

// serving runs a process over a fake inside a synctest bubble, where time passes only when everybody waits.
func serving(t *testing.T, f *fake, drain time.Duration, act func(*signals)) (log string, err error) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		o := newOptions()
		o.drainTimeout = drain
		f.done, f.drained = make(chan struct{}), make(chan struct{})
		p := &process{
			service: f, options: o, signals: newSignals(), stdout: io.Discard,
			log: slog.New(slog.NewTextHandler(&out, nil)),
		}
		go act(p.signals)
		err = p.run()
		log = out.String()
	})
	return log, err
}

func TestDrainEndsWithTheLastConnection(t *testing.T) {
	f := newFake("x")
	f.staysOpen = true
	log, err := serving(t, f, 30*time.Second, func(s *signals) {
		s.stop <- unix.SIGTERM
		<-f.drained
		f.end(nil)
	})
	if err != nil || f.stops.Load() != 0 || !strings.Contains(log, "msg=stopped") {
		t.Errorf("err %v, %d stops:\n%s", err, f.stops.Load(), log)
	}
}

func TestDrainTimeoutStops(t *testing.T) {
	f := newFake("x")
	f.staysOpen = true
	var took time.Duration
	log, err := serving(t, f, 30*time.Second, func(s *signals) {
		began := time.Now()
		s.stop <- unix.SIGTERM
		<-f.done
		took = time.Since(began)
	})
	if err != nil || f.stops.Load() != 1 || took != 30*time.Second || !strings.Contains(log, "drain time-out is over") {
		t.Errorf("err %v, %d stops after %v:\n%s", err, f.stops.Load(), took, log)
	}
}

func TestSecondSignalStopsAtOnce(t *testing.T) {
	f := newFake("x")
	f.staysOpen = true
	var took time.Duration
	_, err := serving(t, f, 0, func(s *signals) {
		began := time.Now()
		s.stop <- unix.SIGTERM
		<-f.drained
		time.Sleep(time.Hour) // a drain without a limit waits
		if f.stops.Load() != 0 {
			t.Error("stopped without a reason")
		}
		s.stop <- unix.SIGINT
		<-f.done
		took = time.Since(began)
	})
	if err != nil || f.stops.Load() != 1 || took != time.Hour {
		t.Errorf("err %v, %d stops after %v", err, f.stops.Load(), took)
	}
}

func TestLoopsThatDoNotEndAreGivenUp(t *testing.T) {
	f := newFake("x")
	f.staysOpen, f.endless = true, true
	// The drain time-out falls into the wait for the loops' end, and must not begin that anew.
	_, err := serving(t, f, stopLimit/2, func(s *signals) {
		s.stop <- unix.SIGTERM
		s.stop <- unix.SIGTERM
	})
	if err == nil || !strings.Contains(err.Error(), "did not end within") || f.stops.Load() != 1 {
		t.Errorf("err %v, %d stops", err, f.stops.Load())
	}
}

func TestBrokenServiceIsReported(t *testing.T) {
	f := newFake("x")
	broke := errors.New("epoll_wait: bad file descriptor")
	log, err := serving(t, f, time.Second, func(*signals) { f.end(broke) })
	if !errors.Is(err, broke) || strings.Contains(log, "msg=stopped") {
		t.Errorf("err %v:\n%s", err, log)
	}
}

func TestPidfileFailureStopsTheService(t *testing.T) {
	f := newFake("x")
	o := newOptions()
	o.pidfile = t.TempDir() + "/none/x.pid"
	p := &process{service: f, options: o, signals: newSignals(), stdout: io.Discard, log: slog.New(slog.DiscardHandler)}
	if err := p.run(); err == nil || f.stops.Load() != 1 {
		t.Errorf("err %v, %d stops", err, f.stops.Load())
	}
}

// A standard output that takes nothing must not keep the process from ending.
func TestStuckStdoutDoesNotHoldTheEnd(t *testing.T) {
	f := newFake("x")
	synctest.Test(t, func(t *testing.T) {
		f.done, f.drained = make(chan struct{}), make(chan struct{})
		reader, writer := io.Pipe()
		p := &process{service: f, options: newOptions(), signals: newSignals(), stdout: writer, log: slog.New(slog.DiscardHandler)}
		p.signals.stats <- unix.SIGUSR1
		go func() {
			synctest.Wait()
			p.signals.stop <- unix.SIGTERM
		}()
		if err := p.run(); err != nil {
			t.Error(err)
		}
		reader.Close()
	})
}

// What was asked for before the end is printed at the end.
func TestSignalBeforeTheEndIsServed(t *testing.T) {
	from, ended := make(chan os.Signal, 1), make(chan struct{})
	close(ended)
	from <- unix.SIGUSR1
	served := 0
	<-each(from, ended, func() { served++ })
	if served != 1 {
		t.Errorf("served %d times", served)
	}
}
