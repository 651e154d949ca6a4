package proxy

import (
	"syscall"
	"testing"

	"fooproxy/stats"
)

// Long Data in the simulator: a peek shows bytes to the loop and to the oracle and leaves them in the socket, where those that were
// accepted are to be taken before the next look: by splices, and what these leave by a recv of what the loop has copied already.

// simLarge is how many bytes make a receive one of data in bulk, and of long Data.
const simLarge = 200

// simLong counts what became of long Data, for tests that ask whether a simulation gets there.
type simLong struct {
	peeks, spliced, copied int // copied: bytes that were spliced no further
	stuck                  int // pipes with bytes in front of a queue, after a step
	cut                    int // looks that ended within what was peeked at: a violation
}

// trusts says whether the long Data that comes from a peer may be spliced.
func (w *simWorld) trusts(k *simSocket) bool {
	return w.cfg.Splice == SpliceOn || w.cfg.Splice == SpliceAuto && k.own
}

// peerUID: peers are root, or somebody else, or nobody knows who.
func (k simKernel) peerUID(fd int32) (uid uint32, ok bool) {
	_, _, sock := k.socket(fd)
	return map[bool]uint32{false: nobody}[sock.own], sock.own || oneIn(k, 2)
}

// peek shows what lies in a socket. It tells an end as recv does.
func (k simKernel) peek(fd int32, buf []byte) (int, syscall.Errno) {
	cn, d, sock := k.socket(fd)
	k.checkEmptyPipe(cn, d)
	f := &cn.s.flow[d]
	switch {
	case !k.trusts(sock) || cn.class != classFoo:
		k.Fatalf("side %d is peeked at, of a connection whose data is to be copied", d)
	case f.source != reading:
		k.Fatalf("side %d is peeked at, and nothing of it is to go on", d)
	case sock.looked > 0:
		k.Fatalf("side %d is peeked at, and %d bytes that were accepted still lie there", d, sock.looked)
	case !sock.nonblock:
		k.Fatalf("side %d is peeked at, and a splice would wait", d)
	}
	if oneIn(k, 64) {
		return 0, syscall.EINTR
	}
	if sock.atUrgent() && !sock.signalled && oneIn(k, 4) {
		sock.signalled = true
		return 0, syscall.EAGAIN
	}
	sock.signalled = false
	urgent := sock.urgent
	n, errno := sock.recv(len(buf))
	sock.urgent = urgent
	if n <= 0 {
		k.noData(cn, d, errno)
		return n, errno
	}
	sock.read -= n
	copy(buf, sock.stream.data[sock.read:sock.read+n])
	before := cn.accepted[d]
	k.heard(cn, d, n)
	sock.looked = cn.accepted[d] - before
	sock.tried, sock.noPipe = f.held(), k.local[stats.NoPipe]
	k.long.peeks++
	if sock.looked < n {
		k.long.cut++
	}
	return n, errno
}

// takeOut is a recv of bytes that were peeked at, accepted and copied.
func (k simKernel) takeOut(cn *simConn, d side, sock *simSocket, buf []byte) int {
	switch {
	case len(buf) > sock.looked:
		k.Fatalf("%d bytes of side %d are received, of which %d were inspected", len(buf), d, sock.looked)
	case !sock.tried && k.local[stats.NoPipe] == sock.noPipe:
		k.Fatalf("side %d is copied without a try to splice", d)
	}
	from := sock.read
	n, _ := sock.recv(len(buf))
	copy(buf, sock.stream.data[from:sock.read])
	sock.looked -= n
	k.long.copied += n
	k.event(cn, d, "taken out", n)
	return n
}

// spliceLong has a pipe take n bytes of long Data.
func (k simKernel) spliceLong(cn *simConn, d side, sock *simSocket, n int) {
	sock.looked -= n
	k.want[stats.BytesSpliced] += uint64(n)
	k.long.spliced += n
	k.event(cn, d, "spliced", n)
}

// checkLong: all that was accepted of what was peeked at has left the socket, unless nobody is left to have it.
func (w *simWorld) checkLong(cn *simConn, d side, f *flow) {
	if n := cn.sock[d].looked; n > 0 && f.sink == open {
		w.Fatalf("%d bytes of side %d were accepted and still lie in the socket", n, d)
	}
	if f.pipe != nil && f.queue.bytes > 0 {
		w.long.stuck++
	}
	if cn.s.eng.long[d] > 0 && (!w.trusts(&cn.sock[d]) || cn.class != classFoo) {
		w.Fatalf("side %d is in the middle of long Data", d)
	}
}

// samplePauses counts the pauses of a connection's flows. It is called often enough to see each.
func (w *simWorld) samplePauses(cn *simConn) {
	for d := range cn.s.flow {
		paused := cn.s.flow[d].paused
		if paused && !cn.paused[d] {
			w.want[stats.ReadPauses]++
		}
		cn.paused[d] = paused
	}
}

// Simulations of long Data peek at it, splice it, fall back to copying, have both in one flow, and find violations in it: whether or not
// requests are tracked.
func TestSimulationMeetsLongData(t *testing.T) {
	for name, style := range simStyles {
		t.Run(name, func(t *testing.T) {
			memory := newTestSlab(t, simHighest)
			var met [2]simLong
			for seed := range uint64(1500) {
				var w *simWorld
				simulate(t, newSeedChooser(seed), memory, func(world *simWorld) simStyle {
					w = world
					return style(w)
				})
				m := &met[0]
				if w.tracks != nil {
					m = &met[1]
				}
				m.peeks += w.long.peeks
				m.spliced += w.long.spliced
				m.copied += w.long.copied
				m.stuck += w.long.stuck
				m.cut += w.long.cut
			}
			for i, m := range met {
				t.Logf("tracked %v: %+v", i == 1, m)
				if m.peeks == 0 || m.spliced == 0 || m.copied == 0 || m.stuck == 0 || m.cut == 0 {
					t.Errorf("tracked %v: some of it never happens: %+v", i == 1, m)
				}
			}
		})
	}
}
