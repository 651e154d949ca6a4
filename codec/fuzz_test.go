package codec

import (
	"bytes"
	"testing"
)

// FuzzScanner compares every implementation with the oracle: line stands after
// lead bytes of valid lines and before more of them, and the stream is cut at
// two places.
func FuzzScanner(f *testing.F) {
	for i, line := range corpus {
		if len(line) < 1000 {
			f.Add([]byte(line), i%2 == 0, uint8(i*37), uint16(0), uint16(i), uint16(i*7))
		}
	}
	f.Fuzz(func(t *testing.T, line []byte, answers bool, lead uint8, maxLine, cut1, cut2 uint16) {
		dir := Requests
		if answers {
			dir = Answers
		}
		stream := append(filler(dir, max(6, int(lead))), line...)
		stream = append(stream, filler(dir, 150)...)
		a, b := int(cut1)%len(stream), int(cut2)%len(stream)
		o := freshOracle(dir, uint64(maxLine))
		want, n, off := o.run(stream)
		for _, k := range available() {
			useKernel(t, k)
			o.expect(t, want, n, off, stream)
			o.expect(t, want, n, off, stream, min(a, b), max(a, b))
		}
	})
}

// FuzzParse compares Parse with the oracle on lines of both directions, and
// Head with Parse however the line is cut.
func FuzzParse(f *testing.F) {
	for i, line := range corpus {
		if len(line) < 1000 {
			f.Add([]byte(line), uint16(i))
			f.Add([]byte(inDir(Answers, line, i%2 == 0)), uint16(3*i))
		}
	}
	f.Fuzz(func(t *testing.T, line []byte, cut uint16) {
		dir := Answers
		if len(line) > 0 && line[0] == 'R' {
			dir = Requests
		}
		one := line
		if lf := bytes.IndexByte(line, '\n'); lf >= 0 {
			one = line[:lf+1]
		}
		v := freshOracle(dir, 0).judge(one)
		m, data, err := Parse(line)
		bad, isBad := err.(Violation)
		switch {
		case v.want != WantNone:
			if want := (Violation{Line: 1, Offset: uint64(v.good), Want: v.want}); !isBad || bad != want {
				t.Fatalf("Parse(%q) = %v, want %v", line, err, want)
			}
			return
		case err != nil:
			if int(bad.Offset) != len(one) || bad.Line != 1 {
				t.Fatalf("Parse(%q) = %v", line, err)
			}
			return
		}
		if !bytes.HasSuffix(bytes.TrimSuffix(line, []byte("\n")), data) || m.Size != uint64(len(line)) {
			t.Fatalf("Parse(%q) = %+v, %q", line, m, data)
		}
		var h Head
		c := int(cut) % len(line)
		h.Partial(line[:c])
		if got := h.Line(line[c:]); got != m {
			t.Fatalf("Head reads %+v from %q cut at %d, Parse %+v", got, line, c, m)
		}
	})
}
