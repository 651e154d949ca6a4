package proxy

import "hash/maphash"

// addrKey is an address as the gate tells them apart. It holds no pointer, so the garbage collector does not look at what is
// remembered.
type addrKey [16]byte

// addrTable is the addresses that a shard of the gate remembers: a hash table whose entries are one slice, linked by index. It takes
// as much memory as the most addresses that it has had at once, however many have come and gone. A map does not do that: its tables
// split whenever one of them happens to be full, and are never joined again.
//
// Entries are named by their place, from 1; 0 means none. Every entry is in exactly one list: that of its hash, or the free one.
type addrTable struct {
	seed    maphash.Seed
	heads   []int32 // first entry by hash; a power of two of them, at least as many as there are entries
	entries []gateEntry
	free    int32 // first of the free ones
	used    int
	hand    int // where the next look around begins
}

// gateEntry is one address. It says nothing any more once conns is 0 and full has passed.
type gateEntry struct {
	key   addrKey
	next  int32 // of its list
	conns int32 // -1 = free
	full  int64 // ns of the loops' clock when the bucket is full
}

func newAddrTable(seed maphash.Seed) addrTable { return addrTable{seed: seed, heads: make([]int32, 8)} }

// head is the beginning of the list that has key, if any has.
func (t *addrTable) head(key addrKey) *int32 {
	return &t.heads[maphash.Comparable(t.seed, key)>>gateShardBits&uint64(len(t.heads)-1)]
}

// find returns the entry of key, or nil. It is good until the next add.
func (t *addrTable) find(key addrKey) *gateEntry {
	for i := *t.head(key); i != 0; i = t.entries[i-1].next {
		if e := &t.entries[i-1]; e.key == key {
			return e
		}
	}
	return nil
}

// add makes an entry for key, which has none.
func (t *addrTable) add(key addrKey) *gateEntry {
	i := t.free
	if i != 0 {
		t.free = t.entries[i-1].next
	} else {
		t.entries = append(t.entries, gateEntry{})
		i = int32(len(t.entries))
		if len(t.entries) > len(t.heads) {
			t.spread()
		}
	}
	t.used++
	head, e := t.head(key), &t.entries[i-1]
	*e = gateEntry{key: key, next: *head}
	*head = i
	return e
}

// spread doubles the lists. All entries but the last, which is about to be used, are in one.
func (t *addrTable) spread() {
	t.heads = make([]int32, 2*len(t.heads))
	for i := range t.entries[:len(t.entries)-1] {
		e := &t.entries[i]
		head := t.head(e.key)
		e.next, *head = *head, int32(i+1)
	}
}

// remove frees the entry of key, which has one.
func (t *addrTable) remove(key addrKey) {
	at := t.head(key)
	for t.entries[*at-1].key != key {
		at = &t.entries[*at-1].next
	}
	i := *at
	e := &t.entries[i-1]
	*at = e.next
	*e = gateEntry{next: t.free, conns: -1}
	t.free = i
	t.used--
}

// look returns the entry that the hand is at, free or not, and moves on.
func (t *addrTable) look() *gateEntry {
	if t.hand >= len(t.entries) {
		t.hand = 0
	}
	t.hand++
	return &t.entries[t.hand-1]
}
