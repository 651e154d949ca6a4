package proxy

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// segSize is the size of one buffer in bytes. Small enough that a segment holding a few bytes wastes little, large enough
// that one gathered send of 64 segments moves half a mebibyte.
const segSize = 8 << 10

// noSeg ends a list of segments.
const noSeg = int32(-1)

// owner says who may touch a segment's bytes. Every hand-over names the owner it expects, so a segment returned twice, or
// used while the kernel has it, stops the loop at once instead of corrupting somebody's stream.
type owner uint8

const (
	ownFree   owner = iota // in the slab's free list
	ownKernel              // published in a buffer ring, the kernel may write to it
	ownFlow                // holds bytes of one flow, queued or being sent
	ownLoan                // sent, but the kernel still reads it
)

// seg is what the slab knows of one buffer: the bytes [off:end) of it are in use.
type seg struct {
	next     int32
	off, end uint16
	owner    owner
	lent     uint8 // sends without a copy that may still read it
}

// slab is a loop's memory for bytes in transit: count segments of segSize in one anonymous mapping, so that the kernel may
// keep their addresses and the garbage collector never looks at them. Pages cost nothing until first used. The free list
// is last in, first out: what is reused is warm in the cache.
//
// Invariant: every segment is in exactly one of the free list, a buffer ring, or one flow's queue, or is on loan.
type slab struct {
	mem  []byte
	segs []seg
	head int32
	free int
}

func newSlab(count int) (*slab, error) {
	mem, err := unix.Mmap(-1, 0, count*segSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE)
	if err != nil {
		return nil, fmt.Errorf("map %d MiB for buffers: %w: raise the limit on address space (ulimit -v, LimitAS=) or lower --maxconn", count*segSize>>20, err)
	}
	b := &slab{mem: mem, segs: make([]seg, count), head: noSeg}
	for id := count - 1; id >= 0; id-- {
		b.segs[id].next = b.head
		b.head = int32(id)
	}
	b.free = count
	return b, nil
}

func (b *slab) close() error { return unix.Munmap(b.mem) }

// get takes an empty segment out of the free list for o, or returns noSeg.
func (b *slab) get(o owner) int32 {
	id := b.head
	if id == noSeg {
		return noSeg
	}
	g := &b.segs[id]
	if g.owner != ownFree {
		panic(fmt.Sprintf("segment %d in the free list is owned by %d", id, g.owner))
	}
	b.head = g.next
	b.free--
	*g = seg{next: noSeg, owner: o}
	return id
}

// put returns a segment that from owns.
func (b *slab) put(id int32, from owner) {
	g := &b.segs[id]
	if g.owner != from {
		panic(fmt.Sprintf("segment %d returned by %d is owned by %d", id, from, g.owner))
	}
	g.owner = ownFree
	g.next = b.head
	b.head = id
	b.free++
}

// putRun returns count segments linked from first to last that from owns. They come out again in the same order, so that
// neighbours in memory stay neighbours in the buffer ring, and a gathered send of them is one piece.
func (b *slab) putRun(first, last int32, count int, from owner) {
	for id := first; ; id = b.segs[id].next {
		g := &b.segs[id]
		if g.owner != from {
			panic(fmt.Sprintf("segment %d returned by %d is owned by %d", id, from, g.owner))
		}
		g.owner = ownFree
		if id == last {
			break
		}
	}
	b.segs[last].next = b.head
	b.head = first
	b.free += count
}

// move hands a segment over.
func (b *slab) move(id int32, from, to owner) *seg {
	g := &b.segs[id]
	if g.owner != from {
		panic(fmt.Sprintf("segment %d taken from %d is owned by %d", id, from, g.owner))
	}
	g.owner = to
	return g
}

// putLent returns count linked segments that a flow owns, some of which are on loan: those come back when they are no longer.
func (b *slab) putLent(first int32, count int) {
	for id := first; count > 0; count-- {
		g := &b.segs[id]
		next := g.next
		if g.lent > 0 {
			b.move(id, ownFlow, ownLoan)
		} else {
			b.put(id, ownFlow)
		}
		id = next
	}
}

// lend notes that a send without a copy reads count neighbours, which a flow owns; repay that it does no longer. A flow that is
// through with a segment on loan leaves it to the last such send.
func (b *slab) lend(first, count int32) {
	for id := first; id < first+count; id++ {
		b.segs[id].lent++
	}
}

func (b *slab) repay(first, count int32) {
	for id := first + count - 1; id >= first; id-- { // so that they come out again in the order of memory
		g := &b.segs[id]
		if g.lent == 0 {
			panic(fmt.Sprintf("segment %d, owned by %d, is not on loan", id, g.owner))
		}
		if g.lent--; g.lent == 0 && g.owner == ownLoan {
			b.put(id, ownLoan)
		}
	}
}

// bytes is the part of a segment that is in use.
func (b *slab) bytes(id int32) []byte {
	g := &b.segs[id]
	base := int(id) * segSize
	return b.mem[base+int(g.off) : base+int(g.end)]
}

// addr is where a segment begins.
func (b *slab) addr(id int32) unsafe.Pointer { return unsafe.Pointer(&b.mem[int(id)*segSize]) }
