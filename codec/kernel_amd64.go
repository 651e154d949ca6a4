//go:build !noasm

package codec

import (
	"math/bits"

	"golang.org/x/sys/cpu"
)

// available lists the implementations that can run here, fastest first. The
// cpu package reports AVX2 and AVX-512 only if the operating system saves
// their registers.
func available() []kernelID {
	var ids []kernelID
	x := &cpu.X86
	general := x.HasBMI1 && x.HasBMI2 && x.HasPOPCNT
	if general && x.HasAVX512F && x.HasAVX512BW && x.HasAVX512VL && x.HasAVX512VBMI2 {
		ids = append(ids, avx512)
	}
	if general && x.HasAVX2 {
		ids = append(ids, avx2)
	}
	return append(ids, portable)
}

// blocks is what goes into a kernel and what comes out. A kernel takes blocks
// of 64 bytes from at on, as long as they fit before stop and are proven
// valid, given the state at their begin; a state that the next block has yet
// to settle is carried. The kernels address the fields by name.
//
// The three bytes before at must lie in the chunk: kernels look back.
type blocks struct {
	chunk *byte
	at    int
	stop  int

	// Carried from block to block; at most one of the four is set.
	begins uint64 // bit i: the separator after a type is due at byte i, so its line begins at byte i-3
	space  uint64 // 1: the white space after the type may go on
	digit  uint64 // 1: Seq may go on
	minus  uint64 // 1: Seq has its sign and wants its first digit

	lines uint64 // LFs taken
	naks  uint64 // types taken that are NAK; the last line may be unfinished
	lf    int    // the last LF lies in the 256 bytes before this offset, if any was taken
	ends  *int32 // where the offset after each LF goes, or nil
	//lint:ignore U1000 the kernels keep it between their loops
	full int // blocks still to go through the loop that knows the minus sign
}

// The kernels. They never write to the chunk and keep no pointer.

//go:noescape
func requests512(b *blocks)

//go:noescape
func answers512(b *blocks)

//go:noescape
func requests256(b *blocks)

//go:noescape
func answers256(b *blocks)

// run lets the chosen kernel work on b.
func (s *Scanner) run(b *blocks) {
	switch {
	case kernel == avx512 && s.dir == Requests:
		requests512(b)
	case kernel == avx512:
		answers512(b)
	case s.dir == Requests:
		requests256(b)
	default:
		answers256(b)
	}
}

const (
	// lookBack is how many bytes of the chunk must precede a kernel's first block:
	// a type has three, and so has the begin of a cut character.
	lookBack = 3
	// leastVector is the shortest chunk that is worth a kernel's start.
	leastVector = 160
	// slowLeast and slowMost limit how many bytes go line by line after a
	// kernel met a bad line. The number doubles with each kernel run that was
	// too short to have paid, so that a stream of bad lines costs no more than
	// line by line; a run pays from about manyLines lines or farBytes bytes on.
	slowLeast = 64
	slowMost  = 1 << 15
	manyLines = 32
	farBytes  = 4096
)

// scanBlocks is scanLines with a kernel: by lines up to a place where a kernel can
// start, and by lines for what it leaves: the rest of b, or a bad line.
func (s *Scanner) scanBlocks(b []byte, at int, p *pass) (int, Want) {
	if at < lookBack {
		var want Want
		if at, want = s.scanLines(b[:lookBack], at, p); want != WantNone {
			return at, want
		}
	}
	at = s.vector(b, at, p)
	return s.scanLines(b, at, p)
}

// vector lets the kernel take what it can of b from at on and turns what it
// carries back into the scanner's state. It returns the offset reached.
func (s *Scanner) vector(b []byte, at int, p *pass) int {
	k := blocks{
		chunk:  &b[0],
		at:     at,
		stop:   len(b),
		begins: beginsOf[s.state],
		space:  flag(s.state == stSpace),
		digit:  flag(s.state == stDigit),
		minus:  flag(s.state == stMinus),
	}
	if p.ends != nil {
		k.ends = &p.ends[p.lines]
	}
	s.run(&k)
	s.learn(&k, k.at-at)
	if k.at == at {
		return at
	}
	// The kernel counts a NAK at its type, the pass at its LF.
	naks := k.naks
	if s.state > stType {
		naks += uint64(s.nak)
	}
	if k.lines > 0 {
		p.lines += k.lines
		p.begin = lastLine(b[:k.lf])
	}
	if k.begins != 0 { // the type is unchecked: go back to it
		s.state = s.start()
		p.naks += naks
		return p.begin
	}
	if p.begin >= 0 {
		s.nak = nakOf(b[p.begin])
	}
	switch {
	case k.space != 0:
		s.state = stSpace
	case k.minus != 0:
		s.state = stMinus
	case k.digit != 0:
		s.state = stDigit
	default:
		s.state = stData
		k.at -= openRune(b[:k.at])
	}
	p.naks += naks - uint64(s.nak)
	return k.at
}

// learn sets how much goes line by line after kernel run k, which took n bytes.
func (s *Scanner) learn(k *blocks, n int) {
	switch {
	case k.stop-k.at < 64: // met no bad line
		s.penalty = 0
		return
	case k.lines >= manyLines || n >= farBytes:
		s.penalty = slowLeast
	default:
		s.penalty = min(slowMost, max(slowLeast, 2*s.penalty))
	}
	s.slow = s.penalty
}

// beginsOf is blocks.begins for the states at the begin of a line.
var beginsOf = [stateCount]uint64{
	stRequests: 1 << 3, stAnswers: 1 << 3,
	stR: 1 << 2, stA: 1 << 2, stN: 1 << 2,
	stRE: 1 << 1, stAC: 1 << 1, stNA: 1 << 1,
	stType: 1 << 0,
}

func flag(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}

// lastLine returns the offset after the last LF of b, which is within the
// last 256 bytes.
func lastLine(b []byte) int {
	for at := len(b); ; at -= 8 {
		if lf := zeros(load(b[at-8:]) ^ '\n'*ones); lf != 0 {
			return at - bits.LeadingZeros64(lf)/8
		}
	}
}

// openRune returns how many bytes at the end of b, 0 to 3, begin a UTF-8
// sequence that is unfinished or has no right first byte: what a kernel
// settles with the bytes that follow.
func openRune(b []byte) int {
	n := len(b)
	switch {
	case b[n-1] >= 0xc0:
		return 1
	case b[n-2] >= 0xe0:
		return 2
	case b[n-3] >= 0xf0:
		return 3
	}
	return 0
}
