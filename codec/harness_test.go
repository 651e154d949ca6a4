package codec

import (
	"fmt"
	"slices"
	"testing"
)

// eachKernel runs f as a subtest with every implementation that can run here.
func eachKernel(t *testing.T, f func(t *testing.T)) {
	for _, k := range available() {
		t.Run(k.String(), func(t *testing.T) {
			useKernel(t, k)
			f(t)
		})
	}
}

// useKernel puts k in use until the test ends.
func useKernel(t testing.TB, k kernelID) {
	before := kernel
	kernel = k
	t.Cleanup(func() { kernel = before })
}

func eachDir(t *testing.T, f func(t *testing.T, dir Dir)) {
	for _, dir := range []Dir{Requests, Answers} {
		t.Run(dir.String(), func(t *testing.T) { f(t, dir) })
	}
}

// play feeds stream to a new scanner, cut at the given ascending offsets, and
// returns what happens in it. Each bad line is skipped by Resync. Two scanners
// run side by side, one with line ends and one without, and must agree.
func play(dir Dir, maxLine uint64, stream []byte, cuts ...int) (events []event, last Scanner, err error) {
	s := NewScanner(dir, maxLine)
	plain := s
	var c, plainCounts Counts
	skipping := false
	at := 0
	for _, cut := range append(slices.Clone(cuts), len(stream)) {
		for at < cut {
			chunk := stream[at:cut:cut]
			if skipping {
				n, done := s.Resync(chunk)
				plain.Resync(chunk)
				at += n
				skipping = !done
				continue
			}
			var was Counts = c
			ends := make([]int32, len(chunk)/6+1)
			valid, n := s.FeedLines(chunk, &c, ends)
			plainValid := plain.Feed(chunk, &plainCounts)
			if valid != plainValid || c != plainCounts || !sameLine(&s, &plain) {
				return nil, s, fmt.Errorf("at %d: FeedLines gives %d %+v %+v, Feed %d %+v %+v",
					at, valid, c, s, plainValid, plainCounts, plain)
			}
			if got := c.Total() - was.Total(); got != uint64(n) {
				return nil, s, fmt.Errorf("at %d: %d line ends, %d messages", at, n, got)
			}
			events = appendEnds(events, stream, at, ends[:n])
			at += valid
			if valid < len(chunk) {
				events = append(events, event{at: at, bad: s.Violation()})
				if v := plain.Violation(); v != s.Violation() {
					return nil, s, fmt.Errorf("FeedLines finds %v, Feed %v", s.Violation(), v)
				}
				skipping = true
			}
		}
	}
	if want := countsOf(events); c != want {
		return nil, s, fmt.Errorf("counts %+v, line ends say %+v", c, want)
	}
	return events, s, nil
}

// sameLine says whether two scanners are at the same place of the same line.
func sameLine(a, b *Scanner) bool {
	return a.line == b.line && a.off == b.off && a.state == b.state
}

// appendEnds turns line ends of a chunk at offset at into events. The type is
// read from the stream: the line begins after the LF before.
func appendEnds(events []event, stream []byte, at int, ends []int32) []event {
	for _, e := range ends {
		end := at + int(e)
		begin := end - 1
		for begin > 0 && stream[begin-1] != '\n' {
			begin--
		}
		events = append(events, event{at: end, typ: typeOf(stream[begin])})
	}
	return events
}

// agree fails the test if the scanner and the oracle differ about stream cut
// at the given offsets.
func (o *oracle) agree(t *testing.T, stream []byte, cuts ...int) {
	t.Helper()
	want, line, off := o.run(stream)
	o.expect(t, want, line, off, stream, cuts...)
}

// expect is agree for a stream whose events are known.
func (o *oracle) expect(t *testing.T, want []event, line, off uint64, stream []byte, cuts ...int) {
	t.Helper()
	got, s, err := play(o.dir, o.maxLine, stream, cuts...)
	if err != nil {
		t.Fatalf("%s stream %q cut at %v: %v", o.dir, shorten(stream), cuts, err)
	}
	if !slices.Equal(got, want) {
		i := 0
		for i < len(got) && i < len(want) && got[i] == want[i] {
			i++
		}
		t.Fatalf("%s stream %q cut at %v: event %d and on: got %v, want %v", o.dir, shorten(stream), cuts, i,
			got[i:min(len(got), i+2)], want[i:min(len(want), i+2)])
	}
	if s.Line() != line || s.Offset() != off {
		t.Fatalf("%s stream %q cut at %v: ends in line %d, offset %d; want %d, %d", o.dir, shorten(stream), cuts,
			s.Line(), s.Offset(), line, off)
	}
}

func shorten(b []byte) string {
	if len(b) <= 1200 {
		return string(b)
	}
	return string(b[:600]) + "…" + string(b[len(b)-600:])
}
