package codec

import (
	"math"
	"math/big"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	long := strings.Repeat("1", 10000)
	for _, c := range []struct {
		line, data string
		want       Message
	}{
		{"REQ 1\n", "", Message{REQ, 1, true, 6}},
		{"REQ 1", "", Message{REQ, 1, true, 5}},
		{"REQ 1 \n", "", Message{REQ, 1, true, 7}},
		{"REQ  1\tHey\r\n", "Hey\r", Message{REQ, 1, true, 12}},
		{"ACK 007 \t a  b \n", "a  b ", Message{ACK, 7, true, 16}},
		{"NAK -0\r\n", "", Message{NAK, 0, true, 8}},
		{"NAK\t-12 -5\n", "-5", Message{NAK, -12, true, 11}},
		{"REQ 1 7", "7", Message{REQ, 1, true, 7}},
		{"REQ 9223372036854775807\n", "", Message{REQ, math.MaxInt64, true, 24}},
		{"REQ -9223372036854775808\n", "", Message{REQ, math.MinInt64, true, 25}},
		{"REQ 9223372036854775808\n", "", Message{REQ, 0, false, 24}},
		{"REQ -9223372036854775809\n", "", Message{REQ, 0, false, 25}},
		{"REQ 18446744073709551616\n", "", Message{REQ, 0, false, 25}},
		{"REQ 18446744073709551617 x\n", "x", Message{REQ, 0, false, 27}},
		{"REQ " + long + "\n", "", Message{REQ, 0, false, 10005}},
		{"REQ 000000000000000000000000000005\n", "", Message{REQ, 5, true, 35}},
		{"ACK 1 €\x00\n", "€\x00", Message{ACK, 1, true, 11}},
	} {
		m, data, err := Parse([]byte(c.line))
		if err != nil || m != c.want || string(data) != c.data {
			t.Errorf("Parse(%.40q) = %+v, %q, %v; want %+v, %q", c.line, m, data, err, c.want, c.data)
		}
	}
}

func TestParseErrors(t *testing.T) {
	for line, want := range map[string]string{
		"":             "line 1, offset 0: want type",
		"\n":           "line 1, offset 0: want type",
		"RE":           "line 1, offset 2: want type",
		"RAK 1\n":      "line 1, offset 1: want type",
		"ack 1\n":      "line 1, offset 0: want type",
		"NAK":          "line 1, offset 3: want space",
		"REQ\n":        "line 1, offset 3: want space",
		"REQ ":         "line 1, offset 4: want seq",
		"REQ -":        "line 1, offset 5: want seq",
		"REQ - 1\n":    "line 1, offset 5: want seq",
		"ACK 12x\n":    "line 1, offset 6: want seq-end",
		"ACK 1 \xff\n": "line 1, offset 6: want utf-8",
		"ACK 1 \xe2":   "line 1, offset 7: want utf-8",
		"REQ 1\nREQ 2": "line 1, offset 6: want shorter-line",
		"REQ 1\n\n":    "line 1, offset 6: want shorter-line",
	} {
		if m, data, err := Parse([]byte(line)); err == nil || err.Error() != want {
			t.Errorf("Parse(%q) = %+v, %q, %v; want %s", line, m, data, err, want)
		}
	}
}

// Parse and the scanner take the same lines.
func TestParseCorpus(t *testing.T) {
	for _, dir := range []Dir{Requests, Answers} {
		o := newOracle(dir, 0)
		for _, line := range corpus {
			line = inDir(dir, line, true)
			if dir == Answers && strings.HasPrefix(line, "R") || dir == Requests && !strings.HasPrefix(line, "R") {
				continue // Parse takes both directions
			}
			v := o.judge([]byte(line))
			_, _, err := Parse([]byte(line))
			if bad, ok := err.(Violation); v.want != WantNone && (!ok || bad.Want != v.want && bad.Want != WantShorterLine) {
				t.Errorf("Parse(%.60q) = %v, want %v", line, err, v.want)
			}
			if v.want == WantNone && strings.HasSuffix(line, "\n") && err != nil {
				t.Errorf("Parse(%.60q) = %v", line, err)
			}
		}
	}
}

// Head reads the same from a line however it is cut, and math/big agrees.
func TestHead(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	var h Head
	for _, line := range append(corpus, strings.Split(string(randomStream(r, Requests, 20000, 0)), "\n")...) {
		line = strings.TrimSuffix(line, "\n") + "\n"
		whole, _, err := Parse([]byte(line))
		if err != nil {
			continue
		}
		seq, ok := new(big.Int).SetString(strings.Fields(line)[1], 10)
		if !ok || whole.Fits != seq.IsInt64() || whole.Fits && whole.Seq != seq.Int64() || whole.Size != uint64(len(line)) {
			t.Errorf("Parse(%.60q) = %+v, want Seq %v", line, whole, seq)
		}
		for range 30 {
			a, b := r.IntN(len(line)), r.IntN(len(line))
			a, b = min(a, b, 20), max(a, b)
			h.Partial([]byte(line[:a]))
			h.Partial([]byte(line[a:b]))
			if m := h.Line([]byte(line[b:])); m != whole {
				t.Fatalf("%.60q cut at %d and %d: %+v, want %+v", line, a, b, m, whole)
			}
		}
		for i := range len(line) - 1 {
			h.Partial([]byte(line[i : i+1]))
		}
		if m := h.Line([]byte("\n")); m != whole {
			t.Fatalf("%.60q byte by byte: %+v, want %+v", line, m, whole)
		}
		if h != (Head{}) {
			t.Fatalf("Head is not reset: %+v", h)
		}
	}
}

// Seqs around the length that Head reads as one word, at every end that a line can have.
func TestHeadOfShortSeqs(t *testing.T) {
	for digits := 1; digits <= 10; digits++ {
		for _, seq := range []string{
			strings.Repeat("0", digits), strings.Repeat("9", digits), "1234567890"[:digits], "9876543210"[10-digits:], "1" + strings.Repeat("0", digits-1),
		} {
			for _, rest := range []string{"", " ", "\t", "\r", " 5", "\t1234567890", " \u00b9\u0666", " x"} {
				for _, before := range []string{"REQ ", "ACK\t", "NAK  ", "ACK -", "REQ\r-"} {
					line := []byte(before + seq + rest + "\n")
					want, _, err := Parse(line)
					if err != nil {
						t.Fatal(err)
					}
					n, err := strconv.ParseInt(strings.TrimSpace(before[3:])+seq, 10, 64)
					if err != nil {
						t.Fatal(err)
					}
					var h Head
					if m := h.Line(line); m != want || m.Seq != n || h != (Head{}) {
						t.Fatalf("%q: %+v, want %+v, Seq %d", line, m, want, n)
					}
				}
			}
		}
	}
}

func TestNames(t *testing.T) {
	got := []string{
		REQ.String(), ACK.String(), NAK.String(), Type(9).String(), Requests.String(), Answers.String(),
		WantType.String(), WantSpace.String(), WantSeq.String(), WantSeqEnd.String(), WantUTF8.String(), WantShorterLine.String(),
		Want(99).String(),
	}
	want := "REQ ACK NAK Type(9) request response type space seq seq-end utf-8 shorter-line Want(99)"
	if s := strings.Join(got, " "); s != want {
		t.Errorf("names %s, want %s", s, want)
	}
	if n := (Counts{1, 2, 4}).Total(); n != 7 {
		t.Errorf("Total() = %d", n)
	}
}
