package profile

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"math"
	"strings"
	"testing"

	"github.com/google/pprof/profile"
)

// stacks builds a profile from stacks, innermost function first, "name@file" each, with a number of samples.
func stacks(counts map[string]int64) *profile.Profile {
	p := &profile.Profile{SampleType: []*profile.ValueType{{Type: "samples", Unit: "count"}, {Type: "cpu", Unit: "nanoseconds"}}}
	id := uint64(0)
	for stack, n := range counts {
		s := &profile.Sample{Value: []int64{n, n * 1e7}}
		for name := range strings.SplitSeq(stack, " < ") {
			id++
			name, file, _ := strings.Cut(name, "@")
			f := &profile.Function{ID: id, Name: name, Filename: file}
			l := &profile.Location{ID: id, Line: []profile.Line{{Function: f}}}
			p.Function, p.Location = append(p.Function, f), append(p.Location, l)
			s.Location = append(s.Location, l)
		}
		p.Sample = append(p.Sample, s)
	}
	return p
}

var sample = map[string]int64{
	"internal/runtime/syscall/linux.Syscall6 < syscall.RawSyscall6 < fooproxy/ring.(*Ring).enter < fooproxy/proxy.run": 50,
	"runtime.futex < runtime.futexsleep < runtime.notesleep":                                                           5,
	"fooproxy/codec.scan512 < fooproxy/codec.(*Scanner).Feed < fooproxy/proxy.(*core).inspect@/x/proxy/inspect.go":     10,
	"runtime.memmove < fooproxy/proxy.(*slab).keep@/x/proxy/slab.go":                                                   4,
	"encoding/binary.littleEndian.Uint32 < fooproxy/codec.(*Scanner).Feed":                                             6,
	"fooproxy/stats.(*Core).Publish < fooproxy/proxy.run":                                                              3,
	"fooproxy/proxy.(*core).trackLines@/x/proxy/records.go < fooproxy/proxy.run":                                       2,
	"fooproxy/accesslog.(*Ring).Put < fooproxy/proxy.run":                                                              5,
	"runtime.mallocgc < fooproxy/proxy.grow@/x/proxy/table.go":                                                         7,
	"fooproxy/proxy.(*uring).turn@/x/proxy/uring.go":                                                                   6,
	"net/http.(*conn).serve": 2,
}

func TestClassify(t *testing.T) {
	want := map[Class]float64{
		Kernel: 0.55, Scanning: 0.16, Statistics: 0.03, Logging: 0.07, Loop: 0.10, Runtime: 0.07, Other: 0.02,
	}
	shares := Classify(stacks(sample))
	sum := 0.0
	for _, s := range shares {
		sum += s.Part
		if math.Abs(s.Part-want[s.Class]) > 1e-9 {
			t.Errorf("%s: %.3f, want %.3f (%v)", s.Class, s.Part, want[s.Class], s.Top)
		}
	}
	if math.Abs(sum-1) > 1e-9 || len(shares) != len(want) {
		t.Fatalf("%d shares sum up to %f", len(shares), sum)
	}
	if top := shares[0].Top[0]; top.Name != "fooproxy/ring.(*Ring).enter" || top.Part != 0.5 {
		t.Errorf("who entered the kernel: %+v", top)
	}
	var text bytes.Buffer
	WriteShares(&text, shares)
	if !strings.Contains(text.String(), "55.0 %  kernel entry   ring.(*Ring).enter 50.0") {
		t.Error(text.String())
	}
}

func TestClassifyNothing(t *testing.T) {
	for _, s := range Classify(stacks(nil)) {
		if s.Part != 0 {
			t.Fatal(s)
		}
	}
}

func TestFlameIsWellFormed(t *testing.T) {
	for _, counts := range []map[string]int64{sample, nil, {"a<b>&\"c\"": 1}} {
		var b bytes.Buffer
		if err := WriteFlame(&b, stacks(counts), "a <title>"); err != nil {
			t.Fatal(err)
		}
		boxes, d := 0, xml.NewDecoder(&b)
		for {
			token, err := d.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if start, ok := token.(xml.StartElement); ok && start.Name.Local == "g" {
				boxes++
			}
		}
		if len(counts) == len(sample) && boxes < 20 {
			t.Errorf("%d boxes", boxes)
		}
	}
}

func TestParsePerf(t *testing.T) {
	entries := parsePerf([]byte(`# To display the perf.data header info
#
# Overhead  Symbol                                  IPC   [IPC Coverage]
# ........  ......
    40.00%  [k] tcp_sendmsg_locked                  -      -
    10.50%  [.] fooproxy/codec.(*Scanner).Feed      -      -
     2.00%  [.] runtime.mallocgc                    -      -
     1.00%  [.] internal/runtime/syscall/linux.Syscall6  -  -
     0.50%  [.] runtime.memmove                     -      -

`))
	if len(entries) != 5 || !entries[0].kernel || entries[0].Name != "tcp_sendmsg_locked" || entries[0].Part != 0.4 {
		t.Fatalf("%+v", entries)
	}
	shares, ours := classifyPerf(entries)
	if !ours {
		t.Fatal("this is our program")
	}
	want := map[Class]float64{Kernel: 0.41, Scanning: 0.105, Runtime: 0.02, Other: 0.005}
	for _, s := range shares {
		if math.Abs(s.Part-want[s.Class]) > 1e-9 {
			t.Errorf("%s: %f, want %f", s.Class, s.Part, want[s.Class])
		}
	}
	if _, ours := classifyPerf(entries[:1]); ours {
		t.Fatal("this could be any program")
	}
}

// The bounds of tables of Poisson's law: 3.00 for 0, 118.1 for 100.
func TestAtMost(t *testing.T) {
	for n, want := range map[int]float64{0: 3.00, 1: 4.74, 10: 16.96, 100: 118.1} {
		if got := atMost(n); math.Abs(got/want-1) > 0.02 {
			t.Errorf("%d: %.2f, want %.2f", n, got, want)
		}
	}
}
