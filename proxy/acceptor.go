package proxy

import (
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// acceptor is the other classic way to spread connections: one thread accepts and hands the descriptors to the loops in turn.
// It balances perfectly and costs a hand-over and a wake-up for each connection.
type acceptor struct {
	listener int
	flags    int // of the accepted sockets
	proxy    *Proxy
	stopping atomic.Bool
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

func (a *acceptor) stop() { a.stopping.Store(true) }

func (a *acceptor) run() {
	defer func() { _ = unix.Close(a.listener) }()
	poll := []unix.PollFd{{Fd: int32(a.listener), Events: unix.POLLIN}}
	for next := 0; ; {
		if n, _ := unix.Poll(poll, int(acceptorLook/time.Millisecond)); n == 0 {
			if a.stopping.Load() {
				return
			}
			continue
		}
		w := a.proxy.workers[next%len(a.proxy.workers)]
		switch given := a.acceptFor(w); {
		case given:
			next++
		case a.stopping.Load():
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
