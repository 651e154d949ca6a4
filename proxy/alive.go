package proxy

import "time"

// aliveLook is the time between two looks at the loops.
const aliveLook = time.Millisecond

// Alive wakes every loop and reports whether all of them have turned within limit. A loop that has ended counts as alive.
// It is false for one that hangs, whatever in: waiting for the log (LogOverflow "block") is no turning either.
func (p *Proxy) Alive(limit time.Duration) bool {
	before := make([]uint64, len(p.workers))
	for i, w := range p.workers {
		before[i] = w.core.out.Turns()
		w.wake()
	}
	for deadline := time.Now().Add(limit); ; time.Sleep(aliveLook) {
		all := true
		for i, w := range p.workers {
			all = all && (w.core.out.Turns() != before[i] || w.gone())
		}
		if all || time.Now().After(deadline) {
			return all
		}
	}
}

func (w *worker) gone() bool {
	select {
	case <-w.ended:
		return true
	default:
		return false
	}
}
