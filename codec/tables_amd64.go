//go:build !noasm

package codec

// UTF-8 is validated as in Keiser and Lemire, "Validating UTF-8 In Less Than
// One Instruction Per Byte" (2020): three tables, indexed by the halves of a
// byte and by the high half of the byte after it, give for each pair of bytes
// the faults that each half allows; a pair has the faults that all three
// allow. Whether a third or fourth byte continues a character depends on the
// bytes two and three before only.
const (
	tooShort  = 1 << 0 // a first byte, then no continuation byte
	tooLong   = 1 << 1 // ASCII, then a continuation byte
	overlong3 = 1 << 2 // E0 80..9F
	tooLarge  = 1 << 3 // F4 90..BF, F5..FF 90..BF
	surrogate = 1 << 4 // ED A0..BF
	overlong2 = 1 << 5 // C0, C1
	overlong4 = 1 << 6 // F0 80..8F
	tooLarge8 = 1 << 6 // F5..FF 80..8F; shares its bit, the low halves tell them apart
	twoConts  = 1 << 7 // two continuation bytes: a fault unless a 3- or 4-byte character is under way

	anyLow = tooShort | tooLong | twoConts // faults that do not depend on the low half
	cont   = tooLong | overlong2 | twoConts
)

// The kernels address these tables by name.
var (
	// utf8FirstHigh: by the high half of the first byte of a pair.
	//lint:ignore U1000 the kernels read it
	utf8FirstHigh = [16]uint8{
		0x0: tooLong, 0x1: tooLong, 0x2: tooLong, 0x3: tooLong,
		0x4: tooLong, 0x5: tooLong, 0x6: tooLong, 0x7: tooLong,
		0x8: twoConts, 0x9: twoConts, 0xa: twoConts, 0xb: twoConts,
		0xc: tooShort | overlong2,
		0xd: tooShort,
		0xe: tooShort | overlong3 | surrogate,
		0xf: tooShort | tooLarge | tooLarge8 | overlong4,
	}
	// utf8FirstLow: by its low half.
	//lint:ignore U1000 the kernels read it
	utf8FirstLow = [16]uint8{
		0x0: anyLow | overlong2 | overlong3 | overlong4,
		0x1: anyLow | overlong2,
		0x2: anyLow, 0x3: anyLow,
		0x4: anyLow | tooLarge,
		0x5: anyLow | tooLarge | tooLarge8, 0x6: anyLow | tooLarge | tooLarge8,
		0x7: anyLow | tooLarge | tooLarge8, 0x8: anyLow | tooLarge | tooLarge8,
		0x9: anyLow | tooLarge | tooLarge8, 0xa: anyLow | tooLarge | tooLarge8,
		0xb: anyLow | tooLarge | tooLarge8, 0xc: anyLow | tooLarge | tooLarge8,
		0xd: anyLow | tooLarge | tooLarge8 | surrogate,
		0xe: anyLow | tooLarge | tooLarge8, 0xf: anyLow | tooLarge | tooLarge8,
	}
	// utf8SecondHigh: by the high half of the second byte.
	//lint:ignore U1000 the kernels read it
	utf8SecondHigh = [16]uint8{
		0x0: tooShort, 0x1: tooShort, 0x2: tooShort, 0x3: tooShort,
		0x4: tooShort, 0x5: tooShort, 0x6: tooShort, 0x7: tooShort,
		0x8: cont | overlong3 | overlong4 | tooLarge8,
		0x9: cont | overlong3 | tooLarge,
		0xa: cont | surrogate | tooLarge, 0xb: cont | surrogate | tooLarge,
		0xc: tooShort, 0xd: tooShort, 0xe: tooShort, 0xf: tooShort,
	}
	// spaceByLow: by the low half of a byte, the white space with that half; a
	// byte is white space if it equals its entry. NUL's entry is SP.
	//lint:ignore U1000 the kernels read it
	spaceByLow = [16]uint8{0x0: ' ', 0x9: '\t', 0xd: '\r'}
	// oneUp: the offset after each byte of a block.
	//lint:ignore U1000 the kernels read it
	oneUp = buildOneUp()
)

func buildOneUp() (t [64]uint8) {
	for i := range t {
		t[i] = uint8(i + 1)
	}
	return t
}
