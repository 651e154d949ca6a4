package codec

// The byte automaton is the grammar written down once. It places errors
// exactly and carries lines that begin in one chunk and end in another; whole
// valid lines do not come here.

// The states name what has been seen of the current line.
const (
	stBad      uint8 = iota // the byte does not continue any line
	stRequests              // nothing, in a stream of requests
	stAnswers               // nothing, in a stream of answers
	stR                     // "R"
	stRE                    // "RE"
	stA                     // "A"
	stAC                    // "AC"
	stN                     // "N"
	stNA                    // "NA"
	stType                  // the type
	stSpace                 // white space after the type
	stMinus                 // the sign of Seq
	stDigit                 // a digit of Seq
	stData                  // white space after Seq, or Data up to a whole character
	stTail1                 // Data, and one continuation byte is missing
	stTail2                 // two are missing
	stTail3                 // three are missing
	stE0                    // Data and E0: two are missing, A0..BF comes next
	stED                    // Data and ED: two are missing, 80..9F comes next
	stF0                    // Data and F0: three are missing, 90..BF comes next
	stF4                    // Data and F4: three are missing, 80..8F comes next
	stEnd                   // LF: the line is complete
	stateCount
)

// wants is what each state asked for when a byte did not continue it.
var wants = [stateCount]Want{
	stRequests: WantType, stAnswers: WantType,
	stR: WantType, stRE: WantType, stA: WantType, stAC: WantType, stN: WantType, stNA: WantType,
	stType:  WantSpace,
	stSpace: WantSeq, stMinus: WantSeq,
	stDigit: WantSeqEnd,
	stData:  WantUTF8, stTail1: WantUTF8, stTail2: WantUTF8, stTail3: WantUTF8,
	stE0: WantUTF8, stED: WantUTF8, stF0: WantUTF8, stF4: WantUTF8,
}

// next[state][byte] is the state after the byte.
var next = buildAutomaton()

func buildAutomaton() (t [stateCount][256]uint8) {
	set := func(from uint8, lo, hi int, to uint8) {
		for c := lo; c <= hi; c++ {
			t[from][c] = to
		}
	}
	on := func(from uint8, bytes string, to uint8) {
		for i := range len(bytes) {
			t[from][bytes[i]] = to
		}
	}
	on(stRequests, "R", stR)
	on(stR, "E", stRE)
	on(stRE, "Q", stType)
	on(stAnswers, "A", stA)
	on(stA, "C", stAC)
	on(stAC, "K", stType)
	on(stAnswers, "N", stN)
	on(stN, "A", stNA)
	on(stNA, "K", stType)

	on(stType, " \t\r", stSpace)
	on(stSpace, " \t\r", stSpace)
	on(stSpace, "-", stMinus)
	for _, from := range []uint8{stSpace, stMinus, stDigit} {
		on(from, "0123456789", stDigit)
	}
	on(stDigit, " \t\r", stData)
	on(stDigit, "\n", stEnd)

	// Well-formed UTF-8, The Unicode Standard 15.0, table 3-7.
	set(stData, 0x00, 0x7f, stData)
	on(stData, "\n", stEnd)
	set(stData, 0xc2, 0xdf, stTail1)
	set(stData, 0xe0, 0xe0, stE0)
	set(stData, 0xe1, 0xef, stTail2)
	set(stData, 0xed, 0xed, stED)
	set(stData, 0xf0, 0xf0, stF0)
	set(stData, 0xf1, 0xf3, stTail3)
	set(stData, 0xf4, 0xf4, stF4)
	set(stTail1, 0x80, 0xbf, stData)
	set(stTail2, 0x80, 0xbf, stTail1)
	set(stTail3, 0x80, 0xbf, stTail2)
	set(stE0, 0xa0, 0xbf, stTail1)
	set(stED, 0x80, 0x9f, stTail1)
	set(stF0, 0x90, 0xbf, stTail2)
	set(stF4, 0x80, 0x8f, stTail2)
	return t
}
