package proxy

import (
	"context"
	"fmt"
	"runtime"
	"runtime/pprof"
	"strconv"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Orders to a worker; each includes the ones before it.
const (
	orderRun   = iota
	orderDrain // take no new connections, end when none is left
	orderQuiet // take no new requests either
	orderStop  // end now
)

// worker is one loop with its thread, core and engine.
type worker struct {
	core     *core
	engine   engine
	name     string // of the engine
	cpu      int    // to pin to, -1 = none
	order    atomic.Int32
	listener int       // -1 = descriptors come from the acceptor
	all      []*worker // of the proxy

	handoff sync.Mutex  // guards given and shut
	given   []int32     // descriptors accepted for this loop by somebody else
	shut    bool        // the loop takes no more of them
	gifts   atomic.Bool // given is not empty

	steps   chan func() error // for the thread; nil before it has begun
	results chan error        // one for each step

	asking sync.Mutex // one question at a time
	asked  atomic.Pointer[question]
	thread atomic.Int32  // the loop's thread, 0 before it has one
	life   sync.Mutex    // guards the engine's end against a late wake
	ended  chan struct{} // closed, under life, when the engine is
}

// begin starts the worker's thread, which carries out what do gives it. It is locked before its affinity is set, else the
// affinity would stay with whatever goroutine runs on it next, and never unlocked: it ends with the goroutine.
func (w *worker) begin() {
	w.steps, w.results = make(chan func() error), make(chan error)
	go func() {
		runtime.LockOSThread()
		for step := range w.steps {
			w.results <- step()
		}
	}()
}

// do has the worker's thread carry out a step and waits for it; before there is a thread the caller's does.
func (w *worker) do(step func() error) error {
	if w.steps == nil {
		return step()
	}
	w.steps <- step
	return <-w.results
}

// dismiss ends the worker's thread.
func (w *worker) dismiss() {
	if w.steps != nil {
		close(w.steps)
	}
}

// open makes all that the loop can fail to get.
func (w *worker) open() error {
	w.thread.Store(int32(unix.Gettid()))
	if w.cpu >= 0 {
		var set unix.CPUSet
		set.Set(w.cpu)
		if err := unix.SchedSetaffinity(0, &set); err != nil {
			return fmt.Errorf("pin loop %d to CPU %d: %w", w.core.index, w.cpu, err)
		}
	}
	return w.engine.open()
}

// run is the loop, until it is told to end.
func (w *worker) run() error {
	defer w.close()
	pprof.SetGoroutineLabels(pprof.WithLabels(context.Background(), pprof.Labels("engine", w.name, "loop", strconv.Itoa(w.core.index))))
	return w.engine.run()
}

func (w *worker) close() {
	w.life.Lock()
	defer w.life.Unlock()
	w.engine.close()
	close(w.ended)
}

// wake has the loop look at its orders. One that has ended is left alone: what its engine woke it by may be somebody else's
// descriptor by now.
func (w *worker) wake() {
	w.life.Lock()
	defer w.life.Unlock()
	select {
	case <-w.ended:
	default:
		w.engine.wake()
	}
}

func (w *worker) tell(order int32) {
	for {
		now := w.order.Load()
		if now >= order || w.order.CompareAndSwap(now, order) {
			break
		}
	}
	w.wake()
}
