package codec

import (
	"bytes"
	"math/rand/v2"
	"strings"
)

// corpus is lines that a scanner can get wrong, written for requests. Those
// that end without LF are followed by more in most tests and then break there.
var corpus = func() []string {
	lines := []string{
		// valid
		"REQ 1\n", "REQ 1 \n", "REQ  1\tHey\r\n", "REQ\t1\n", "REQ\r1\r\n", "REQ 1\r\n", "REQ \t\r 1 \t\r x\n",
		"REQ -1\n", "REQ -0\n", "REQ 0\n", "REQ 007 bond\n", "REQ -12 - -3\n", "REQ \t-5\tx\n",
		"REQ 9223372036854775807\n", "REQ 9223372036854775808\n", "REQ -9223372036854775808\n",
		"REQ -9223372036854775809 x\n", "REQ 18446744073709551616\n",
		"REQ " + strings.Repeat("1234567890", 1000) + "\n",
		"REQ -" + strings.Repeat("9", 10000) + " x\n",
		"REQ" + strings.Repeat(" ", 200) + "1\n", "REQ 1" + strings.Repeat(" \t\r", 100) + "\n",
		"REQ 1 REQ 2\n", "REQ 1 ACK 2 NAK 3\n", "REQ 1 \x00\n", "REQ 1 \x1b[31mred\x1b[0m\n", "REQ 1 a\rb\r\r\n",
		"REQ 1 \x00\x01\x1f\x7f\x0b\x0c\n",
		"REQ 1 " + strings.Repeat("x", 63) + "\n", "REQ 1 " + strings.Repeat("x", 300) + "\n",
		"REQ 1 é\n", "REQ 1 €\n", "REQ 1 😀\n", "REQ 1 aé€😀z\n",
		"REQ 1 \u0080\u07ff\u0800\ud7ff\ue000\uffff\U00010000\U0010ffff\n",
		"REQ 1 " + strings.Repeat("é", 90) + "\n", "REQ 1 " + strings.Repeat("€", 90) + "x\n",
		"REQ 1 " + strings.Repeat("😀", 90) + "\n", "REQ 1 " + strings.Repeat("a€", 200) + "\n",
		"REQ 1 " + strings.Repeat("1 -2\t", 50) + "\n",
		// valid, longer than several groups of blocks
		"REQ 77 " + strings.Repeat("The quick brown fox. ", 60) + "\n",
		"REQ 77 " + strings.Repeat("Fuchs, flink, über 狐 🦊. ", 60) + "\n",
		// the type
		"\n", "\r\n", " \n", " REQ 1\n", "req 1\n", "Req 1\n", "REq 1\n", "ReQ 1\n", "RE\n", "R\n", "RE 1\n", "REQQ 1\n",
		"QER 1\n", "ACK 1\n", "NAK 1\n", "AAK 1\n", "NCK 1\n", "AEQ 1\n", "RCK 1\n", "RAK 1\n", "hello\n", "\tREQ 1\n",
		"GET / HTTP/1.1\r\n", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\n", "REQ 1\n\n", "REQ\x00 1\n", "\x00\n",
		"\xffREQ 1\n", "\xc3\xa9\n", "\xd2EQ 1\n", "R\xc5Q 1\n", "RE\xd1 1\n",
		// the white space before Seq
		"REQ\n", "REQ1\n", "REQ-1\n", "REQ:1\n", "REQ\x0b1\n", "REQ\x0c1\n", "REQ\x001\n", "REQ\xa01\n", "REQ\u00a01\n", "REQ\x8a1\n",
		// Seq
		"REQ \n", "REQ  \t\n", "REQ \r\n", "REQ x\n", "REQ +1\n", "REQ --1\n", "REQ - 1\n", "REQ -\n", "REQ -x\n", "REQ .5\n",
		"REQ -\t\n", "REQ /1\n", "REQ :1\n", "REQ \x001\n", "REQ \xb11\n", "REQ ١\n", "REQ" + strings.Repeat(" ", 100) + "\n",
		"REQ" + strings.Repeat(" ", 100) + "-" + "\n", "REQ" + strings.Repeat(" ", 100) + "x\n",
		// the end of Seq
		"REQ 12x\n", "REQ 1-\n", "REQ 1-2\n", "REQ 1.5\n", "REQ 1,000\n", "REQ 1_000\n", "REQ 0x1f\n", "REQ 1/\n", "REQ 1:\n",
		"REQ 1\x00\n", "REQ 1\x0b\n", "REQ 1\x0c\n", "REQ 1\xc2\xa0\n", "REQ 1\xb2\n", "REQ 1\x8a\n", "REQ 1\xa0\n",
		"REQ " + strings.Repeat("7", 100) + "x\n", "REQ -" + strings.Repeat("7", 200) + "-\n",
		// UTF-8
		"REQ 1 \x80\n", "REQ 1 \xbf\n", "REQ 1 \xff\n", "REQ 1 \xfe\n", "REQ 1 a\x80b\n",
		"REQ 1 \xc0\xaf\n", "REQ 1 \xc1\xbf\n", "REQ 1 \xe0\x80\xaf\n", "REQ 1 \xe0\x9f\xbf\n", "REQ 1 \xf0\x80\x80\xaf\n",
		"REQ 1 \xf0\x8f\xbf\xbf\n", "REQ 1 \xed\xa0\x80\n", "REQ 1 \xed\xbf\xbf\n", "REQ 1 \xf4\x90\x80\x80\n",
		"REQ 1 \xf5\x80\x80\x80\n", "REQ 1 \xf8\x88\x80\x80\x80\n", "REQ 1 \xfc\x84\x80\x80\x80\x80\n",
		"REQ 1 \xc3\n", "REQ 1 \xe2\x82\n", "REQ 1 \xe2\n", "REQ 1 \xf0\x9f\x98\n", "REQ 1 \xf0\x9f\n", "REQ 1 \xf0\n",
		"REQ 1 \xc3x\n", "REQ 1 \xe2\x82x\n", "REQ 1 \xf0\x9f\x98x\n", "REQ 1 \xc3\xc3\xa9\n", "REQ 1 \xc3\xa9\xa9\n",
		"REQ 1 \xe2\x82\xac\x80\n", "REQ 1 \xf0\x9f\x98\x80\x80\n", "REQ 1 \xe2\xe2\x82\xac\n", "REQ 1 \xe2\x82\xe2\x82\xac\n",
		"REQ 1 \xf0\x9f\x98\xf0\x9f\x98\x80\n", "REQ 1 \xc3\r\n", "REQ 1 \xed\x9f\xbf\xed\xa0\x80\n",
		"REQ 1 " + strings.Repeat("x", 400) + "\xc3\n", "REQ 1 " + strings.Repeat("é", 200) + "\xc3\n",
		"REQ 1 " + strings.Repeat("€", 100) + "\xff" + strings.Repeat("€", 100) + "\n",
		"REQ 1 " + strings.Repeat("€", 100) + "\xe0\x9f\x80" + strings.Repeat("€", 100) + "\n",
		// without LF
		"", "R", "REQ", "REQ ", "REQ -", "REQ 1", "REQ 1 ", "REQ 1 abc", "REQ 1 \xe2", "REQ 1 \xe2\x82", "REQ 1 \xf0\x9f\x98",
		"REQ 1 \xf4", "REQ 1 \xf5", "REQ 1 \xc0",
	}
	return lines
}()

// inDir turns lines of requests into lines of dir: for Answers, REQ becomes
// ACK and NAK in turn, and ACK and NAK become REQ.
func inDir(dir Dir, s string, nak bool) string {
	if dir == Requests {
		return s
	}
	typ := "ACK"
	if nak {
		typ = "NAK"
	}
	if strings.HasPrefix(s, "ACK") || strings.HasPrefix(s, "NAK") {
		return "REQ" + s[3:]
	}
	for n := 3; n > 0; n-- {
		if strings.HasPrefix(s, "REQ"[:n]) {
			return typ[:n] + s[n:]
		}
	}
	return s
}

// filler is n bytes of short valid lines of dir; n must be 0 or at least 6.
func filler(dir Dir, n int) []byte {
	var b []byte
	for i := 0; n > 0; i++ {
		line := inDir(dir, []string{"REQ 12\n", "REQ 7 ok\n", "REQ\t-5 \r\n", "REQ 1234567 hello\n"}[i%4], i%3 == 0)
		switch left := n - len(line); {
		case left == 0 || left >= 6:
			b = append(b, line...)
			n = left
		case n >= 6:
			b = append(b, inDir(dir, "REQ "+strings.Repeat("3", n-5)+"\n", false)...)
			n = 0
		}
	}
	return b
}

// around puts line after lead bytes of valid lines and before some more.
func around(dir Dir, lead int, line string) []byte {
	b := append(filler(dir, lead), line...)
	return append(b, filler(dir, 330)...)
}

// randomStream is lines of many kinds, one in odd of them from the corpus.
func randomStream(r *rand.Rand, dir Dir, size, odd int) []byte {
	var b []byte
	for len(b) < size {
		if odd > 0 && r.IntN(odd) == 0 {
			line := corpus[r.IntN(len(corpus))]
			if len(line) < 1000 || r.IntN(20) == 0 {
				b = append(b, inDir(dir, line, r.IntN(2) == 0)...)
			}
			continue
		}
		b = append(b, inDir(dir, "REQ", r.IntN(2) == 0)...)
		b = append(b, pick(r, " ", " ", " ", " ", "\t", "  ", "\r", " \t \r")...)
		b = append(b, pick(r, "", "", "", "", "-")...)
		for range 1 + r.IntN(1+r.IntN(12)) {
			b = append(b, byte('0'+r.IntN(10)))
		}
		if n := r.IntN(1 + r.IntN(1+r.IntN(400))); n > 0 {
			b = append(b, pick(r, " ", " ", "\t", "  ")...)
			abc := []string{"a", "z", "0", "-", " ", "Q", "K", "~", "REQ 1 ", "\x01"}
			if r.IntN(3) == 0 {
				abc = append(abc, "é", "€", "😀", "ß", "日")
			}
			for range n {
				b = append(b, abc[r.IntN(len(abc))]...)
			}
		}
		b = append(b, pick(r, "\n", "\n", "\n", "\r\n")...)
	}
	return bytes.Clone(b)
}

func pick(r *rand.Rand, of ...string) string { return of[r.IntN(len(of))] }
