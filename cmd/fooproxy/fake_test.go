package main

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"fooproxy/proxy"
)

// fake is a service without a proxy: it ends when it is told to and counts what it is told.
type fake struct {
	listen   string
	done     chan struct{}
	err      error
	reopened chan struct{} // gets a value for each Reopen
	drained  chan struct{} // closed by Drain
	ending   atomic.Bool
	// staysOpen: connections that a drain waits for; endless: loops that do not even stop.
	staysOpen, endless bool
	stops              atomic.Int32
}

func newFake(listen string) *fake {
	return &fake{
		listen:   listen,
		done:     make(chan struct{}),
		drained:  make(chan struct{}),
		reopened: make(chan struct{}, 8),
	}
}

func (f *fake) Start() {}

func (f *fake) View(*proxy.View)                                    {}
func (f *fake) Tracking() bool                                      { return false }
func (f *fake) Draining() bool                                      { return false }
func (f *fake) Connections(context.Context, int) []proxy.Connection { return nil }
func (f *fake) Violations(context.Context) []proxy.Violation        { return nil }

func (f *fake) Drain(time.Duration) {
	close(f.drained)
	if !f.staysOpen {
		f.end(nil)
	}
}

func (f *fake) Stop() {
	f.stops.Add(1)
	if !f.endless {
		f.end(nil)
	}
}

func (f *fake) end(err error) {
	if f.ending.CompareAndSwap(false, true) {
		f.err = err
		close(f.done)
	}
}

func (f *fake) Done() <-chan struct{}         { return f.done }
func (f *fake) Err() error                    { return f.err }
func (f *fake) AppendStats(dst []byte) []byte { return fmt.Appendf(dst, "msg_total 0\n") }
func (f *fake) Info() proxy.Info {
	return proxy.Info{Engine: "fake", Fallback: "it is a fake", Loops: 1, Listen: f.listen, Splice: "off", Start: time.Now()}
}

func (f *fake) Alive(time.Duration) bool { return true }

func (f *fake) Reopen() error {
	f.reopened <- struct{}{}
	return nil
}
