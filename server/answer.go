package server

import "math/bits"

// An answerer turns requests, which a codec.Scanner has passed, into answers. It is constant; what it must remember of a
// connection is in that connection's line.
type answerer struct {
	echo  bool
	tail  []byte // of every answer after its Seq, LF included, unless echo
	share uint64 // a draw of 53 bits below it is a NAK
	seed  uint64
}

func newAnswerer(o Options) answerer {
	a := answerer{echo: o.Reply == ReplyEcho, share: uint64(o.NakShare * (1 << 53)), seed: o.Seed, tail: []byte("\n")}
	if !a.echo && o.Reply != ReplyEmpty {
		a.tail = []byte(" " + o.Reply + "\n")
	}
	return a
}

// line is what an answerer knows of a connection between two chunks.
type line struct {
	random rng  // draws one verdict per request, if there is a share of NAKs
	part   part // of the unfinished request, unless echo
	nak    bool // the verdict on the unfinished request
}

// part is where in a request line the next byte lies.
type part uint8

const (
	inType   part = 0 // to 2: that byte of the type
	inBlanks part = 3
	inSeq    part = 4
	inData   part = 5
)

// decide draws the verdict on the request that begins.
func (a *answerer) decide(l *line) {
	if a.share != 0 {
		l.nak = l.random.next()>>11 < a.share
	}
}

// inPlace turns requests into answers that echo them by overwriting their types. off bytes of b's first line came before
// b, ends are the offsets just after each LF. It returns how many of the requests that end in b are refused.
func (a *answerer) inPlace(b []byte, off uint64, ends []int32, l *line) (naks uint64) {
	start := int32(0)
	if off > 0 {
		stamp(b, off, l.nak)
		if len(ends) == 0 {
			return 0
		}
		naks = one(l.nak)
		start, ends = ends[0], ends[1:]
	}
	if a.share == 0 {
		for _, end := range ends {
			t := b[start : start+3]
			t[0], t[1], t[2] = 'A', 'C', 'K'
			start = end
		}
	} else {
		for _, end := range ends {
			a.decide(l)
			stamp(b[start:end], 0, l.nak)
			naks += one(l.nak)
			start = end
		}
	}
	if int(start) < len(b) {
		a.decide(l)
		stamp(b[start:], 0, l.nak)
	}
	return naks
}

// stamp writes the type of an answer over that of its request, of which off bytes came before b.
func stamp(b []byte, off uint64, nak bool) {
	verdict := "ACK"
	if nak {
		verdict = "NAK"
	}
	if off < uint64(len(verdict)) {
		copy(b, verdict[off:])
	}
}

func one(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}

// compose appends the answers to the requests b to dst, of which ends are the offsets just after each LF, and replaces
// ends by the offsets in dst just after each answer. It returns dst and how many of these requests are refused.
func (a *answerer) compose(dst, b []byte, ends []int32, l *line) (out []byte, naks uint64) {
	start := 0
	for i, end := range ends {
		dst = a.answerTo(dst, b[start:end], l)
		naks += one(l.nak)
		start, ends[i] = int(end), int32(len(dst))
	}
	if start < len(b) {
		dst = a.answerTo(dst, b[start:], l)
	}
	return dst, naks
}

// answerTo appends what p, a request or a part of one, contributes to the answer.
func (a *answerer) answerTo(dst, p []byte, l *line) []byte {
	i := 0
	if l.part < inBlanks {
		if l.part == inType {
			a.decide(l)
			if l.nak {
				dst = append(dst, "NAK "...)
			} else {
				dst = append(dst, "ACK "...)
			}
		}
		i = min(int(inBlanks-l.part), len(p))
		l.part += part(i)
	}
	if l.part == inBlanks {
		for i < len(p) && isBlank(p[i]) {
			i++
		}
		if i < len(p) {
			l.part = inSeq
		}
	}
	if l.part == inSeq {
		seq := i
		for i < len(p) && isSeq(p[i]) {
			i++
		}
		dst = append(dst, p[seq:i]...)
		if i < len(p) {
			l.part = inData
		}
	}
	if l.part == inData && p[len(p)-1] == '\n' {
		dst = append(dst, a.tail...)
		l.part = inType
	}
	return dst
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' || c == '\r' }
func isSeq(c byte) bool   { return c-'0' <= 9 || c == '-' }

// An rng is a small, fast generator of pseudo-random numbers (splitmix64: Steele, Lea and Flood, OOPSLA 2014). Its
// sequences are fixed for ever, as tests and scripts rely on what a seed gives.
type rng uint64

// newRng makes generator number stream of a connection. Both numbers pass through the mixer: seeds that follow each other
// give unrelated sequences.
func newRng(seed, connection, stream uint64) rng {
	r := rng(seed)
	r = rng(r.next() ^ connection)
	return rng(rng(r.next() ^ stream).mixed())
}

func (r *rng) next() uint64 {
	*r += 0x9e3779b97f4a7c15
	return r.mixed()
}

func (r rng) mixed() uint64 {
	z := uint64(r)
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// below returns a number from 0 to n-1. The bias of the multiplication, under n/2⁶⁴, does not matter here.
func (r *rng) below(n int) int {
	high, _ := bits.Mul64(r.next(), uint64(n))
	return int(high)
}
