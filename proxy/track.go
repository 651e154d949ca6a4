package proxy

import (
	"math/bits"
	"math/rand/v2"
	"slices"
	"unsafe"
)

// tracker remembers one connection's outstanding requests, so that an answer finds its request: the oldest one with its
// Seq. In the order of arrival they form a list, and an answer is first looked for among the oldest of it, for servers
// mostly answer in order. Only an answer that is not there makes the tracker put its requests into an index by Seq, where
// all that follow are found at constant cost, in any order and however many share a Seq.
//
// A tracker without requests holds no table: it borrows one from its loop's pool and gives it back with the last request.
//
// It also remembers the Seqs of the latest answers it has matched, to tell an answer that comes twice from one that nobody asked
// for. A Seq that is used again is outstanding first, so its answer matches.
type tracker struct {
	pool    *trackerPool
	table   *trackTable // nil exactly while there is no request
	matches uint        // answers matched so far
	latest  [trackLatest]int64
	begun   [2][]byte // what is kept of either side's unfinished line, for its excerpt
}

const (
	trackSlots  = 8       // of the smallest table; each class has twice as many as the one below
	trackScan   = 8       // how many of the oldest requests are tried before the index
	trackLatest = 16      // matched answers remembered
	trackSpare  = 8 << 20 // bytes of unused tables that a pool keeps: a full chain of tables up to 65536 requests
)

// trackEntry is one request. Entries are named by their place in the table, from 1; 0 means none.
type trackEntry struct {
	seq, start int64
	size       uint64
	next, prev uint32 // in order of arrival; next also links free entries
	twin       uint32 // of an indexed entry: the next one with the same Seq
	indexed    bool
}

// trackBucket is all indexed requests of one Seq, linked by twin. first is 0 in a free bucket.
type trackBucket struct{ first, last uint32 }

// trackTable holds the requests. entries[0] is none of them: it closes the list to a ring, so that its next is the oldest
// and its prev the newest. The indexed entries are a beginning of the list. At most half of index is in use, and it is all
// free when there is no request.
type trackTable struct {
	entries []trackEntry
	index   []trackBucket // nil until it is needed
	class   int
	live    int
	used    uint32 // entries that were ever taken, without [0]
	free    uint32 // first of the list of free ones
	data    []byte // an excerpt for each entry; nil until one is kept
}

// trackerPool has the trackers of one loop that no connection needs at the moment, the tables that these do not need, and
// their common bound.
type trackerPool struct {
	max   int
	spare int // bytes of all tables in free
	free  [][]*trackTable
	idle  []*tracker // of connections that have ended
	excerpts
	seed [2]uint64 // secret, or a client could choose Seqs that all fall into one bucket
}

// newTrackerPool returns a pool whose trackers each remember at most max requests, max below 2^31.
func newTrackerPool(max int) *trackerPool {
	classes := 1
	for trackSlots<<(classes-1) < max {
		classes++
	}
	return &trackerPool{
		max:  max,
		free: make([][]*trackTable, classes),
		seed: [2]uint64{rand.Uint64(), rand.Uint64() | 1},
	}
}

// tracker returns a tracker without requests.
func (p *trackerPool) tracker() *tracker {
	if n := len(p.idle); n > 0 {
		k := p.idle[n-1]
		p.idle = p.idle[:n-1]
		return k
	}
	return &tracker{pool: p}
}

// release takes back a tracker, which forgets everything. There are as many as there have been connections at once.
func (p *trackerPool) release(k *tracker) {
	k.reset()
	*k = tracker{pool: p, begun: [2][]byte{k.begun[client][:0], k.begun[server][:0]}}
	p.idle = append(p.idle, k)
}

// newTracker returns a tracker with a pool of its own.
func newTracker(max int) *tracker { return newTrackerPool(max).tracker() }

// add remembers a request; false when there are too many.
func (k *tracker) add(seq, start int64, size uint64) bool {
	t := k.table
	switch {
	case t == nil:
		if k.pool.max <= 0 {
			return false
		}
		t = k.pool.get(0)
		k.table = t
	case t.live >= k.pool.max:
		return false
	case t.free == 0 && int(t.used) == trackSlots<<t.class:
		t = k.pool.grow(t)
		k.table = t
	}
	i := t.free
	if i != 0 {
		t.free = t.entries[i].next
	} else {
		t.used++
		i = t.used
	}
	newest := t.entries[0].prev
	t.entries[i] = trackEntry{seq: seq, start: start, size: size, prev: newest}
	t.entries[newest].next = i
	t.entries[0].prev = i
	t.live++
	return true
}

// match forgets the oldest request with this Seq and returns what add was given; false when there is none.
func (k *tracker) match(seq int64) (start int64, size uint64, ok bool) {
	t := k.table
	if t == nil {
		return 0, 0, false
	}
	i := t.entries[0].next
	for tries := trackScan; i != 0 && t.entries[i].seq != seq; i = t.entries[i].next {
		if tries--; tries == 0 {
			i = t.lookUp(k.pool, seq)
			break
		}
	}
	if i == 0 {
		return 0, 0, false
	}
	e := &t.entries[i]
	start, size = e.start, e.size
	if t.data != nil {
		k.recall(t, i)
	}
	if e.indexed {
		t.unindex(k.pool, i)
	}
	t.entries[e.prev].next = e.next
	t.entries[e.next].prev = e.prev
	e.next, t.free = t.free, i
	k.latest[k.matches%trackLatest] = seq
	k.matches++
	if t.live--; t.live == 0 {
		k.pool.put(t)
		k.table = nil
	}
	return start, size, true
}

// answered says whether one of the latest answers matched had this Seq.
func (k *tracker) answered(seq int64) bool {
	return slices.Contains(k.latest[:min(k.matches, trackLatest)], seq)
}

// len returns the number of outstanding requests.
func (k *tracker) len() int {
	if k.table == nil {
		return 0
	}
	return k.table.live
}

// each calls f with every outstanding request, the oldest first; its excerpt, if any is kept, is the pool's latest one then. f
// must not change the tracker.
func (k *tracker) each(f func(seq, start int64, size uint64)) {
	t := k.table
	if t == nil {
		return
	}
	for i := t.entries[0].next; i != 0; i = t.entries[i].next {
		if t.data != nil {
			k.recall(t, i)
		}
		f(t.entries[i].seq, t.entries[i].start, t.entries[i].size)
	}
}

// reset forgets all requests.
func (k *tracker) reset() {
	if k.table != nil {
		clear(k.table.index)
		k.pool.put(k.table)
		k.table = nil
	}
}

// lookUp returns the oldest request with this Seq, after completing the index, or 0.
func (t *trackTable) lookUp(p *trackerPool, seq int64) uint32 {
	if t.index == nil {
		t.index = make([]trackBucket, 2*trackSlots<<t.class)
	}
	last := t.entries[0].prev
	for last != 0 && !t.entries[last].indexed {
		last = t.entries[last].prev
	}
	for i := t.entries[last].next; i != 0; i = t.entries[i].next {
		e := &t.entries[i]
		e.indexed, e.twin = true, 0
		if b := t.bucket(p, e.seq); b.first == 0 {
			b.first, b.last = i, i
		} else {
			t.entries[b.last].twin = i
			b.last = i
		}
	}
	return t.bucket(p, seq).first
}

// bucket returns the bucket of seq, or the free one where it belongs.
func (t *trackTable) bucket(p *trackerPool, seq int64) *trackBucket {
	return &t.index[t.place(p, seq)]
}

func (t *trackTable) place(p *trackerPool, seq int64) uint {
	mask := uint(len(t.index) - 1)
	at := p.hash(seq) & mask
	for t.index[at].first != 0 && t.entries[t.index[at].first].seq != seq {
		at = (at + 1) & mask
	}
	return at
}

// unindex takes entry i, the oldest of its Seq, out of the index.
func (t *trackTable) unindex(p *trackerPool, i uint32) {
	hole := t.place(p, t.entries[i].seq)
	if twin := t.entries[i].twin; twin != 0 {
		t.index[hole].first = twin
		return
	}
	// Close the gap, lest a search ends at it: what stands behind it moves up unless it would leave its own place.
	mask := uint(len(t.index) - 1)
	for at := (hole + 1) & mask; t.index[at].first != 0; at = (at + 1) & mask {
		home := p.hash(t.entries[t.index[at].first].seq) & mask
		if (at-home)&mask >= (at-hole)&mask {
			t.index[hole] = t.index[at]
			hole = at
		}
	}
	t.index[hole] = trackBucket{}
}

func (p *trackerPool) hash(seq int64) uint {
	hi, lo := bits.Mul64(uint64(seq)^p.seed[0], p.seed[1])
	return uint(hi ^ lo)
}

func (t *trackTable) bytes() int {
	return len(t.entries)*int(unsafe.Sizeof(trackEntry{})) + len(t.index)*int(unsafe.Sizeof(trackBucket{})) + len(t.data)
}

// get returns an empty table that has trackSlots<<class entries.
func (p *trackerPool) get(class int) *trackTable {
	free := p.free[class]
	if n := len(free); n > 0 {
		t := free[n-1]
		free[n-1] = nil
		p.free[class] = free[:n-1]
		p.spare -= t.bytes()
		return t
	}
	return &trackTable{class: class, entries: make([]trackEntry, trackSlots<<class+1)}
}

// put takes back a table whose index is all free. Where that are too many, larger ones go: a smaller one is needed again sooner,
// and without end there would be garbage if what a flood has left kept the small ones out.
func (p *trackerPool) put(t *trackTable) {
	for class := len(p.free) - 1; p.spare+t.bytes() > trackSpare; {
		if class <= t.class {
			return
		}
		n := len(p.free[class])
		if n == 0 {
			class--
			continue
		}
		p.spare -= p.free[class][n-1].bytes()
		p.free[class][n-1] = nil
		p.free[class] = p.free[class][:n-1]
	}
	t.live, t.used, t.free = 0, 0, 0
	t.entries[0] = trackEntry{}
	p.spare += t.bytes()
	p.free[t.class] = append(p.free[t.class], t)
}

// grow moves a full table's requests to one of twice the size, where they keep their places. They are indexed anew when
// that is needed again.
func (p *trackerPool) grow(t *trackTable) *trackTable {
	bigger := p.get(t.class + 1)
	copy(bigger.entries, t.entries)
	if t.data != nil {
		if bigger.data == nil {
			bigger.data = make([]byte, len(t.data)/len(t.entries)*len(bigger.entries))
		}
		copy(bigger.data, t.data)
	}
	bigger.live, bigger.used = t.live, t.used
	for i := range bigger.entries[:t.used+1] {
		bigger.entries[i].indexed = false
	}
	clear(t.index)
	p.put(t)
	return bigger
}
