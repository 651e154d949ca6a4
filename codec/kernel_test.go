//go:build amd64 && !noasm

package codec

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/cpu"
)

// On a processor that has what a kernel needs, that kernel is tested and the
// fastest is in use.
func TestKernelChoice(t *testing.T) {
	if cpu.X86.HasAVX2 && !slices.Contains(available(), avx2) {
		t.Error("AVX2 is there, its kernel is not")
	}
	if cpu.X86.HasAVX512VBMI2 && (!slices.Contains(available(), avx512) || Kernel() != "avx512") {
		t.Errorf("AVX-512 is there, its kernel is not in use but %s", Kernel())
	}
	if last := available()[len(available())-1]; last != portable || Kernel() != available()[0].String() {
		t.Errorf("available %v, in use %s", available(), Kernel())
	}
}

// A kernel takes every whole block of a valid stream: it does not hand work to
// the line-wise scanner that it should do itself.
func TestKernelTakesAllThatIsValid(t *testing.T) {
	eachVector(t, func(t *testing.T, dir Dir) {
		r := rand.New(rand.NewPCG(17, 18))
		streams := [][]byte{}
		for range 50 {
			streams = append(streams, randomStream(r, dir, 3000, 0))
		}
		for _, line := range corpus {
			line = inDir(dir, line, false)
			if v := newOracle(dir, 0).judge([]byte(line)); v.want == WantNone && strings.HasSuffix(line, "\n") {
				for lead := 6; lead < 70; lead += 7 {
					streams = append(streams, around(dir, lead, line))
				}
			}
		}
		for _, stream := range streams {
			for _, at := range []int{3, 4, 5, 6, 70} {
				// What is cut at the end of the last block is left, too.
				stop, _ := runKernel(dir, stream, at)
				if left := len(stream) - stop; left >= 64+4 {
					t.Fatalf("kernel started at %d of %q stops %d bytes before its end", at, shorten(stream), left)
				}
			}
		}
	})
}

// A kernel takes no block in which the oracle finds an error, but for a line
// that begins at its very end or a character that is cut by it.
func TestKernelStopsBeforeErrors(t *testing.T) {
	eachVector(t, func(t *testing.T, dir Dir) {
		for i, line := range corpus {
			line = inDir(dir, line, i%2 == 0)
			o := newOracle(dir, 0)
			if o.judge([]byte(line)).want == WantNone {
				continue
			}
			for lead := 6; lead < 330; lead += stride() {
				stream := around(dir, lead, line)
				events, _, _ := o.run(stream)
				first := slices.IndexFunc(events, func(e event) bool { return e.typ == 0 })
				if first < 0 {
					t.Fatalf("no error in %q", stream)
				}
				k, state := runKernel(dir, stream, 5)
				if bad := events[first].at; k > bad {
					t.Fatalf("error at %d of %q, kernel goes on to %d, state %d", bad, stream, k, state)
				}
			}
		}
	})
}

// Lines of every length in every phase of a group: the paths for groups with
// one or two lines, and for heads that lie across groups.
func TestLineLengths(t *testing.T) {
	eachKernel(t, func(t *testing.T) {
		eachDir(t, func(t *testing.T, dir Dir) {
			for n := 6; n < 700; n += stride() {
				o := newOracle(dir, 0)
				line := inDir(dir, string(lineOfSize(n)), n%2 == 0)
				other := inDir(dir, string(lineOfSize(n)), n%2 == 1)
				stream := []byte(strings.Repeat(line+other, 1+1500/n))
				o.agree(t, stream)
				o.agree(t, stream, 1+n%5)
				o.agree(t, append(filler(dir, 6+n%59), stream...))
			}
		})
	})
}

// Heads of every size at every distance from the end of a group, among long
// lines, good and bad.
func TestHeadsAcrossGroups(t *testing.T) {
	eachKernel(t, func(t *testing.T) {
		eachDir(t, func(t *testing.T, dir Dir) {
			o := newOracle(dir, 0)
			for _, head := range []string{
				"REQ 1\n", "REQ 12 ", "REQ   \t 345678 ", "REQ -77 ", "REQ 1234567890123456789012\r\n", "REQ 5x ", "REQ x ", "REX 1 ", "REQ1 ",
				"REQ 1 \xff ", "REQ" + strings.Repeat(" ", 70) + "1 ", "REQ " + strings.Repeat("6", 70) + " ", "REQ \n", "REQ 7é ", "\n",
			} {
				head = inDir(dir, head, len(head)%2 == 0)
				for n := 120; n < 400; n += stride() {
					before := inDir(dir, string(lineOfSize(n)), n%3 == 0)
					after := inDir(dir, string(lineOfSize(300)), n%3 == 1)
					o.agree(t, []byte(before+head+longText(290)+after+before))
				}
			}
		})
	})
}

func eachVector(t *testing.T, f func(t *testing.T, dir Dir)) {
	eachKernel(t, func(t *testing.T) {
		if kernel != portable {
			eachDir(t, f)
		}
	})
}

// runKernel lets the kernel in use start at offset at of stream, which is taken
// line by line before, and returns where the scanner goes on after it and in
// which state.
func runKernel(dir Dir, stream []byte, at int) (stop int, state uint8) {
	s := NewScanner(dir, 0)
	var p pass
	at, _ = s.scanLines(stream[:at], 0, &p)
	stop = s.vector(stream, at, &p)
	return stop, s.state
}
