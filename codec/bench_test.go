package codec

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// BenchmarkScanner runs all implementations over the same 64 KiB of lines, turn
// by turn so that noise hits them alike, and reports the median speed of each
// in GB/s:
//
//	count     bytes.Count of LF, the reference for bandwidth
//	baseline  the obvious scanner: IndexByte, compare, utf8.Valid for each line
//	avx512, avx2, portable  Scanner.Feed with each implementation
//	ends      Scanner.FeedLines with the fastest of them
//
// Sub-benchmarks are named by line length, characters of Data, and share of
// bad lines.
func BenchmarkScanner(b *testing.B) {
	for _, s := range benchStreams() {
		b.Run(s.name, func(b *testing.B) { race(b, s) })
	}
}

type benchStream struct {
	name string
	dir  Dir
	data []byte
	size int // of the chunks
}

const benchSize = 64 << 10

func benchStreams() []benchStream {
	var all []benchStream
	add := func(name string, dir Dir, size int, line func(r *rand.Rand, i int) string) {
		r := rand.New(rand.NewPCG(11, 12))
		var data []byte
		for i := 0; ; i++ {
			l := line(r, i)
			if len(data)+len(l) > benchSize {
				break
			}
			data = append(data, l...)
		}
		all = append(all, benchStream{name, dir, data, size})
	}
	lengths := []int{7, 16, 32, 128, 1024, 16384, 0}
	for _, bad := range []string{"clean", "1%bad", "allbad"} {
		for _, char := range []string{"x", "é", "€"} {
			for _, n := range lengths {
				if len(char) > 1 && (n == 7 || bad != "clean" && n != 32 && n != 1024) {
					continue
				}
				name := fmt.Sprintf("%d/%dbyte/%s", n, len(char), bad)
				if n == 0 {
					name = fmt.Sprintf("mixed/%dbyte/%s", len(char), bad)
				}
				add(name, Requests, benchSize, func(r *rand.Rand, i int) string {
					line := benchLine(r, n, char)
					if bad == "allbad" || bad == "1%bad" && r.IntN(100) == 0 {
						line = spoil(line, i)
					}
					return line
				})
			}
		}
	}
	for _, n := range []int{7, 32, 128, 1024} {
		add(fmt.Sprintf("%d/answers", n), Answers, benchSize, func(r *rand.Rand, _ int) string {
			return pick(r, "ACK", "NAK") + benchLine(r, n, "x")[3:]
		})
	}
	fixed := func(line string) func(*rand.Rand, int) string {
		return func(*rand.Rand, int) string { return line }
	}
	add("32/crlf", Requests, benchSize, fixed("REQ 1234 abcdefghijklmnopqrstu\r\n"))
	add("32/negative", Requests, benchSize, fixed("REQ -1234 abcdefghijklmnopqrstu\n"))
	add("8/negative", Requests, benchSize, fixed("REQ -12\n"))
	add("1000/seq", Requests, benchSize, fixed("REQ "+strings.Repeat("123", 331)+" x\n"))
	add("1000/spaces", Requests, benchSize, fixed("REQ "+strings.Repeat(" ", 993)+"1\n"))
	for _, size := range []int{1, 64, 512, 4096} {
		add(fmt.Sprintf("32/chunks=%d", size), Requests, size, func(r *rand.Rand, _ int) string { return benchLine(r, 32, "x") })
	}
	add("16384/chunks=1", Requests, 1, func(r *rand.Rand, _ int) string { return benchLine(r, 16384, "x") })
	return all
}

// benchLine is a valid request of n bytes, or of 6 to 400 for 0.
func benchLine(r *rand.Rand, n int, char string) string {
	if n == 0 {
		n = 6 + r.IntN(395)
	}
	switch n {
	case 6:
		return "REQ 5\n"
	case 7:
		return fmt.Sprintf("REQ %d\n", 10+r.IntN(90))
	case 8:
		return fmt.Sprintf("REQ %d\n", 100+r.IntN(900))
	}
	line := fmt.Sprintf("REQ %d", 1+r.IntN(9)) + fmt.Sprint(r.IntN(1000))
	line = line[:min(len(line), n-2)] + " "
	for len(line)+len(char) < n {
		line += char
	}
	return line + strings.Repeat("y", n-1-len(line)) + "\n"
}

// spoil breaks a line in one of three ways: type, end of Seq, last byte.
func spoil(line string, i int) string {
	switch {
	case i%3 == 0:
		return "r" + line[1:]
	case i%3 == 1:
		return line[:5] + "x" + line[6:]
	}
	return line[:len(line)-2] + "\xff\n"
}

// baseline is the obvious scanner: it gathers lines and checks each part with
// the library or a plain loop.
type baseline struct {
	types      [2]string
	part       []byte // a line that began in an earlier chunk
	lines, bad int
}

func (s *baseline) feed(chunk []byte) {
	for len(chunk) > 0 {
		lf := bytes.IndexByte(chunk, '\n')
		if lf < 0 {
			s.part = append(s.part, chunk...)
			return
		}
		line := chunk[:lf]
		if len(s.part) > 0 {
			s.part = append(s.part, line...)
			line, s.part = s.part, s.part[:0]
		}
		if baselineLine(line, s.types) {
			s.lines++
		} else {
			s.bad++
		}
		chunk = chunk[lf+1:]
	}
}

func baselineLine(line []byte, types [2]string) bool {
	if len(line) < 5 || string(line[:3]) != types[0] && string(line[:3]) != types[1] {
		return false
	}
	i := 3
	for i < len(line) && isSpace(line[i]) {
		i++
	}
	spaces := i
	if i < len(line) && line[i] == '-' {
		i++
	}
	digits := i
	for i < len(line) && isDigit(line[i]) {
		i++
	}
	if spaces == 3 || i == digits || i < len(line) && !isSpace(line[i]) {
		return false
	}
	return utf8.Valid(line[i:])
}

// baselineAll gives the stream to a baseline scanner and returns what it found.
func baselineAll(s benchStream) (lines, bad int) {
	scanner := baseline{types: [2]string{"REQ", "REQ"}}
	if s.dir == Answers {
		scanner.types = [2]string{"ACK", "NAK"}
	}
	for at := 0; at < len(s.data); at += s.size {
		scanner.feed(s.data[at:min(at+s.size, len(s.data))])
	}
	return scanner.lines, scanner.bad
}

// feedAll gives the stream to a Scanner and returns what it found.
func feedAll(s benchStream, ends []int32) (lines, bad int) {
	scanner := NewScanner(s.dir, 0)
	var c Counts
	for at := 0; at < len(s.data); {
		chunk := s.data[at:min(at+s.size, len(s.data))]
		var valid int
		if ends != nil {
			valid, _ = scanner.FeedLines(chunk, &c, ends)
		} else {
			valid = scanner.Feed(chunk, &c)
		}
		at += valid
		if valid < len(chunk) {
			bad++
			n, _ := scanner.Resync(s.data[at:])
			at += n
		}
	}
	return int(c.Total()), bad
}

// The streams are what they claim to be, and baseline and Scanner agree.
func TestBenchStreams(t *testing.T) {
	for _, s := range benchStreams() {
		lines, bad := feedAll(s, nil)
		if l, b := baselineAll(s); lines != l || bad != b {
			t.Errorf("%s: scanner finds %d lines and %d bad ones, baseline %d and %d", s.name, lines, bad, l, b)
		}
		if lines+bad != bytes.Count(s.data, []byte("\n")) {
			t.Errorf("%s: %d lines and %d bad ones of %d", s.name, lines, bad, bytes.Count(s.data, []byte("\n")))
		}
		if spoilt := strings.HasSuffix(s.name, "bad"); strings.HasSuffix(s.name, "allbad") != (lines == 0) || !spoilt && bad > 0 {
			t.Errorf("%s: %d lines, %d bad ones", s.name, lines, bad)
		}
	}
}

func race(b *testing.B, s benchStream) {
	type runner struct {
		name  string
		run   func()
		times []time.Duration
	}
	ends := make([]int32, benchSize/6+1)
	runners := []*runner{
		{name: "count", run: func() { bytes.Count(s.data, []byte("\n")) }},
		{name: "baseline", run: func() { baselineAll(s) }},
		{name: "ends", run: func() { feedAll(s, ends) }},
	}
	for _, k := range available() {
		runners = append(runners, &runner{name: k.String(), run: func() {
			kernel = k
			feedAll(s, nil)
		}})
	}
	for _, r := range runners {
		r.times = make([]time.Duration, 1000)
	}
	useKernel(b, kernel)
	fastest := kernel
	const passes = 4
	b.ReportAllocs()
	turn := 0
	for ; b.Loop(); turn++ {
		for _, r := range runners {
			kernel = fastest
			begin := time.Now()
			for range passes {
				r.run()
			}
			r.times[turn%len(r.times)] = time.Since(begin) / passes
		}
	}
	for _, r := range runners {
		times := r.times[:min(turn, len(r.times))]
		slices.Sort(times)
		median := times[len(times)/2]
		b.ReportMetric(float64(len(s.data))/float64(max(1, median.Nanoseconds())), r.name)
	}
	b.ReportMetric(0, "ns/op")
}
