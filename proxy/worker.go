package proxy

import (
	"fmt"
	"runtime"
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
	cpu      int // to pin to, -1 = none
	order    atomic.Int32
	listener int // -1 = descriptors come from the acceptor

	handoff sync.Mutex // guards given
	given   []int32    // descriptors accepted for this loop by the acceptor
}

// run is the body of the worker's goroutine; it calls opened once it is known whether the loop can run.
func (w *worker) run(opened func()) error {
	defer w.engine.close()
	err := w.open()
	opened()
	if err != nil {
		return err
	}
	return w.engine.run()
}

// open locks the thread before its affinity is set, else the affinity would stay with whatever goroutine runs on it next. It is
// never unlocked: the thread ends with the goroutine.
func (w *worker) open() error {
	runtime.LockOSThread()
	if w.cpu >= 0 {
		var set unix.CPUSet
		set.Set(w.cpu)
		if err := unix.SchedSetaffinity(0, &set); err != nil {
			return fmt.Errorf("pin loop %d to CPU %d: %w", w.core.index, w.cpu, err)
		}
	}
	return w.engine.open()
}

func (w *worker) tell(order int32) {
	for {
		now := w.order.Load()
		if now >= order || w.order.CompareAndSwap(now, order) {
			break
		}
	}
	w.engine.wake()
}

// give hands an accepted descriptor to the loop.
func (w *worker) give(fd int32) {
	w.handoff.Lock()
	w.given = append(w.given, fd)
	w.handoff.Unlock()
	w.engine.wake()
}

// take returns the descriptors given since the last call, in into's memory.
func (w *worker) take(into []int32) []int32 {
	w.handoff.Lock()
	defer w.handoff.Unlock()
	into = append(into[:0], w.given...)
	w.given = w.given[:0]
	return into
}
