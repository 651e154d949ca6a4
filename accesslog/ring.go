package accesslog

import (
	"bytes"
	"sync/atomic"
	"time"
)

type pad [128]byte

// Ring takes the lines of one producer: Request, Answer, Conn and Bad must all be called from the same goroutine. They
// allocate nothing and make no system call, except that the first line after a quiet time wakes the writer.
//
// Positions count bytes since the start; position p lies at buf[p % size]. A line that reaches over the end is formatted
// into the slack behind buf[size] and its rest copied to the beginning.
type Ring struct {
	log  *Log
	buf  []byte // size + lineMax bytes
	size uint64 // a power of two

	_        pad
	head     atomic.Uint64 // the producer's: end of the last whole line
	tailSeen uint64        // the producer's last look at tail
	dropped  atomic.Uint64 // the producer's: lines that found no room
	format   format        // the producer's

	_    pad
	tail atomic.Uint64 // the writer's: everything before it is in the file, and its room is the producer's again
	_    pad
}

// reserve returns an empty slice with room for one line of lineMax bytes, or nil when the line is to be dropped; then it
// has been counted.
func (r *Ring) reserve() []byte {
	head := r.head.Load()
	if head-r.tailSeen > r.size-lineMax && !r.room(head) {
		r.dropped.Store(r.dropped.Load() + 1)
		return nil
	}
	at := head & (r.size - 1)
	return r.buf[at : at : at+lineMax]
}

// waitSpins is how often a producer that must wait looks again before it sleeps, waitSleep for how long it sleeps then.
const (
	waitSpins = 200
	waitSleep = 50 * time.Microsecond
)

// room looks for room for one more line after head. Under the policy block it waits for it, but not on a device that has
// failed nor for a log that is being closed: nobody may free room then.
func (r *Ring) room(head uint64) bool {
	for try := 0; ; try++ {
		r.tailSeen = r.tail.Load()
		if head-r.tailSeen <= r.size-lineMax {
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

// commit makes the line, which was appended to what reserve returned, visible to the writer.
func (r *Ring) commit(line []byte) {
	head := r.head.Load()
	if over := int(head&(r.size-1)) + len(line) - int(r.size); over > 0 {
		copy(r.buf, r.buf[r.size:int(r.size)+over])
	}
	head += uint64(len(line))
	r.head.Store(head)
	// The store above comes before this load, as the writer's store of its state comes before its look at head: so one of
	// the two sees the other, and no line is left behind with the writer asleep.
	switch r.log.state.Load() {
	case asleep:
		r.log.rouse()
	case gathering:
		if head-r.tailSeen > r.size/2 {
			r.tailSeen = r.tail.Load()
			if head-r.tailSeen > r.size/2 {
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
