package codec

import "testing"

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
		o := newOracle(dir, uint64(maxLine))
		want, n, off := o.run(stream)
		for _, k := range available() {
			useKernel(t, k)
			o.expect(t, want, n, off, stream)
			o.expect(t, want, n, off, stream, min(a, b), max(a, b))
		}
	})
}
