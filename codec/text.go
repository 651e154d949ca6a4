package codec

import (
	"encoding/binary"
	"math/bits"
)

// text returns how many of the first n bytes of from, from the first on, are whole
// UTF-8 characters. It looks at 64 bytes of ASCII at a time, 8 of two-byte characters, 6 of
// three-byte ones, and one character of what is mixed.
func text(from []byte, n int) int {
	// A slice whose capacity is its length, and lengths compared with > not >=,
	// spare the compiler a fix-up at each step.
	b := from[:n:n]
	for len(b) > 8 {
		w := load(b)
		switch {
		case w&highs == 0:
			b = afterASCII(b[8:])
		case w&twoMask == twoForm && notOverlong(w):
			b = b[8:]
			for len(b) > 8 {
				if w = load(b); w&twoMask != twoForm || !notOverlong(w) {
					break
				}
				b = b[8:]
			}
		case w&threeMask == threeForm && notSpecial(w):
			b = b[6:]
			for len(b) > 8 {
				if w = load(b); w&threeMask != threeForm || !notSpecial(w) {
					break
				}
				b = b[6:]
			}
		default:
			step := mixed(w)
			if step == 0 {
				b = b[bits.TrailingZeros64(w&highs)/8:]
				if step = character(b); step == 0 {
					return n - len(b)
				}
			}
			b = b[step:]
		}
	}
	var w uint64 // the rest, then zeros
	if at := n - len(b); at+8 <= len(from) {
		w = load(from[at:]) & (1<<(8*len(b)) - 1)
	} else {
		w = tail(b)
	}
	for w&highs != 0 && mixed(w) != 8 {
		skip := bits.TrailingZeros64(w&highs) / 8
		b = b[skip:]
		step := character(b)
		if step == 0 {
			return n - len(b)
		}
		b = b[step:]
		w >>= 8 * (skip + step)
	}
	return n
}

// afterASCII skips ASCII at the begin of b, as far as its steps go.
func afterASCII(b []byte) []byte {
	for len(b) > 128 {
		p := (*[128]byte)(b) // no bounds are checked behind it
		w := load(p[0:]) | load(p[8:]) | load(p[16:]) | load(p[24:])
		x := load(p[32:]) | load(p[40:]) | load(p[48:]) | load(p[56:])
		y := load(p[64:]) | load(p[72:]) | load(p[80:]) | load(p[88:])
		z := load(p[96:]) | load(p[104:]) | load(p[112:]) | load(p[120:])
		if (w|x|y|z)&highs != 0 {
			break
		}
		b = b[128:]
	}
	if len(b) > 64 {
		p := (*[64]byte)(b)
		w := load(p[0:]) | load(p[8:]) | load(p[16:]) | load(p[24:])
		x := load(p[32:]) | load(p[40:]) | load(p[48:]) | load(p[56:])
		if (w|x)&highs != 0 {
			return b
		}
		b = b[64:]
	}
	if len(b) > 32 && (load(b)|load(b[8:])|load(b[16:])|load(b[24:]))&highs == 0 {
		b = b[32:]
	}
	if len(b) > 16 && (load(b)|load(b[8:]))&highs == 0 {
		b = b[16:]
	}
	return b
}

// tail is the at most 8 bytes of b as a word, with zeros after them.
func tail(b []byte) uint64 {
	switch n := len(b); {
	case n >= 4: // two halves that may overlap
		w := uint64(binary.LittleEndian.Uint32(b))
		return w | uint64(binary.LittleEndian.Uint32(b[n-4:]))<<(8*(n-4))
	case n >= 2:
		w := uint64(binary.LittleEndian.Uint16(b))
		return w | uint64(binary.LittleEndian.Uint16(b[n-2:]))<<(8*(n-2))
	case n == 1:
		return uint64(b[0])
	}
	return 0
}

func load(b []byte) uint64 { return binary.LittleEndian.Uint64(b) }

const (
	// A word of four characters of two bytes, first byte lowest.
	twoMask = 0xc0e0c0e0c0e0c0e0
	twoForm = 0x80c080c080c080c0
	// A word that begins with two characters of three bytes.
	threeMask = 0xc0c0f0c0c0f0
	threeForm = 0x8080e08080e0
)

// notOverlong says whether no first byte of a word of twoForm is C0 or C1:
// they have none of four bits. A lane that has one overflows into its top bit.
func notOverlong(w uint64) bool {
	const top = 0x8000800080008000
	return (w&0x001e001e001e001e+0x7ffe7ffe7ffe7ffe)&top == top
}

// notSpecial says whether no first byte of a word of threeForm is E0 or ED,
// after which not every continuation byte will do.
func notSpecial(w uint64) bool {
	a, b := w&0xf, w>>24&0xf
	return a != 0x0 && a != 0xd && b != 0x0 && b != 0xd
}

// mixed returns how many bytes of w, from the lowest on, are characters of one
// to three bytes: 8, or 7 or 6 if the last one is cut; 0 if it cannot tell.
func mixed(w uint64) int {
	high := w & highs
	first := high & (w << 1)  // C0..FF
	conts := high &^ (w << 1) // 80..BF
	three := first & (w << 2) // E0..FF
	if first<<8|three<<16 != conts {
		return 0
	}
	// Bits 4 to 0 of each byte, taken to its top bit.
	b4, b3, b2, b1, b0 := w<<3, w<<4, w<<5, w<<6, w<<7
	overlong := first &^ three &^ (b4 | b3 | b2 | b1) // C0, C1
	special := three & (b4 |                          // F0..FF
		^(b3 | b2 | b1 | b0) | // E0
		b3&b2&^b1&b0) // ED
	if overlong|special != 0 {
		return 0
	}
	return 8 - int(first>>63) - int(three>>55&1)<<1
}

// character returns the length of the UTF-8 character that b, which is not
// empty, begins with; 0 if there is none or not all of it.
func character(b []byte) int {
	c := b[0]
	switch {
	case c < 0x80:
		return 1
	case c < 0xc2 || c > 0xf4 || len(b) < 2:
		return 0
	case c < 0xe0:
		if b[1]&0xc0 == 0x80 {
			return 2
		}
		return 0
	}
	state := next[stData][c]
	for i := 1; i < len(b); i++ {
		switch state = next[state][b[i]]; state {
		case stData:
			return i + 1
		case stBad:
			return 0
		}
	}
	return 0
}
