package ring

import (
	"fmt"
	"math"
	"math/bits"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// BufRing is a ring of provided buffers: the kernel takes the next one when data has come, so that idle connections hold
// none. See io_uring_setup_buf_ring(3), Linux 5.19; incremental consumption 6.12. All buffers have one size and lie side by
// side; buffer i is mem[i*size : (i+1)*size].
//
// Who owns a buffer: Add prepares its return, Publish gives it to the kernel, a completion that carries it gives it to us.
//
// The ring has twice as many places as the kernel may have buffers at once, which can be far fewer than there are: the
// rest waits with us, or holds data. The id that the kernel knows a buffer by is the number of its place, so that there may be more
// buffers than the 16 bits of an id tell apart. A place is written anew only after that many returns, so its note of which buffer
// lay there holds even when completions are handled out of order within a batch, as older kernels may deliver them (see the
// package comment). Few places also stay in the cache.
//
// Invariant: the kernel has buffer n (owned[n]) exactly while one place p has it, order[p] = n; b.kernel is how many do.
type BufRing struct {
	ring    *Ring
	entries []bufEntry // the kernel's view; entry 0 holds the tail
	word    *uint32    // id and tail of entry 0
	mask    uint16
	tail    uint16
	group   uint16
	inc     bool
	dirty   bool
	size    uint32
	kernel  int // buffers the kernel has, as far as completions tell

	mem   []byte
	order []int32  // by place: the buffer that the kernel has there, or will at the next Publish; noBuffer = none
	owned []bool   // by buffer: it is at a place
	used  []uint32 // by place, incremental only: bytes of the buffer already received into

	raw []byte
}

// BufRingMax is the largest number of buffers that the kernel can have at once.
const BufRingMax = 1 << 14

const noBuffer = int32(-1)

// NewBufRing registers an empty ring under a group number, for buffers of the given size in mem, which must lie outside
// the Go heap and outlive the ring. The kernel has at most the given number of them at once, 0 = all. Then Add buffers,
// and Publish.
func (r *Ring) NewBufRing(group uint16, mem []byte, size, atOnce int, incremental bool) (*BufRing, error) {
	count := 0
	if size > 0 {
		count = len(mem) / size
	}
	if count < 1 || count > math.MaxInt32 || len(mem)%size != 0 {
		return nil, fmt.Errorf("buffer ring: %d bytes do not make buffers of %d bytes", len(mem), size)
	}
	if atOnce == 0 {
		atOnce = count
	}
	if atOnce < 1 || atOnce > min(count, BufRingMax) {
		return nil, fmt.Errorf("buffer ring: the kernel can have 1 to %d of %d buffers at once, not %d", min(count, BufRingMax), count, atOnce)
	}
	places := bufRingPlaces(atOnce)
	raw, err := mapMemory(-1, 0, places*int(unsafe.Sizeof(bufEntry{})), unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return nil, err
	}
	b := &BufRing{
		ring: r, raw: raw, entries: unsafe.Slice((*bufEntry)(at(raw, 0)), places), word: word(raw, 12),
		mask: uint16(places - 1), group: group, inc: incremental, size: uint32(size), mem: mem,
		order: make([]int32, places), owned: make([]bool, count), used: make([]uint32, places),
	}
	for p := range b.order {
		b.order[p] = noBuffer
	}
	reg := bufReg{addr: addrOf(&b.entries[0]), entries: uint32(places), group: group}
	if incremental {
		reg.flags = bufRingInc
	}
	if _, errno := r.register(registerBufRing, unsafe.Pointer(&reg), 1); errno != 0 {
		_ = unmapMemory(raw)
		return nil, fmt.Errorf("registering a buffer ring: %w", registerError(errno))
	}
	r.bufRings = append(r.bufRings, b)
	return b, nil
}

// bufRingPlaces is twice the buffers that the kernel has at once, as a power of two.
func bufRingPlaces(atOnce int) int { return 1 << bits.Len(uint(2*atOnce-1)) }

// Group is the number to give to PrepRecv.
func (b *BufRing) Group() uint16 { return b.group }

// Count is the number of buffers, Size the bytes of each.
func (b *BufRing) Count() int { return len(b.owned) }

// Size is the bytes of each buffer.
func (b *BufRing) Size() int { return int(b.size) }

// InKernel is the number of buffers given to the kernel and not yet seen in a completion. At 0 receives end with -ENOBUFS.
func (b *BufRing) InKernel() int { return b.kernel }

// Buffer is the memory of a buffer.
func (b *BufRing) Buffer(n int32) []byte {
	start := int(n) * int(b.size)
	return b.mem[start : start+int(b.size) : start+int(b.size)]
}

// Add puts a buffer that is ours into the ring; the kernel sees it after Publish. It panics on a buffer that the kernel
// has: two connections would receive into the same bytes.
func (b *BufRing) Add(n int32) {
	if b.kernel == len(b.order)/2 {
		panic(fmt.Sprintf("ring: group %d has been given more buffers than it has places for", b.group))
	}
	if b.owned[n] {
		panic(fmt.Sprintf("ring: buffer %d of group %d returned twice", n, b.group))
	}
	p := b.tail & b.mask
	if b.order[p] != noBuffer {
		panic(fmt.Sprintf("ring: the completion of buffer %d of group %d is overdue", b.order[p], b.group))
	}
	e := &b.entries[p]
	e.addr, e.len, e.id = addrOf(&b.mem[int(n)*int(b.size)]), b.size, p
	b.order[p], b.owned[n], b.used[p] = n, true, 0
	b.tail++
	b.kernel++
	b.dirty = true
}

// Publish gives the buffers added since the last call to the kernel, with one store; call it once per turn, after all
// completions of the turn.
func (b *BufRing) Publish() {
	if !b.dirty {
		return
	}
	b.dirty = false
	// The tail is 16 bits wide and Go has no atomic store of that width. The other half of its word is entry 0's buffer id,
	// which only we write, so storing both together changes nothing but the tail.
	atomic.StoreUint32(b.word, uint32(b.entries[0].id)|uint32(b.tail)<<16)
}

// Published is the buffer that the kernel takes as the nth since the ring was made, counted modulo 2¹⁶, and its id in a completion;
// ok is false if it has not been given that many. For whoever plays the kernel of a Detached ring.
func (b *BufRing) Published(nth uint16) (n int32, id uint16, ok bool) {
	if tail := uint16(atomic.LoadUint32(b.word) >> 16); int16(tail-nth) <= 0 {
		return 0, 0, false
	}
	id = b.entries[nth&b.mask].id
	return b.order[id], id, true
}

// KernelHead asks the kernel for the number of buffers it has used up, modulo 2¹⁶ (6.8). For tests.
func (b *BufRing) KernelHead() (uint16, error) {
	s := bufStatus{group: uint32(b.group)}
	if _, errno := b.ring.register(registerBufRingState, unsafe.Pointer(&s), 1); errno != 0 {
		return 0, registerError(errno)
	}
	return uint16(s.head), nil
}

// Close unregisters the ring; no receive may use the group any more. Ring.Close does as much for those still open.
func (b *BufRing) Close() error {
	reg := bufReg{group: b.group}
	if _, errno := b.ring.register(unregisterBufRing, unsafe.Pointer(&reg), 1); errno != 0 {
		return fmt.Errorf("unregistering a buffer ring: %w", registerError(errno))
	}
	return b.unmap()
}

// unmap gives the places back, once.
func (b *BufRing) unmap() error {
	if b.raw == nil {
		return nil
	}
	raw := b.raw
	b.raw, b.entries, b.word = nil, nil, nil
	return unmapMemory(raw)
}

// Segments are the pieces of buffers that one receive completion carries, in the order of the bytes.
//
//	for s := br.Segments(c); s.Next(); {
//		use(s.Data, s.Buffer)
//	}
type Segments struct {
	Data   []byte // what was received into this buffer; empty if the completion carries a buffer but no bytes
	Buffer int32
	Ours   bool // the buffer is ours now; false: incremental, the kernel goes on receiving into the rest of it

	b     *BufRing
	left  uint32
	place uint16
	more  bool // FlagBufMore
	any   bool // the first buffer is still to come
}

// Segments reads completion c, which need not carry a buffer. Every completion of a receive must be read this way exactly
// once, also one of a connection that is gone: this is what takes the buffers from the kernel.
func (b *BufRing) Segments(c *CQE) Segments {
	id, any := c.Buffer()
	if !any {
		return Segments{}
	}
	if int(id) >= len(b.order) {
		panic(fmt.Sprintf("ring: completion with buffer id %d of group %d, which has %d", id, b.group, len(b.order)))
	}
	return Segments{b: b, left: uint32(max(c.Res, 0)), place: id, more: c.Flags&FlagBufMore != 0, any: true}
}

// Next goes to the next piece; false when there is none.
func (s *Segments) Next() bool {
	if !s.any && s.left == 0 {
		return false
	}
	s.any = false
	b, p := s.b, s.place
	n := b.order[p]
	if n == noBuffer {
		panic(fmt.Sprintf("ring: completion with buffer id %d of group %d, which the kernel does not have", p, b.group))
	}
	start := uint32(0)
	if b.inc {
		start = b.used[p]
	}
	size := min(s.left, b.size-start)
	from := int(n)*int(b.size) + int(start)
	s.Buffer, s.Data = n, b.mem[from:from+int(size):from+int(size)]
	s.left -= size
	s.place = (p + 1) & b.mask
	s.Ours = !b.inc || s.left > 0 || !s.more
	if s.Ours {
		b.order[p], b.owned[n] = noBuffer, false
		b.kernel--
	} else {
		b.used[p] = start + size
	}
	return true
}
