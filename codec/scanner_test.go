package codec

import (
	"bytes"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"unsafe"
)

// Every corpus line, alone, at every split point.
func TestCorpusAtEverySplit(t *testing.T) {
	eachKernel(t, func(t *testing.T) {
		eachDir(t, func(t *testing.T, dir Dir) {
			o := newOracle(dir, 0)
			for i, line := range corpus {
				stream := []byte(inDir(dir, line, i%2 == 0))
				want, n, off := o.run(stream)
				o.expect(t, want, n, off, stream)
				for cut := range len(stream) {
					if len(stream) > 2000 && cut%61 > 3 {
						continue // long runs of one kind of byte
					}
					o.expect(t, want, n, off, stream, cut)
				}
			}
		})
	})
}

// Every corpus line among other lines, at every place in a block of 64 and in
// a group of 256.
func TestCorpusAtEveryPlace(t *testing.T) {
	eachKernel(t, func(t *testing.T) {
		eachDir(t, func(t *testing.T, dir Dir) {
			o := newOracle(dir, 0)
			for i, line := range corpus {
				for lead := 0; lead < leads(); lead += stride() {
					if lead > 0 && lead < 6 || len(line) > 2000 && lead%16 != 0 {
						continue
					}
					o.agree(t, around(dir, lead, inDir(dir, line, i%2 == 0)))
				}
			}
		})
	})
}

// leads is from how many bytes before a line on its place makes no difference:
// kernels have groups of 256 bytes and start some bytes after the chunk.
func leads() int {
	if kernel == portable {
		return 16
	}
	return 270
}

// stride is the step through places: every one, or some with -short.
func stride() int {
	if testing.Short() {
		return 11
	}
	return 1
}

// Every corpus line among other lines, split in and near it, so that the
// second chunk begins at every place of a line and is long enough for kernels.
func TestCorpusAmongOthersAtEverySplit(t *testing.T) {
	eachKernel(t, func(t *testing.T) {
		eachDir(t, func(t *testing.T, dir Dir) {
			o := newOracle(dir, 0)
			for i, line := range corpus {
				lead := 100 + i
				stream := around(dir, lead, inDir(dir, line, i%2 == 1))
				want, n, off := o.run(stream)
				for cut := lead - 8; cut < min(lead+len(line)+8, lead+300); cut++ {
					o.expect(t, want, n, off, stream, cut)
				}
			}
		})
	})
}

// The last byte of a stream is the bad one, at every length of the stream.
func TestErrorInLastByte(t *testing.T) {
	eachKernel(t, func(t *testing.T) {
		eachDir(t, func(t *testing.T, dir Dir) {
			o := newOracle(dir, 0)
			for _, line := range corpus {
				line = inDir(dir, line, false)
				v := o.judge([]byte(line))
				if v.want == WantNone || len(line) > 1000 {
					continue
				}
				for lead := 6; lead < leads(); lead += stride() {
					o.agree(t, append(filler(dir, lead), line[:v.good+1]...))
				}
			}
		})
	})
}

// Streams that end at every offset: blocks and groups are cut short.
func TestTruncated(t *testing.T) {
	eachKernel(t, func(t *testing.T) {
		eachDir(t, func(t *testing.T, dir Dir) {
			o := newOracle(dir, 0)
			r := rand.New(rand.NewPCG(1, 2))
			for range 20 {
				stream := randomStream(r, dir, 700, 0)
				for n := 0; n < len(stream); n += stride() {
					o.agree(t, stream[:n])
				}
			}
		})
	})
}

func TestRandomSplits(t *testing.T) {
	eachKernel(t, func(t *testing.T) {
		eachDir(t, func(t *testing.T, dir Dir) {
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			r := rand.New(rand.NewPCG(seed, 3))
			for range 300 / stride() {
				var maxLine uint64
				if r.IntN(3) == 0 {
					maxLine = 6 + r.Uint64N(600)
				}
				o := newOracle(dir, maxLine)
				stream := randomStream(r, dir, 200+r.IntN(6000), r.IntN(30))
				want, n, off := o.run(stream)
				for range 20 {
					a, b := r.IntN(len(stream)+1), r.IntN(len(stream)+1)
					o.expect(t, want, n, off, stream, min(a, b), max(a, b))
				}
			}
		})
	})
}

// Chunks of one size, from a byte to more than the stream.
func TestChunkSizes(t *testing.T) {
	eachKernel(t, func(t *testing.T) {
		eachDir(t, func(t *testing.T, dir Dir) {
			r := rand.New(rand.NewPCG(5, 6))
			for _, odd := range []int{0, 1, 4, 100} {
				o := newOracle(dir, 0)
				stream := randomStream(r, dir, 5000, odd)
				want, n, off := o.run(stream)
				for _, size := range []int{1, 2, 3, 5, 7, 16, 63, 64, 65, 67, 68, 70, 127, 128, 200, 256, 259, 260, 261, 1000, 1 << 20} {
					var cuts []int
					for at := size; at < len(stream); at += size {
						cuts = append(cuts, at)
					}
					o.expect(t, want, n, off, stream, cuts...)
				}
			}
		})
	})
}

func TestMaxLine(t *testing.T) {
	eachKernel(t, func(t *testing.T) {
		for maxLine := uint64(1); maxLine < 400; maxLine += uint64(stride()) {
			o := newOracle(Requests, maxLine)
			for _, size := range []int{6, 7, 70, 300, int(maxLine) - 1, int(maxLine), int(maxLine) + 1, 2 * int(maxLine)} {
				line := lineOfSize(max(6, size))
				stream := bytes.Repeat(line, 1+900/len(line))
				o.agree(t, stream)
				o.agree(t, stream, len(stream)/2)
				// The line before ends in this chunk, the next one begins in it.
				o.agree(t, append(lineOfSize(40), stream...), 3)
			}
			o.agree(t, bytes.Repeat([]byte("REQ 1 "), 200))
			o.agree(t, []byte(strings.Repeat("x", 300)))
		}
	})
}

func lineOfSize(n int) []byte {
	if n < 8 {
		return []byte("REQ " + strings.Repeat("1", n-5) + "\n")
	}
	return []byte("REQ 1 " + strings.Repeat("d", n-7) + "\n")
}

// A limit far above what the address space holds is no limit.
func TestMaxLineHuge(t *testing.T) {
	for _, maxLine := range []uint64{1 << 63, 1<<64 - 1} {
		s := NewScanner(Requests, maxLine)
		var c Counts
		b := []byte("REQ 1 abc\nREQ 2\n")
		if n := s.Feed(b, &c); n != len(b) || c.Req != 2 {
			t.Errorf("maxLine %d: %d valid bytes, %+v", maxLine, n, c)
		}
	}
}

// A violation leaves the scanner before the bad byte, as often as it is fed.
func TestViolationStays(t *testing.T) {
	s := NewScanner(Answers, 0)
	var c Counts
	b := []byte("ACK 1\nNAK 2\nACK 3 ok\nREQ 4\n")
	for at := 0; at < 3; at++ {
		n := s.Feed(b, &c)
		want := Violation{Line: 4, Offset: 0, Want: WantType}
		if s.Violation() != want || b[n] != 'R' {
			t.Fatalf("try %d: Feed stops at %q with %v, want %v", at, b[n:], s.Violation(), want)
		}
		b = b[n:]
	}
	if (c != Counts{Ack: 2, Nak: 1}) {
		t.Errorf("counts %+v", c)
	}
	if s.Offset() != 0 || s.Line() != 4 {
		t.Errorf("stands in line %d at %d", s.Line(), s.Offset())
	}
}

// The violation can still be asked for after Resync.
func TestViolationAfterResync(t *testing.T) {
	s := NewScanner(Requests, 0)
	var c Counts
	s.Feed([]byte("REQ 1\nREQ 2y"), &c)
	s.Resync([]byte("y"))
	if n, done := s.Resync([]byte("yy")); n != 2 || done {
		t.Errorf("Resync without LF: %d %v", n, done)
	}
	if s.Offset() != 8 {
		t.Errorf("offset %d in the bad line, want 8", s.Offset())
	}
	if n, done := s.Resync([]byte("y\nREQ 3\n")); n != 2 || !done {
		t.Errorf("Resync with LF: %d %v", n, done)
	}
	if want := (Violation{Line: 2, Offset: 5, Want: WantSeqEnd}); s.Violation() != want {
		t.Errorf("violation %v, want %v", s.Violation(), want)
	}
	if s.Line() != 3 || s.Offset() != 0 {
		t.Errorf("stands in line %d at %d", s.Line(), s.Offset())
	}
	if n := s.Feed([]byte("REQ 3\n"), &c); n != 6 || c.Req != 2 {
		t.Errorf("Feed after Resync: %d %+v", n, c)
	}
}

func TestEmptyChunk(t *testing.T) {
	s := NewScanner(Requests, 10)
	was := s
	var c Counts
	if n := s.Feed(nil, &c); n != 0 || s != was || c != (Counts{}) {
		t.Errorf("Feed(nil) = %d, %+v", n, s)
	}
	if n, lines := s.FeedLines(nil, &c, make([]int32, 1)); n != 0 || lines != 0 || s != was {
		t.Errorf("FeedLines(nil) = %d, %d", n, lines)
	}
}

// The scanner is a session's state: small, and without pointers.
func TestScannerIsSmallAndPlain(t *testing.T) {
	if size := unsafe.Sizeof(Scanner{}); size > 64 {
		t.Errorf("Scanner has %d bytes, at most 64 allowed", size)
	}
	typ := reflect.TypeFor[Scanner]()
	for i := range typ.NumField() {
		if k := typ.Field(i).Type.Kind(); k < reflect.Bool || k > reflect.Uint64 {
			t.Errorf("field %s is a %v", typ.Field(i).Name, k)
		}
	}
}

func TestNoAllocations(t *testing.T) {
	eachKernel(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(7, 8))
		clean, odd := randomStream(r, Requests, 20000, 0), randomStream(r, Requests, 20000, 3)
		ends := make([]int32, len(odd)+len(clean))
		var c Counts
		var h Head
		allocs := testing.AllocsPerRun(20, func() {
			s := NewScanner(Requests, 0)
			_, n := s.FeedLines(clean, &c, ends)
			for i := range n {
				begin := int32(0)
				if i > 0 {
					begin = ends[i-1]
				}
				h.Partial(clean[begin : begin+2])
				h.Line(clean[begin+2 : ends[i]])
			}
			for at := 0; at < len(odd); {
				valid := s.Feed(odd[at:], &c)
				s.Violation()
				skipped, _ := s.Resync(odd[at+valid:])
				at += valid + skipped
			}
			if _, _, err := Parse(clean[:ends[0]]); err != nil {
				t.Error(err)
			}
		})
		if allocs != 0 {
			t.Errorf("%v allocations per run", allocs)
		}
	})
}
