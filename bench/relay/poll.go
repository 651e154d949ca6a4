package relay

import (
	"context"
	"fmt"

	"golang.org/x/sys/unix"

	"fooproxy/bench/sys"
)

// side is one of the two sockets of a pair, and what was read from its peer for it.
//
//	client ──read──▶ server.pending ──write──▶ server
type side struct {
	fd        int32
	linked    bool   // the connection stands
	ended     bool   // its end of stream was read
	shut      bool   // its peer's end was passed on to it
	pending   []byte // read from the peer, not written yet
	pollIndex int
}

// pair is a client's connection and its upstream; sides[0] is the client's.
type pair struct{ sides [2]side }

// poller is the whole relay: one thread, one array for poll(2), rebuilt each turn from the pairs.
type poller struct {
	listen  int32
	forward *sys.Addr
	nodelay bool
	pairs   []*pair
	fds     []unix.PollFd
	buf     []byte
}

// Poll relays every connection to listen on to forward from one thread by poll(2), until ctx ends.
func Poll(ctx context.Context, listen, forward string) error {
	from, err := sys.Resolve(listen)
	if err != nil {
		return err
	}
	to, err := sys.Resolve(forward)
	if err != nil {
		return err
	}
	if err := sys.LockThread(-1); err != nil {
		return err
	}
	fd, err := from.Listen(4096)
	if err != nil {
		return err
	}
	p := &poller{listen: fd, forward: to, nodelay: from.IsTCP() && to.IsTCP(), buf: make([]byte, 64<<10)}
	defer p.close()
	for ctx.Err() == nil {
		if err := p.turn(); err != nil {
			return err
		}
	}
	return nil
}

func (p *poller) close() {
	sys.Close(p.listen)
	for _, x := range p.pairs {
		sys.Close(x.sides[0].fd)
		sys.Close(x.sides[1].fd)
	}
}

// turn is one poll(2) and what it asks for. Level-triggered: nothing is remembered between turns but the data itself.
func (p *poller) turn() error {
	p.fds = append(p.fds[:0], unix.PollFd{Fd: p.listen, Events: unix.POLLIN})
	for _, x := range p.pairs {
		for i := range x.sides {
			s, peer := &x.sides[i], &x.sides[1-i]
			var events int16
			if s.linked && !s.ended && len(peer.pending) == 0 {
				events |= unix.POLLIN
			}
			if !s.linked || len(s.pending) > 0 {
				events |= unix.POLLOUT
			}
			s.pollIndex = len(p.fds)
			fd := s.fd
			if events == 0 {
				fd = -1 // ignored by poll(2): a hung-up socket would be reported for ever
			}
			p.fds = append(p.fds, unix.PollFd{Fd: fd, Events: events})
		}
	}
	// A signal context is looked at twice a second.
	_, err := unix.Poll(p.fds, 500)
	if err == unix.EINTR {
		return nil
	}
	if err != nil {
		return fmt.Errorf("poll: %w", err)
	}
	kept := p.pairs[:0]
	for _, x := range p.pairs {
		if p.serve(x) {
			kept = append(kept, x)
			continue
		}
		sys.Close(x.sides[0].fd)
		sys.Close(x.sides[1].fd)
	}
	clear(p.pairs[len(kept):])
	p.pairs = kept
	if p.fds[0].Revents != 0 {
		p.accept()
	}
	return nil
}

// serve moves data between the sides of a pair; false ends it.
func (p *poller) serve(x *pair) bool {
	for i := range x.sides {
		s, peer := &x.sides[i], &x.sides[1-i]
		ready := p.fds[s.pollIndex].Revents
		if ready == 0 {
			continue
		}
		if !s.linked {
			if sys.SocketError(s.fd) != 0 {
				return false
			}
			s.linked = true
		}
		if len(s.pending) > 0 && !s.write(nil) {
			return false
		}
		if ready&(unix.POLLIN|unix.POLLHUP|unix.POLLERR) != 0 && !s.ended && len(peer.pending) == 0 {
			n, errno := sys.Read(s.fd, p.buf)
			if errno == unix.EAGAIN {
				continue
			}
			if errno != 0 {
				return false
			}
			s.ended = n == 0
			if !peer.write(p.buf[:n]) {
				return false
			}
		}
	}
	for i := range x.sides {
		s, peer := &x.sides[i], &x.sides[1-i]
		if s.ended && !peer.shut && peer.linked && len(peer.pending) == 0 {
			sys.ShutWrite(peer.fd)
			peer.shut = true
		}
	}
	return !x.sides[0].shut || !x.sides[1].shut
}

// write sends what is pending and then b, and keeps the rest.
func (s *side) write(b []byte) bool {
	if len(s.pending) > 0 {
		n, errno := sys.Send(s.fd, s.pending)
		if errno != 0 && errno != unix.EAGAIN {
			return false
		}
		s.pending = append(s.pending[:0], s.pending[n:]...)
	}
	if len(b) == 0 {
		return true
	}
	n := 0
	if s.linked && len(s.pending) == 0 {
		var errno unix.Errno
		if n, errno = sys.Send(s.fd, b); errno != 0 && errno != unix.EAGAIN {
			return false
		}
	}
	s.pending = append(s.pending, b[n:]...)
	return true
}

// accept takes all waiting connections and starts connecting each to the upstream.
func (p *poller) accept() {
	for {
		client, errno := sys.Accept(p.listen)
		if errno != 0 {
			return
		}
		server, errno := p.forward.Socket()
		if errno != 0 {
			sys.Close(client)
			return
		}
		if p.nodelay {
			sys.SetOption(client, unix.SOL_TCP, unix.TCP_NODELAY, 1)
			sys.SetOption(server, unix.SOL_TCP, unix.TCP_NODELAY, 1)
		}
		errno = p.forward.Connect(server)
		if errno != 0 && errno != unix.EINPROGRESS {
			sys.Close(client)
			sys.Close(server)
			continue
		}
		p.pairs = append(p.pairs, &pair{[2]side{{fd: client, linked: true}, {fd: server, linked: errno == 0}}})
	}
}
