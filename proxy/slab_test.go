package proxy

import (
	"bytes"
	"testing"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

// contents reads a queue the way a send would.
func contents(b *slab, q *segQueue) []byte {
	var out []byte
	iov := make([]unix.Iovec, len(b.segs))
	count, size := q.gather(b, iov)
	for i, id := 0, q.head; i < count; i, id = i+1, b.segs[id].next {
		data := b.bytes(id)
		if iov[i].Base != &data[0] || int(iov[i].Len) != len(data) {
			return nil
		}
		out = append(out, data...)
	}
	if size != len(out) {
		return nil
	}
	return out
}

// pattern makes n bytes that differ from their neighbours and from other calls'.
func pattern(from, n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte((from + i) * 167 >> 3)
	}
	return p
}

func TestSegQueueAgainstBytes(t *testing.T) {
	memory := newTestSlab(t, 12)
	rapid.Check(t, func(t *rapid.T) {
		queues := [2]segQueue{newSegQueue(), newSegQueue()}
		var models [2][]byte
		written := 0
		defer func() {
			for i := range queues {
				queues[i].drop(memory)
			}
		}()
		sizes := rapid.OneOf(rapid.IntRange(1, 40), rapid.IntRange(1, 3*segSize), rapid.SampledFrom([]int{1, segSize - 1, segSize, segSize + 1}))
		for range rapid.IntRange(1, 50).Draw(t, "steps") {
			i := rapid.IntRange(0, 1).Draw(t, "queue")
			q, model := &queues[i], &models[i]
			switch rapid.IntRange(0, 5).Draw(t, "step") {
			case 0: // as the kernel leaves a received segment
				id := memory.get(ownKernel)
				if id == noSeg {
					continue
				}
				off := rapid.IntRange(0, segSize-1).Draw(t, "off")
				end := rapid.IntRange(off+1, segSize).Draw(t, "end")
				g := memory.move(id, ownKernel, ownFlow)
				g.off, g.end = uint16(off), uint16(end)
				copy(memory.bytes(id), pattern(written, end-off))
				q.push(memory, id)
				*model = append(*model, pattern(written, end-off)...)
				written += end - off
			case 1, 2:
				data := pattern(written, sizes.Draw(t, "write"))
				room := q.room(memory) + memory.free*segSize
				n := q.write(memory, data)
				if n != min(len(data), room) {
					t.Fatalf("write took %d of %d bytes, with room for %d", n, len(data), room)
				}
				*model = append(*model, data[:n]...)
				written += n
			case 3:
				data := pattern(written, sizes.Draw(t, "fill"))
				room := q.room(memory)
				n := q.fill(memory, data)
				if n != min(len(data), room) {
					t.Fatalf("fill took %d of %d bytes, with room for %d", n, len(data), room)
				}
				*model = append(*model, data[:n]...)
				written += n
			case 4:
				n := rapid.IntRange(0, len(*model)).Draw(t, "consume")
				q.consume(memory, n)
				*model = (*model)[n:]
			case 5:
				q.drop(memory)
				*model = nil
			}
			owned := 0
			for i := range queues {
				owned += checkQueue(t, memory, &queues[i])
				if got := contents(memory, &queues[i]); !bytes.Equal(got, models[i]) {
					t.Fatalf("queue %d holds %d bytes, want %d, or others", i, len(got), len(models[i]))
				}
			}
			checkSlab(t, memory)
			if owned+memory.free != len(memory.segs) {
				t.Fatalf("%d segments queued and %d free of %d", owned, memory.free, len(memory.segs))
			}
		}
	})
}

func TestGatherTakesAsMuchAsTheVectorHolds(t *testing.T) {
	b := newTestSlab(t, 8)
	q := newSegQueue()
	data := pattern(0, 5*segSize+10)
	if n := q.write(b, data); n != len(data) {
		t.Fatalf("write took %d bytes", n)
	}
	var iov [3]unix.Iovec
	if count, size := q.gather(b, iov[:]); count != 3 || size != 3*segSize {
		t.Errorf("gather used %d entries for %d bytes", count, size)
	}
	q.drop(b)
	if count, size := q.gather(b, iov[:]); count != 0 || size != 0 {
		t.Errorf("gather found %d bytes in %d entries of an empty queue", size, count)
	}
}

func TestSegmentsHaveOneOwner(t *testing.T) {
	b := newTestSlab(t, 2)
	id := b.get(ownKernel)
	expectPanic(t, "returned by another than its owner", func() { b.put(id, ownFlow) })
	expectPanic(t, "taken from another than its owner", func() { b.move(id, ownFlow, ownKernel) })
	b.move(id, ownKernel, ownFlow)
	expectPanic(t, "taken twice", func() { b.move(id, ownKernel, ownFlow) })
	b.put(id, ownFlow)
	expectPanic(t, "returned twice", func() { b.put(id, ownFlow) })
	checkSlab(t, b)

	b.segs[b.head].owner = ownFlow // as if somebody had kept a segment that was returned
	expectPanic(t, "a used segment in the free list", func() { b.get(ownFlow) })
	b.segs[b.head].owner = ownFree
}

func TestSlabGivesEverySegmentOnceAndThenNone(t *testing.T) {
	b := newTestSlab(t, 5)
	seen := map[int32]bool{}
	for range 5 {
		id := b.get(ownFlow)
		if id == noSeg || seen[id] {
			t.Fatalf("got segment %d after %v", id, seen)
		}
		seen[id] = true
		if g := b.segs[id]; g.off != 0 || g.end != 0 || g.next != noSeg {
			t.Errorf("segment %d is not empty: %+v", id, g)
		}
		if got := (*byte)(b.addr(id)); got != &b.mem[int(id)*segSize] {
			t.Errorf("address of segment %d is %p", id, got)
		}
	}
	if id := b.get(ownFlow); id != noSeg {
		t.Errorf("a sixth segment of five: %d", id)
	}
	var last int32
	for id := range seen {
		b.segs[id].off, b.segs[id].end = 3, 9
		b.put(id, ownFlow)
		last = id
	}
	if id := b.get(ownFlow); id != last {
		t.Errorf("got segment %d, want the one returned last, %d", id, last)
	} else if g := b.segs[id]; g.off != 0 || g.end != 0 {
		t.Errorf("a reused segment is not empty: %+v", g)
	}
}

func TestSlabAndQueueAllocateNothing(t *testing.T) {
	b := newTestSlab(t, 16)
	q := newSegQueue()
	data := pattern(0, 10*segSize)
	iov := make([]unix.Iovec, 64)
	if n := testing.AllocsPerRun(100, func() {
		q.write(b, data)
		q.gather(b, iov)
		q.consume(b, len(data)/3)
		q.fill(b, data)
		q.drop(b)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
