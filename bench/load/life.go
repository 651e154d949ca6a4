package load

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"fooproxy/bench/sys"
)

// sources is how many addresses of 127.0.0.0/8 churn uses in turn, so that its closed connections, which the kernel keeps
// for a minute, do not use up the ports of one.
const sources = 64

// connect starts a connection in c's slot.
func (l *loop) connect(c *conn) error {
	fd, errno := l.target.Socket()
	if errno != 0 {
		return fmt.Errorf("socket: %w%s", errno, enough(errno))
	}
	if l.opt.NoDelay && l.target.IsTCP() && (l.opt.Churn == 0 || l.opt.Depth > 1) { // alone, a request has nothing to wait for
		sys.SetOption(fd, unix.SOL_TCP, unix.TCP_NODELAY, 1)
	}
	if l.opt.Churn > 0 && l.target.IsLoopback4() {
		sys.BindSource(fd, byte(1+l.churned%sources))
	}
	c.fd, c.gen, c.state, c.began = fd, c.gen+1, connecting, l.now
	c.blocked, c.hangUp, c.rest, c.first, c.pause, c.in.filled, c.in.inData = false, false, 0, c.done, 0, 0, false
	errno = l.target.Connect(fd)
	if errno != 0 && errno != unix.EINPROGRESS {
		if errno == unix.EAGAIN { // a unix socket whose accept queue is full: again at the next sweep
			sys.Close(fd)
			c.fd, c.state = -1, closed
			return nil
		}
		return l.refused(c, errno)
	}
	if l.opt.Churn > 0 && l.feeding {
		if err := l.eager(c); err != nil {
			return err
		}
	}
	if errno := l.poll.Add(fd, clientEvents, kindClient, c.slot, c.gen); errno != 0 {
		return fmt.Errorf("epoll_ctl: %w", errno)
	}
	return nil
}

// eager sends the first requests without waiting for the event that says that c stands: over loopback the handshake is over
// when connect(2) returns, though it says EINPROGRESS.
func (l *loop) eager(c *conn) error {
	c.state = open
	l.connected++
	l.feed(c)
	if err := l.flush(c, l.now); err != nil {
		return err
	}
	if c.blocked && c.sent == c.first && c.rest == 0 { // not yet, after all
		c.state = connecting
		l.connected--
	}
	return nil
}

// enough says what to do about a lack of descriptors.
func enough(errno unix.Errno) string {
	if errno == unix.EMFILE {
		return ": raise the limit (ulimit -n) or make fewer connections"
	}
	return ""
}

func (l *loop) refused(c *conn, errno unix.Errno) error {
	hint := ""
	if errno == unix.ECONNREFUSED {
		hint = ": nothing listens there"
	}
	return &Failure{Refused, int(c.slot), fmt.Sprintf("cannot connect to %s: %v%s", l.target, errno, hint)}
}

// established is called once for each connection, when it stands or, with failed, may not.
func (l *loop) established(c *conn, failed bool) error {
	if failed {
		if errno := sys.SocketError(c.fd); errno != 0 {
			return l.refused(c, errno)
		}
	}
	c.state = open
	l.connected++
	if l.feeding {
		l.feed(c)
	}
	return nil
}

// lost is a connection that broke.
func (l *loop) lost(c *conn, errno unix.Errno) error {
	if c.sent == c.first && c.rest == 0 {
		return l.refused(c, errno)
	}
	return &Failure{Closed, int(c.slot), fmt.Sprintf("the target broke the connection (%v) %s", errno, l.balance(c))}
}

func (l *loop) balance(c *conn) string {
	return fmt.Sprintf("after %d answers, with %d requests outstanding", c.done, c.inFlight())
}

// endOfStream is right only after the generator has sent its own end and has all answers.
func (l *loop) endOfStream(c *conn) error {
	if c.state != ending {
		return &Failure{Closed, int(c.slot), "the target ended the connection " + l.balance(c)}
	}
	if c.in.filled > 0 || c.in.inData {
		return &Failure{Malformed, int(c.slot), "the target ended the connection in the middle of an answer"}
	}
	sys.Close(c.fd)
	c.state, c.fd = closed, -1
	l.connected--
	l.endedN++
	if l.opt.Churn > 0 {
		l.churned++
		if l.feeding {
			return l.connect(c)
		}
	}
	return nil
}

// finish sends the end of c's requests; the connection is closed when the target's end has come.
func (l *loop) finish(c *conn) {
	c.state, c.began = ending, l.now
	sys.ShutWrite(c.fd)
}

// feed keeps the depth of a connection filled in closed loop.
func (l *loop) feed(c *conn) {
	if int(c.slot) >= l.active || l.opt.Rate > 0 || l.opt.Idle && c.queued > 0 {
		return
	}
	want := uint64(l.opt.Depth)
	if waiting := c.waiting(); waiting < want {
		want -= waiting
	} else {
		return
	}
	if l.opt.Churn > 0 {
		want = min(want, uint64(l.opt.Churn)-(c.queued-c.first))
	}
	if l.opt.Messages > 0 {
		want = min(want, l.budget)
		l.budget -= want
	}
	for range want {
		c.enqueue(l.opt.Mix.pick(&l.rng), 0)
	}
}

// sweep runs ten times a second: it looks for late answers and connections, and publishes the progress.
func (l *loop) sweep() error {
	l.nextSweep = l.now + int64(100*time.Millisecond)
	var waiting uint64
	for i := range l.conns {
		c := &l.conns[i]
		waiting += c.waiting()
		switch {
		case c.state == connecting && l.now-c.began > int64(l.opt.Timeout):
			return &Failure{Refused, i, fmt.Sprintf("no connection to %s within %v", l.target, l.opt.Timeout)}
		case c.state == ending && l.opt.Churn > 0 && l.now-c.began > int64(l.opt.Timeout):
			return &Failure{Late, i, fmt.Sprintf("the target did not end the connection within %v after its client did", l.opt.Timeout)}
		case c.state == closed && l.feeding && l.opt.Churn > 0:
			if err := l.connect(c); err != nil {
				return err
			}
		case c.oldest < c.sent && l.now-c.at(c.oldest).sent > int64(l.opt.Timeout):
			return &Failure{Late, i, fmt.Sprintf("no answer to seq %d within %v; %s",
				l.seqOf(c, c.oldest), l.opt.Timeout, l.balance(c))}
		}
	}
	l.live.answered.Store(l.answered)
	l.live.waiting.Store(waiting)
	return nil
}
