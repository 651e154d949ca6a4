package proxy

import (
	"time"

	"golang.org/x/sys/unix"

	"fooproxy/stats"
)

// View is what a Proxy shows of itself at one time. It may be used again for the next View, which then allocates nothing.
type View struct {
	Total   stats.Snapshot // the sum of Loops; of all figures only LogDropped is the process's own
	Loops   []LoopView
	Latency stats.Distribution // of the requests that were answered, over all loops; empty unless Tracking
}

// LoopView is what one loop shows.
type LoopView struct {
	stats.Snapshot
	CPU  int           // that it is pinned to, -1 = none
	Busy time.Duration // CPU time that its thread has used, in the kernel or out of it
}

// View fills v, after giving each loop the time to publish what it has done. No loop does anything for it.
func (p *Proxy) View(v *View) {
	p.stats.Settle(settleLimit)
	now := stats.Now()
	v.Total = stats.Snapshot{}
	v.Loops = v.Loops[:0]
	for i, w := range p.workers {
		loop := LoopView{Snapshot: p.stats.Loop(i, now), CPU: w.cpu, Busy: w.busy()}
		v.Total.Add(&loop.Snapshot)
		v.Loops = append(v.Loops, loop)
	}
	if p.log != nil {
		v.Total.Local[stats.LogDropped] = p.log.Dropped()
	}
	p.Latency(&v.Latency)
}

// Kernel clocks that count a thread's CPU time (CPUCLOCK_SCHED and CPUCLOCK_PERTHREAD_MASK of include/linux/posix-timers.h).
const threadClock = 2 | 4

// busy is the CPU time that the loop's thread has used; 0 before it runs and after it has ended. The loop has no part in this.
func (w *worker) busy() time.Duration {
	tid := w.thread.Load()
	var used unix.Timespec
	if tid == 0 || unix.ClockGettime(^tid<<3|threadClock, &used) != nil {
		return 0
	}
	return time.Duration(used.Nano())
}
