package stats

import (
	"math/bits"
	"sync/atomic"
)

// The buckets are log-linear, after HdrHistogram (Gil Tene): every power of two is cut into subBuckets equal parts. A
// bucket is at most 1/1024 of its values wide, so any three digits of a value survive; below 2048 ns every ns has its own.
const (
	subBits    = 10
	subBuckets = 1 << subBits
	topBits    = 36 // values below 2^36 ns = 68.7 s have buckets; the last takes all above
	buckets    = (topBits - subBits + 1) * subBuckets
	valueMax   = 1<<topBits - 1
)

// bucketOf returns the index of the bucket of v, which must be in [0, valueMax].
func bucketOf(v uint64) uint {
	e := uint(bits.Len64(v|(subBuckets<<1-1))) - (subBits + 1)
	return e*subBuckets + uint(v>>e)
}

// bucketRange returns the lowest and the highest value of bucket i.
func bucketRange(i int) (lo, hi int64) {
	if i < 2*subBuckets {
		return int64(i), int64(i)
	}
	e := uint(i/subBuckets - 1)
	lo = int64(i-int(e)*subBuckets) << e
	return lo, lo + 1<<e - 1
}

// bucket is one count twice, side by side in one cache line: own is the writer's and plain, open is what readers see. They
// differ exactly while the bucket is in the histogram's list of changed ones.
type bucket struct {
	own  uint64
	open atomic.Uint64
}

// changedMax is how many buckets may wait for Publish; a turn rarely touches more.
const changedMax = 256

// Histogram counts durations. It has one writer, which calls Record and Publish; readers use Distribution.Add. Recording
// is two plain additions on one cache line: no atomic operation, for that is a locked one on amd64. Publish stores the
// changed buckets, so a batch of answers that took the same time costs one store. The memory of values that never occur
// is never touched, and a page of it costs nothing.
type Histogram struct {
	sum     uint64
	max     uint64
	n       int
	changed [changedMax]uint32
	_       pad
	openSum atomic.Uint64
	openMax atomic.Uint64
	buckets [buckets]bucket
}

// Record counts a duration in ns. Negative ones count as 0; those above 68.7 s fall into the last bucket, but the sum and
// the maximum have them as they are.
func (h *Histogram) Record(ns int64) {
	v := uint64(max(ns, 0))
	h.sum += v
	h.max = max(h.max, v)
	i := bucketOf(min(v, valueMax))
	b := &h.buckets[i]
	if b.own == b.open.Load() {
		if h.n == changedMax {
			h.Publish()
		}
		h.changed[h.n] = uint32(i)
		h.n++
	}
	b.own++
}

// Publish makes everything recorded so far visible to readers; the loop calls it once per turn.
func (h *Histogram) Publish() {
	if h.n == 0 {
		return
	}
	if h.max != h.openMax.Load() {
		h.openMax.Store(h.max)
	}
	h.openSum.Store(h.sum)
	for _, i := range h.changed[:h.n] {
		b := &h.buckets[i]
		b.open.Store(b.own)
	}
	h.n = 0
}
