package accesslog

import (
	"bytes"
	"sync/atomic"
	"time"
)

type pad [128]byte

// Ring takes the lines of one producer: Request, Answer, Conn, Bad and Flush must all be called from the same goroutine.
// They allocate nothing and make no system call, except that a Flush after a quiet time wakes the writer. Lines become
// visible to the writer with the next Flush, or before it when many have come: an atomic store for each line would cost as
// much as a fifth of the line.
//
// Positions count bytes since the start; position p lies at buf[p % size]. A line that reaches over the end is formatted
// into the slack behind buf[size] and its rest copied to the beginning.
type Ring struct {
	log   *Log
	buf   []byte // size + line bytes of log's mapping
	size  uint64 // a power of two
	line  uint64 // the longest line
	every int    // one in so many requests is logged, 0 = all

	_        pad
	head     atomic.Uint64 // the producer's: end of the last line that the writer may see
	next     uint64        // the producer's: end of the last line
	tailSeen uint64        // the producer's last look at tail
	dropped  atomic.Uint64 // the producer's: lines that found no room
	unlogged int           // the producer's: requests since the last one that was logged
	format   format        // the producer's

	_    pad
	tail atomic.Uint64 // the writer's: everything before it is in the file, and its room is the producer's again
	_    pad
}

// newRing makes a ring of size bytes; what buf has more is room for the longest line.
func newRing(l *Log, s *shape, size int, buf []byte) *Ring {
	return &Ring{log: l, every: l.sample, size: uint64(size), line: uint64(len(buf) - size), buf: buf, format: newFormat(s)}
}

// skip says whether a request or a lone answer is not to be logged. Counting them keeps the share exact whatever their Seqs,
// and costs the same for all.
func (r *Ring) skip() bool {
	if r.unlogged++; r.unlogged < r.every {
		return true
	}
	r.unlogged = 0
	return false
}

// reserve returns an empty slice with room for the longest line, or nil when the line is to be dropped; then it
// has been counted.
func (r *Ring) reserve() []byte {
	if r.next-r.tailSeen > r.size-r.line && !r.room() {
		r.dropped.Store(r.dropped.Load() + 1)
		return nil
	}
	at := r.next & (r.size - 1)
	return r.buf[at : at : at+r.line]
}

// waitSpins is how often a producer that must wait looks again before it sleeps, waitSleep for how long it sleeps then.
const (
	waitSpins = 200
	waitSleep = 50 * time.Microsecond
)

// room looks for room for one more line. Under the policy block it waits for it, but not on a device that has
// failed nor for a log that is being closed: nobody may free room then.
func (r *Ring) room() bool {
	r.Flush() // the writer makes room only of what it sees
	for try := 0; ; try++ {
		r.tailSeen = r.tail.Load()
		if r.next-r.tailSeen <= r.size-r.line {
			return true
		}
		r.log.rouse()
		if !r.log.block || r.log.failed.Load() || r.log.closed.Load() {
			return false
		}
		if try >= waitSpins {
			time.Sleep(waitSleep)
		}
	}
}

// commit takes the line, which was appended to what reserve returned. An eighth of the ring may wait for Flush.
func (r *Ring) commit(line []byte) {
	if over := int(r.next&(r.size-1)) + len(line) - int(r.size); over > 0 {
		copy(r.buf, r.buf[r.size:int(r.size)+over])
	}
	r.next += uint64(len(line))
	if r.next-r.head.Load() > r.size/8 {
		r.Flush()
	}
}

// Flush makes all lines so far visible to the writer. A loop calls it once a turn.
func (r *Ring) Flush() {
	if r.next == r.head.Load() {
		return
	}
	r.head.Store(r.next)
	// The store above comes before this load, as the writer's store of its state comes before its look at head: so one of
	// the two sees the other, and no line is left behind with the writer asleep.
	switch r.log.state.Load() {
	case asleep:
		r.log.rouse()
	case gathering:
		if r.next-r.tailSeen > r.size/2 {
			r.tailSeen = r.tail.Load()
			if r.next-r.tailSeen > r.size/2 {
				r.log.rouse()
			}
		}
	}
}

// segments returns the bytes at the positions [from, to), in one or two pieces.
func (r *Ring) segments(from, to uint64) [2][]byte {
	a, b := from&(r.size-1), to-from
	if end := a + b; end > r.size {
		return [2][]byte{r.buf[a:r.size], r.buf[:end-r.size]}
	}
	return [2][]byte{r.buf[a : a+b]}
}

// lineEnd returns the position after the last LF of [from, to), or from if there is none.
func (r *Ring) lineEnd(from, to uint64) uint64 {
	segments := r.segments(from, to)
	if i := bytes.LastIndexByte(segments[1], '\n'); i >= 0 {
		return from + uint64(len(segments[0])+i+1)
	}
	return from + uint64(bytes.LastIndexByte(segments[0], '\n')+1)
}

// Dropped returns how many lines were dropped because the ring was full. Once Close has returned this includes the lines
// that it could not write, and all that came later.
func (r *Ring) Dropped() uint64 {
	n := r.dropped.Load()
	if r.log.finished.Load() {
		for _, s := range r.segments(r.tail.Load(), r.head.Load()) {
			n += uint64(bytes.Count(s, []byte{'\n'}))
		}
	}
	return n
}
