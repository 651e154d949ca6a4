package proxy

import (
	"bytes"
	"fmt"
	"slices"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"fooproxy/stats"
)

// urgently has a client send data with one more byte in the middle that TCP calls urgent, and returns what is to arrive.
func (r *loopRig) urgently(fd int32, data []byte) []byte {
	r.t.Helper()
	half := len(data) / 2
	sent := some(send, fd, data[:half])
	if n, err := unix.SendmsgN(int(fd), []byte("!"), nil, nil, unix.MSG_OOB); n != 1 {
		r.t.Fatal(err)
	}
	if sent += some(send, fd, data[half:]); sent != len(data) {
		r.t.Fatal("the client's socket is full")
	}
	return slices.Concat(data[:half], []byte("!"), data[half:])
}

// getsPastUrgentBytes has a client send data with an urgent byte every 60 KB, and wants all of it at the server.
func (r *loopRig) getsPastUrgentBytes(p pair, data []byte) {
	r.t.Helper()
	sent := 0
	for part := range slices.Chunk(data, 60_000) {
		want := r.urgently(p[client], part)
		if got, _ := r.pump(p, nil, len(want)); !bytes.Equal(got, want) {
			r.t.Fatalf("from %d on %d bytes arrive of %d, or others", sent, len(got), len(want))
		}
		sent += len(part)
	}
}

// A recv stops at an urgent byte, and a splice does not get past it. What is behind it arrives all the same, be it spliced or copied.
func TestLoopReadsPastAnUrgentByte(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		for _, splice := range []string{SpliceOff, SpliceOn} {
			t.Run(splice, func(t *testing.T) {
				r, k := newLongRig(t, engine, func(cfg *Config) { cfg.Splice = splice })
				p := r.open()
				if splice == SpliceOn {
					r.inLongDataOf(p, k)
				}
				r.getsPastUrgentBytes(p, longLines("REQ", 2<<20, 1<<20))
				if n := r.core.local[stats.BytesSpliced]; (n > 1<<18) != (splice == SpliceOn) {
					t.Errorf("%d bytes are spliced", n)
				}
				r.endAll(p)
			})
		}
	})
}

// signalledKernel is a kernel that has a signal come with every other recv at an urgent byte.
type signalledKernel struct {
	*watchedKernel
	signals int
	last    bool // the last recv had one
}

func (k *signalledKernel) recv(fd int32, buf []byte) (int, syscall.Errno) {
	atMark, err := unix.IoctlGetInt(int(fd), unix.SIOCATMARK)
	if k.last = !k.last && err == nil && atMark != 0 && urgent(fd); k.last {
		k.signals++
		return -1, unix.EAGAIN // as tcp_recvmsg_locked of the kernel has it
	}
	return k.watchedKernel.recv(fd, buf)
}

// What a splice does not get past an urgent byte is copied, and taken out of the socket though the kernel says for a signal that there
// is nothing: otherwise it would come twice.
func TestLoopCopiesAnUrgentByteDespiteASignal(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		r, watched := newLongRig(t, engine, nil)
		p := r.open()
		r.inLongDataOf(p, watched)
		k := &signalledKernel{watchedKernel: watched}
		r.core.sys = k
		r.getsPastUrgentBytes(p, longLines("REQ", 1<<20, 1<<20))
		if k.signals == 0 {
			t.Error("no signal came")
		}
		r.endAll(p)
	})
}

// An end behind an urgent byte is not taken for one in its place, and a reset not for FIN.
func TestLoopSeesTheEndBehindAnUrgentByte(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		for _, tunnel := range []bool{false, true} {
			for _, reset := range []bool{false, true} {
				t.Run(fmt.Sprintf("tunnel %v, reset %v", tunnel, reset), func(t *testing.T) {
					r, k := newLongRig(t, engine, func(cfg *Config) { cfg.Tunnel = tunnel })
					p := r.open()
					if !tunnel {
						r.inLongDataOf(p, k)
					}
					data := append([]byte("REQ 1 "), text(60_000, 1)...)
					data = r.urgently(p[client], data)
					if reset {
						r.hangUp(p[client], true)
					} else {
						shutdownWrite(p[client])
					}
					got, end := r.pump(p, nil, 1<<30)
					if !bytes.HasPrefix(data, got) || !reset && len(got) < len(data) || reset != (end == unix.ECONNRESET) {
						t.Errorf("%d bytes arrive of %d, or others, and then %v", len(got), len(data), end)
					}
					r.hangUp(p[server], false)
					if !reset {
						r.hangUp(p[client], false)
					}
					r.gone()
				})
			}
		}
	})
}
