package proxy

// chunkSlots is how many sessions are made at a time: the table grows with the connections and its sessions never move.
const chunkSlots = 64

const (
	genBits = 24
	genMask = 1<<genBits - 1
)

// ref names a session in the kernel's care: user data of a completion, data of an epoll event.
//
//	op:8 | generation:24 | slot:32
//
// The generation tells a stale event for an earlier tenant of the slot from one that is meant.
type ref uint64

func newRef(op uint8, gen uint32, slot int32) ref {
	return ref(op)<<56 | ref(gen&genMask)<<32 | ref(uint32(slot))
}

func (r ref) op() uint8   { return uint8(r >> 56) }
func (r ref) gen() uint32 { return uint32(r>>32) & genMask }
func (r ref) slot() int32 { return int32(uint32(r)) }

// table holds a loop's sessions by slot. Free slots are reused last in, first out.
type table struct {
	chunks   [][]session
	freeHead int32
	used     int
	genFirst uint32 // generation of a new slot; tests start near the wrap
}

func newTable() table { return table{freeHead: -1} }

func (t *table) at(slot int32) *session { return &t.chunks[slot/chunkSlots][slot%chunkSlots] }

// get takes a free slot. Its session has its slot and generation, all else is zero.
func (t *table) get() *session {
	if t.freeHead < 0 {
		t.grow()
	}
	s := t.at(t.freeHead)
	t.freeHead = s.nextFree
	t.used++
	*s = session{slot: s.slot, gen: s.gen, live: true}
	return s
}

func (t *table) grow() {
	first := int32(len(t.chunks) * chunkSlots)
	chunk := make([]session, chunkSlots)
	for i := range chunk {
		chunk[i].slot = first + int32(i)
		chunk[i].gen = t.genFirst
		chunk[i].nextFree = first + int32(i) + 1
	}
	chunk[chunkSlots-1].nextFree = t.freeHead
	t.chunks = append(t.chunks, chunk)
	t.freeHead = first
}

// put frees the slot and raises its generation: from here on events that name the old one are stale.
func (t *table) put(s *session) {
	*s = session{slot: s.slot, gen: (s.gen + 1) & genMask, nextFree: t.freeHead}
	t.freeHead = s.slot
	t.used--
}

// find returns the session that r means, or nil when r is stale.
func (t *table) find(r ref) *session {
	slot := r.slot()
	if int(slot) >= len(t.chunks)*chunkSlots || slot < 0 {
		return nil
	}
	if s := t.at(slot); s.live && s.gen == r.gen() {
		return s
	}
	return nil
}

// each visits the live sessions; visit may free the one it is given.
func (t *table) each(visit func(*session)) {
	for _, chunk := range t.chunks {
		for i := range chunk {
			if chunk[i].live {
				visit(&chunk[i])
			}
		}
	}
}
