package proxy

import (
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// acceptor is the other classic way to spread connections: one thread accepts and hands each descriptor to the loop that has the
// fewest connections, in turn where they have the same. It balances perfectly and costs a hand-over and a wake-up for each.
type acceptor struct {
	listener int
	flags    int // of the accepted sockets
	proxy    *Proxy
	stopping atomic.Bool
	ended    chan struct{} // closed when nothing is accepted any more
}

// acceptorLook is how often the acceptor looks whether it shall stop, and how long it rests when it cannot accept.
const acceptorLook = 50 * time.Millisecond

func (a *acceptor) start() {
	a.proxy.running.Add(1)
	go func() {
		defer a.proxy.running.Done()
		a.run()
	}()
}

// stop returns when the clients that wait in the accept queue have been handed over, as far as maxconn lets them in.
func (a *acceptor) stop() {
	a.stopping.Store(true)
	<-a.ended
}

func (a *acceptor) run() {
	defer close(a.ended)
	defer func() { _ = unix.Close(a.listener) }()
	poll := []unix.PollFd{{Fd: int32(a.listener), Events: unix.POLLIN}}
	workers := slices.Clone(a.proxy.workers)
	for {
		stopping := a.stopping.Load()
		if n, _ := unix.Poll(poll, int(acceptorLook/time.Millisecond)); n == 0 {
			if stopping {
				return
			}
			continue
		}
		w := fewest(workers)
		if a.acceptFor(w) {
			workers = append(slices.DeleteFunc(workers, func(o *worker) bool { return o == w }), w)
		} else if stopping {
			return
		}
	}
}

// acceptFor accepts one connection for w, or rests for a while when that is impossible.
func (a *acceptor) acceptFor(w *worker) bool {
	if !w.core.admit() {
		time.Sleep(acceptorLook)
		return false
	}
	fd, _, err := unix.Accept4(a.listener, a.flags)
	if err == nil {
		w.give(int32(fd))
		return true
	}
	w.core.conns.Add(-1)
	if err != unix.EAGAIN && err != unix.ECONNABORTED && err != unix.EINTR {
		time.Sleep(acceptorLook)
	}
	return false
}
