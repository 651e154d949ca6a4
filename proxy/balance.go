package proxy

// Connections are spread over the loops by whoever accepts them: the kernel's hash over listeners that share a port
// (SO_REUSEPORT, socket(7)), whichever loop is awake for a listener that all share, or the acceptor. The first two are even only
// on average, over many connections: of four clients all may come to one loop. So a loop that has accepted a connection gives it
// to another that has clearly fewer. That costs a hand-over and a wake-up, now and then, when a connection comes; nothing that a
// byte passes looks here.

// lead is how many connections more than the loop with the fewest a loop of n may have: few where each one counts, 3 % where
// there are many.
func lead(n int64) int64 { return 1 + n/32 }

// passOn gives an accepted descriptor to the loop with the fewest connections if this one leads it, and says whether it has.
func (w *worker) passOn(fd int32) bool {
	if len(w.all) < 2 || w.core.draining {
		return false
	}
	mine := w.core.load.Load()
	to := fewest(w.all)
	return mine-to.core.load.Load() >= lead(mine) && to != w && to.give(fd)
}

// fewest returns the first of workers that has the fewest connections, begun or on their way.
func fewest(workers []*worker) *worker {
	least := workers[0]
	for _, w := range workers[1:] {
		if w.core.load.Load() < least.core.load.Load() {
			least = w
		}
	}
	return least
}

// give hands an accepted descriptor to the loop; one that drains takes none.
func (w *worker) give(fd int32) bool {
	w.handoff.Lock()
	if w.shut {
		w.handoff.Unlock()
		return false
	}
	w.given = append(w.given, fd)
	w.core.load.Add(1)
	first := !w.gifts.Swap(true)
	w.handoff.Unlock()
	if first {
		w.wake()
	}
	return true
}

// take returns the descriptors given since the last call, in into's memory; after the last call there will be none. They count
// as the loop's: whoever begins one takes it off again.
func (w *worker) take(into []int32, last bool) []int32 {
	w.handoff.Lock()
	defer w.handoff.Unlock()
	w.shut = last
	w.gifts.Store(false)
	into = append(into[:0], w.given...)
	w.given = w.given[:0]
	return into
}
