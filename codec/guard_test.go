//go:build linux

package codec

import (
	"math/rand/v2"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// guarded is memory with a page on either side that faults when touched.
func guarded(t *testing.T, pages int) []byte {
	page := unix.Getpagesize()
	all, err := unix.Mmap(-1, 0, (pages+2)*page, unix.PROT_NONE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Munmap(all); err != nil {
			t.Error(err)
		}
	})
	inside := all[page : (pages+1)*page]
	if err := unix.Mprotect(inside, unix.PROT_READ|unix.PROT_WRITE); err != nil {
		t.Fatal(err)
	}
	return inside
}

// No byte before or after a chunk is read, and no entry after the room for line
// ends is written: chunks lie against guard pages, at both ends and at every
// alignment, and so does the smallest room for line ends.
func TestGuardPages(t *testing.T) {
	eachKernel(t, func(t *testing.T) {
		mem := guarded(t, 1)
		room := guarded(t, 1)
		r := rand.New(rand.NewPCG(13, 14))
		eachDir(t, func(t *testing.T, dir Dir) {
			streams := [][]byte{
				filler(dir, 1200),
				[]byte(repeatTo(inDir(dir, "REQ 1\n", false), 1200)),
				[]byte(repeatTo(inDir(dir, "REQ 12 "+longText(121), true), 1200)),
				[]byte(repeatTo(inDir(dir, "REQ 12 ", true)+"€uro ", 1200)),
				randomStream(r, dir, 1200, 0),
				randomStream(r, dir, 1200, 5),
			}
			for _, stream := range streams {
				for n := 0; n < 700; n += stride() {
					guardedRun(t, dir, mem[:n], room, stream)
					guardedRun(t, dir, mem[len(mem)-n:], room, stream)
					skip := min(r.IntN(200), len(stream)-n)
					guardedRun(t, dir, mem[len(mem)-n:], room, stream[skip:])
				}
			}
		})
	})
}

// guardedRun feeds as much of stream as fits into chunk, from there, and wants
// the same as from ordinary memory.
func guardedRun(t *testing.T, dir Dir, chunk, room, stream []byte) {
	n := copy(chunk, stream)
	a, b := NewScanner(dir, 0), NewScanner(dir, 0)
	var ca, cb Counts
	count := n/6 + 1
	ends := unsafe.Slice((*int32)(unsafe.Pointer(&room[len(room)-4*count])), count)
	validA, linesA := a.FeedLines(chunk[:n:n], &ca, ends)
	validB := b.Feed(append([]byte(" "), stream[:n]...)[1:], &cb)
	if validA != validB || ca != cb || uint64(linesA) != ca.Total() || a.Violation() != b.Violation() {
		t.Fatalf("%d bytes against a guard page: %d %+v %v, elsewhere %d %+v %v", n, validA, ca, a.Violation(), validB, cb, b.Violation())
	}
}

// Every alignment of a chunk gives the same.
func TestAlignments(t *testing.T) {
	eachKernel(t, func(t *testing.T) {
		eachDir(t, func(t *testing.T, dir Dir) {
			r := rand.New(rand.NewPCG(15, 16))
			o := newOracle(dir, 0)
			buf := make([]byte, 4096)
			for _, odd := range []int{0, 10} {
				stream := randomStream(r, dir, 1500, odd)
				want, line, off := o.run(stream)
				for shift := range 65 {
					chunk := buf[shift : shift+len(stream)]
					copy(chunk, stream)
					o.expect(t, want, line, off, chunk)
				}
			}
		})
	})
}

func repeatTo(line string, n int) string {
	s := ""
	for len(s) < n {
		s += line
	}
	return s
}

// longText is n bytes of text that end in LF.
func longText(n int) string { return repeatTo("lorem ipsum ", n)[:n-1] + "\n" }
