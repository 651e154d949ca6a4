package proxy

import (
	"fmt"
	"math"
	"math/bits"
	"math/rand/v2"
	"slices"
	"strings"

	"pgregory.net/rapid"

	"fooproxy/codec"
	"fooproxy/stats"
)

// chooser decides what happens next in a simulation.
type chooser interface {
	pick(n int) int // of [0, n), all alike
}

// rapidChooser lets rapid decide, which can then shrink a failure: towards zeros.
type rapidChooser struct {
	t   *rapid.T
	bit *rapid.Generator[bool]
}

func newRapidChooser(t *rapid.T) *rapidChooser { return &rapidChooser{t: t, bit: rapid.Bool()} }

func (r *rapidChooser) pick(n int) int {
	v := 0
	for range bits.Len(uint(n - 1)) {
		v <<= 1
		if r.bit.Draw(r.t, "") {
			v |= 1
		}
	}
	return v % n
}

// seedChooser is quicker.
type seedChooser struct{ *rand.Rand }

func newSeedChooser(seed uint64) seedChooser {
	return seedChooser{rand.New(rand.NewPCG(seed, 0x73696d))}
}

func (r seedChooser) pick(n int) int { return r.IntN(n) }

// oneIn is true once in n times.
func oneIn(c chooser, n int) bool { return c.pick(n) == n-1 }

// size is from 1 to max, small ones and large ones alike.
func size(c chooser, max int) int {
	if max <= 1 {
		return max
	}
	return min(max, 1+c.pick(1<<c.pick(bits.Len(uint(max-1))+1)))
}

// simLine is one line of a stream, known by the way it was made: nothing here looks at bytes.
type simLine struct {
	typ  codec.Type // of a valid line
	seq  int64
	fits bool
	bad  int // offset in the stream of the first byte that cannot be Foo, noBad in a valid line
	end  int // offset just after the LF
}

const noBad = math.MaxInt

// simStream is what one peer has to say.
type simStream struct {
	area     int // of simText: whose stream it is
	data     []byte
	lines    []simLine
	firstBad int
}

// simArea is how many bytes of data a stream has at most.
const simArea = 28 * segSize

// simText is data that names its place: no piece of it that is longer than a few bytes is like another one. Each side of each
// connection has an area of it, so that a byte that comes to another connection or side than its own shows.
var simText = func() []byte {
	const letters = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ+-"
	r := rand.New(rand.NewPCG(0, 0x74657874))
	text := make([]byte, 2*simTotal*simArea+4*segSize)
	for i := range text {
		text[i] = letters[r.IntN(len(letters))]
	}
	return text
}()

// fill adds n bytes of data, at most 4 segments.
func (m *simStream) fill(n int) {
	at := m.area%(2*simTotal)*simArea + len(m.data)%simArea
	m.data = append(m.data, simText[at:at+n]...)
}

func (m *simStream) valid(typ codec.Type, seq int64, length int) {
	m.data = fmt.Appendf(m.data, "%v %d ", typ, seq)
	m.fill(length)
	m.data = append(m.data, '\n')
	m.lines = append(m.lines, simLine{typ: typ, seq: seq, fits: true, bad: noBad, end: len(m.data)})
}

// untracked adds a valid line whose Seq does not fit int64.
func (m *simStream) untracked(typ codec.Type) {
	m.data = fmt.Appendf(m.data, "%v 9223372036854775808\n", typ)
	m.lines = append(m.lines, simLine{typ: typ, bad: noBad, end: len(m.data)})
}

// badLines are lines that break the grammar, with the offset of the first byte that cannot be Foo. REQ stands for any type
// that the direction has, ACK for one that it has not.
var badLines = []struct {
	text string
	at   int
}{
	{"\n", 0},
	{"req 1\n", 0},
	{" REQ 1\n", 0},
	{"ACK 1\n", 0},
	{"REX 1\n", 2},
	{"REQ\n", 3},
	{"REQ1\n", 3},
	{"REQ \n", 4},
	{"REQ x and more\n", 4},
	{"REQ -\n", 5},
	{"REQ 12x\n", 6},
	{"REQ 1 \xff\n", 6},
	{"REQ 1 \xc0\xaf\n", 6},
	{"REQ 1 \xed\xa0\x80\n", 7},
	{"REQ 1 a\xe2\x82\n", 9},
}

// bad adds a bad line; before says that the offset must be below 4, or must not.
func (m *simStream) bad(c chooser, dir codec.Dir, early bool) {
	first, last := 0, len(badLines)
	for i, b := range badLines {
		if b.at < headSize {
			first = i + 1
		}
	}
	if early {
		first, last = 0, first
	}
	b := badLines[first+c.pick(last-first)]
	text := b.text
	if dir == codec.Answers {
		text = strings.NewReplacer("REQ", "ACK", "REX", "ACX", "req", "nak", "ACK", "REQ").Replace(text)
	}
	at := len(m.data) + b.at
	m.firstBad = min(m.firstBad, at)
	m.data = append(m.data, text...)
	m.lines = append(m.lines, simLine{bad: at, end: len(m.data)})
}

// emptySimStream is for what a side of connection conn has to say, which is not known yet.
func emptySimStream(conn int, dir codec.Dir) simStream {
	return simStream{area: 2*conn + int(dir-codec.Requests), firstBad: noBad}
}

// newSimStream makes up to lines lines of a side of connection conn. Bad ones come once in badRate, 0 = never.
func newSimStream(c chooser, conn int, dir codec.Dir, lines, badRate int) simStream {
	m := emptySimStream(conn, dir)
	kind := c.pick(10)
	for i := range c.pick(lines + 1) {
		typ := codec.REQ
		if dir == codec.Answers {
			typ = codec.ACK + codec.Type(c.pick(2))
		}
		switch {
		case badRate > 0 && oneIn(c, badRate):
			m.bad(c, dir, oneIn(c, 2))
		case kind == 9:
			m.valid(typ, int64(i), 3*segSize)
		case kind >= 6 && !oneIn(c, 4):
			m.valid(typ, int64(i), simLarge+size(c, segSize))
		case oneIn(c, 16):
			m.untracked(typ)
		case oneIn(c, 12):
			m.valid(typ, int64(i), size(c, 3*segSize))
		default:
			m.valid(typ, int64(i)-2, c.pick(24))
		}
	}
	if oneIn(c, 6) { // ends within a line
		m.data = append(m.data, [2]string{"REQ 77 unfinis", "ACK 77 unfinis"}[dir-codec.Requests]...)
		m.data = m.data[:len(m.data)-c.pick(14)]
	}
	return m
}

// oracle says what a session must do with the bytes that it is given, from what is known of the streams.
type oracle struct {
	cfg         *Config
	want        *stats.Local // what the loop's counters must say
	tracked     bool
	stream      [2]*simStream
	class       class
	off         [2]int // bytes given
	accepted    [2]int // bytes to be forwarded
	next        [2]int // the first line that has not ended
	nextBad     [2]int // the first line of which no bad byte was seen
	violated    [2]bool
	valid       [2]int  // lines
	outstanding []int64 // Seqs of tracked requests
}

// offer is given the next n bytes of side d's stream and returns how many of them are to be forwarded.
func (o *oracle) offer(d side, n int) int {
	m, from := o.stream[d], o.off[d]
	to := from + n
	o.off[d] = to
	if o.class == classTunnel {
		o.accepted[d] += n
		return n
	}
	if o.class == classUnknown && m.firstBad < to && (d == server || m.firstBad < headSize) {
		switch {
		case o.cfg.Arbitrary == Tunnel:
			o.decide(classTunnel)
			o.count(d, m.firstBad)
			o.accepted[d] += n
			return n
		case d == client:
			o.decide(classArbitrary)
			return m.firstBad - from
		}
	}
	if o.class == classUnknown && d == client && to >= headSize {
		o.decide(classFoo)
	}
	forwarded := o.judge(d, from, to)
	o.accepted[d] += forwarded
	o.count(d, from+forwarded)
	return forwarded
}

// pending is how many requests are outstanding.
func (o *oracle) pending() int { return max(0, o.valid[client]-o.valid[server]) }

func (o *oracle) decide(k class) {
	o.class = k
	o.want[stats.ClassFoo+stats.Counter(k-classFoo)]++
}

// judge counts the bad lines that show in [from, to) and returns how many of these bytes may pass.
func (o *oracle) judge(d side, from, to int) int {
	m := o.stream[d]
	for ; o.nextBad[d] < len(m.lines); o.nextBad[d]++ {
		l := &m.lines[o.nextBad[d]]
		if min(l.bad, l.end) >= to {
			break
		}
		if l.bad == noBad {
			continue
		}
		o.want[stats.Bad]++
		if o.cfg.OnViolation == Close {
			o.violated[d] = true
			return l.bad - from
		}
	}
	return to - from
}

// count counts the valid lines that end up to offset to.
func (o *oracle) count(d side, to int) {
	for m := o.stream[d]; o.next[d] < len(m.lines) && m.lines[o.next[d]].end <= to; o.next[d]++ {
		l := &m.lines[o.next[d]]
		if l.bad != noBad {
			continue
		}
		o.want[stats.Req+stats.Counter(l.typ-codec.REQ)]++
		o.valid[d]++
		if o.tracked {
			o.match(l)
		}
	}
}

// match keeps the list of outstanding requests.
func (o *oracle) match(l *simLine) {
	if !l.fits {
		o.want[stats.Untracked]++
		return
	}
	if l.typ == codec.REQ {
		o.outstanding = append(o.outstanding, l.seq)
		return
	}
	if i := slices.Index(o.outstanding, l.seq); i >= 0 {
		o.outstanding = slices.Delete(o.outstanding, i, i+1)
		return
	}
	o.want[stats.Unmatched]++
}
