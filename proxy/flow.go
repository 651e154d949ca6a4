package proxy

import (
	"golang.org/x/sys/unix"

	"fooproxy/codec"
)

// source is how the side that a flow reads from stands.
type source uint8

const (
	reading  source = iota
	dropping        // what still comes is read and thrown away, so that closing does not reset what was delivered
	ended           // nothing more is read: FIN or RST has come, or nobody is left to send to
)

// ending is what a flow relays once its queue is empty.
type ending uint8

const (
	endNone ending = iota
	endFIN
	endRST
)

// sink is how the side that a flow writes to stands.
type sink uint8

const (
	open sink = iota
	shut      // FIN sent
	gone      // reset by the peer or by us
)

// flow is one direction of a session: bytes received from one side, checked, waiting to be sent to the other.
//
//	reading ──FIN, RST──▶ ended          source, what comes in
//	   └─violation, drain─▶ dropping ─▶ ended
//	endNone ─▶ endFIN | endRST           ending, relayed when the queue is empty
//	open ─▶ shut | gone                  sink, what goes out
//
// Invariant: bytes accepted = bytes sent + bytes held in queue or pipe + bytes dropped with the session.
type flow struct {
	scan     codec.Scanner
	head     codec.Head // of the unfinished line, when requests are tracked
	queue    segQueue
	pipe     *pipe  // not nil exactly while bytes are in it, which go before those in the queue
	accepted uint64 // bytes accepted for forwarding since the start
	source   source
	ending   ending
	sink     sink
	paused   bool // the queue went over the high watermark and has not been under the low one since
	sending  bool // the kernel reads the front of the queue: true exactly from submitting a send to its completion
	resync   bool // within a bad line that is forwarded
}

// finished is true when the flow has nothing left to deliver, to relay or to drain.
func (f *flow) finished() bool {
	return f.source == ended && (f.sink == gone || f.sink == shut && f.ending != endRST)
}

// held says whether bytes wait to be sent.
func (f *flow) held() bool { return f.queue.bytes > 0 || f.pipe != nil }

// segQueue is a list of segments with bytes in order.
type segQueue struct {
	head, tail int32
	segs       int32
	bytes      int
}

func newSegQueue() segQueue { return segQueue{head: noSeg, tail: noSeg} }

// push appends segment id, which holds bytes already and which the flow owns.
func (q *segQueue) push(b *slab, id int32) {
	g := &b.segs[id]
	g.next = noSeg
	if q.tail == noSeg {
		q.head = id
	} else {
		b.segs[q.tail].next = id
	}
	q.tail = id
	q.segs++
	q.bytes += int(g.end - g.off)
}

// write copies data behind what is queued, and returns how much of it the slab had room for.
func (q *segQueue) write(b *slab, data []byte) int {
	done := q.fill(b, data)
	for done < len(data) {
		id := b.get(ownFlow)
		if id == noSeg {
			break
		}
		n := copy(b.mem[int(id)*segSize:(int(id)+1)*segSize], data[done:])
		b.segs[id].end = uint16(n)
		q.push(b, id)
		done += n
	}
	return done
}

// room is how many bytes fit behind those in the last segment.
func (q *segQueue) room(b *slab) int {
	if q.tail == noSeg {
		return 0
	}
	return segSize - int(b.segs[q.tail].end)
}

// fill copies data into the room left in the last segment.
func (q *segQueue) fill(b *slab, data []byte) int {
	if q.tail == noSeg {
		return 0
	}
	g := &b.segs[q.tail]
	base := int(q.tail) * segSize
	n := copy(b.mem[base+int(g.end):base+segSize], data)
	g.end += uint16(n)
	q.bytes += n
	return n
}

// consume removes n sent bytes from the front and returns emptied segments to the slab.
func (q *segQueue) consume(b *slab, n int) {
	q.bytes -= n
	first, last, count := q.head, noSeg, 0
	lent := uint8(0)
	for q.head != noSeg {
		g := &b.segs[q.head]
		have := int(g.end - g.off)
		if n < have {
			g.off += uint16(n)
			break
		}
		n -= have
		last = q.head
		q.head = g.next
		lent |= g.lent
		count++
	}
	switch {
	case count == 0:
	case lent != 0:
		b.putLent(first, count)
	default:
		b.putRun(first, last, count, ownFlow)
	}
	q.segs -= int32(count)
	if q.head == noSeg {
		q.tail = noSeg
	}
}

// drop throws everything away.
func (q *segQueue) drop(b *slab) { q.consume(b, q.bytes) }

// memory is how many bytes of the slab the queue holds, which with small messages is more than the bytes in it.
func (q *segQueue) memory() int { return int(q.segs) * segSize }

// gather fills iov with the queued bytes from the front, and returns how many entries it used and the bytes in them.
func (q *segQueue) gather(b *slab, iov []unix.Iovec) (count, size int) {
	for id := q.head; id != noSeg && count < len(iov); id = b.segs[id].next {
		data := b.bytes(id)
		iov[count].Base = &data[0]
		iov[count].SetLen(len(data))
		count++
		size += len(data)
	}
	return count, size
}
