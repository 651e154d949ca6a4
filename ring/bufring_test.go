package ring

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

const testGroup = 3

// newBuffers makes a buffer ring full of buffers.
func newBuffers(t testing.TB, r *Ring, count, size int, incremental bool) *BufRing {
	t.Helper()
	br, err := r.NewBufRing(testGroup, newArena(t, count*size).Bytes(count*size, 64), size, 0, incremental)
	if err != nil {
		t.Fatal(err)
	}
	for id := range count {
		br.Add(int32(id))
	}
	br.Publish()
	return br
}

// take appends what a completion carries, and says which buffers came into our hands.
func take(br *BufRing, c *CQE, data []byte, ids []int32) ([]byte, []int32) {
	for s := br.Segments(c); s.Next(); {
		data = append(data, s.Data...)
		if s.Ours {
			ids = append(ids, s.Buffer)
		}
	}
	return data, ids
}

func TestRecvOnce(t *testing.T) {
	a, b := tcpPairs(t)
	r := newRing(t, Params{})
	br := newBuffers(t, r, 4, 100, false)
	if br.Group() != testGroup || br.Count() != 4 || br.Size() != 100 || br.InKernel() != 4 {
		t.Fatalf("group %d, %d buffers of %d, %d in the kernel", br.Group(), br.Count(), br.Size(), br.InKernel())
	}
	r.PrepRecv(b, testGroup, false, 1)
	none(t, r)
	write(t, a, []byte("hello"))
	c := awaitOne(t, r, 1, 5)
	if c.More() {
		t.Error("a single receive wants to go on")
	}
	data, ids := take(br, &c, nil, nil)
	if string(data) != "hello" || len(ids) != 1 || br.InKernel() != 3 || string(br.Buffer(ids[0])[:5]) != "hello" {
		t.Errorf("data %q in buffers %v, %d in the kernel", data, ids, br.InKernel())
	}
	if head, err := br.KernelHead(); err != nil || head != 1 {
		t.Errorf("the kernel's head is %d, %v", head, err)
	}
}

// flow sends a pattern in pieces of random size through a multishot receive and checks every byte, until that many
// buffers have been used up.
func flow(t *testing.T, pair func(testing.TB) (int, int), count int, bundle, incremental bool, useMin int) {
	const size = 64
	a, b := pair(t)
	r := newRing(t, Params{Entries: 8})
	br := newBuffers(t, r, count, size, incremental)
	rng := rand.New(rand.NewPCG(1, uint64(count)))
	data := append(pattern(1<<16), pattern(1 << 16)[:size]...)
	const period = 1 << 16
	sent, received, bundles, starved, used := 0, 0, 0, 0, 0
	armed := false
	var held []int32
	for used < useMin {
		for range 4 {
			from := sent % period
			n, err := unix.Write(a, data[from:min(from+1+rng.IntN(3*size), period)])
			if err == nil {
				sent += n
			} else if err != unix.EAGAIN {
				t.Fatal(err)
			}
		}
		if !armed && br.InKernel() > 0 {
			armed = r.PrepRecvMultishot(b, testGroup, bundle, 1) != nil
		}
		if errno := r.WaitRaw(RawWaitMax); errno != 0 {
			t.Fatal(errno)
		}
		for batch := r.Ready(); len(batch) > 0; batch = r.Ready() {
			for i := range batch {
				c := &batch[i]
				armed = c.More()
				if c.Errno() == unix.ENOBUFS {
					starved++
				} else if c.Res <= 0 {
					t.Fatal(describe(batch))
				}
				before := len(held)
				for s := br.Segments(c); s.Next(); {
					from := received % period
					if !bytes.Equal(s.Data, data[from:from+len(s.Data)]) {
						t.Fatalf("wrong bytes at %d", received)
					}
					received += len(s.Data)
					if s.Ours {
						held = append(held, s.Buffer)
						used++
					}
				}
				if len(held) > before+1 {
					bundles++
				}
			}
			r.Advance(len(batch))
		}
		// Buffers come back late and in any order, as flows return them.
		rng.Shuffle(len(held), func(i, j int) { held[i], held[j] = held[j], held[i] })
		for keep := rng.IntN(1 + len(held)/2); len(held) > keep; held = held[:len(held)-1] {
			br.Add(held[len(held)-1])
		}
		br.Publish()
	}
	t.Logf("%d bytes, %d buffers used, %d bundles, starved %d times", received, used, bundles, starved)
	if bundle && bundles == 0 {
		t.Error("no completion carried more than one buffer")
	}
	if head, err := br.KernelHead(); err != nil || int(head) != used&0xffff {
		t.Errorf("the kernel's head is %d, %v; we used %d", head, err, used)
	}
}

func TestFlows(t *testing.T) {
	for _, pair := range []struct {
		name string
		make func(testing.TB) (int, int)
		use  int
	}{
		{"tcp", tcpPairs, 1<<16 + 5000}, // the ring's 16-bit tail wraps
		{"unix", unixPair, 5000},
	} {
		for _, count := range []int{1, 4, 5, 64} {
			for _, bundle := range []bool{false, true} {
				for _, incremental := range []bool{false, true} {
					if bundle && count == 1 {
						continue
					}
					t.Run(fmt.Sprintf("%s %d bundle=%v incremental=%v", pair.name, count, bundle, incremental), func(t *testing.T) {
						flow(t, pair.make, count, bundle, incremental, pair.use)
					})
				}
			}
		}
	}
}

// With no buffer left a receive ends with -ENOBUFS and no data is lost.
func TestStarvation(t *testing.T) {
	a, b := tcpPairs(t)
	r := newRing(t, Params{})
	br := newBuffers(t, r, 2, 10, false)
	r.PrepRecvMultishot(b, testGroup, false, 1)
	data := pattern(35)
	write(t, a, data)
	var got []byte
	var ids []int32
	for range 3 {
		c := await(t, r, 1)[0]
		got, ids = take(br, &c, got, ids)
		if len(ids) == 2 && c.Errno() == unix.ENOBUFS {
			if c.More() {
				t.Error("a starved receive wants to go on")
			}
			break
		}
	}
	none(t, r)
	if br.InKernel() != 0 || len(got) != 20 {
		t.Fatalf("%d buffers in the kernel, %d bytes", br.InKernel(), len(got))
	}
	for len(got) < len(data) {
		for _, id := range ids {
			br.Add(id)
		}
		ids = ids[:0]
		br.Publish()
		r.PrepRecv(b, testGroup, false, 1)
		c := await(t, r, 1)[0]
		got, ids = take(br, &c, got, ids)
	}
	if !bytes.Equal(got, data) {
		t.Error("other bytes came out than went in")
	}
}

// The end of the stream comes after all data, as a completion without bytes and without FlagMore; so does a reset.
func TestEnds(t *testing.T) {
	for _, reset := range []bool{false, true} {
		a, b := tcpPairs(t)
		r := newRing(t, Params{})
		br := newBuffers(t, r, 4, 64, false)
		r.PrepRecvMultishot(b, testGroup, true, 1)
		write(t, a, []byte("last words"))
		c := awaitOne(t, r, 1, 10)
		data, ids := take(br, &c, nil, nil)
		want := unix.Errno(0)
		if reset {
			want = unix.ECONNRESET
			if err := unix.SetsockoptLinger(a, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}); err != nil {
				t.Fatal(err)
			}
			unix.Close(a)
		} else if err := unix.Shutdown(a, unix.SHUT_WR); err != nil {
			t.Fatal(err)
		}
		c = awaitOne(t, r, 1, -int(want))
		data, ids = take(br, &c, data, ids)
		if string(data) != "last words" || c.More() || br.InKernel()+len(ids) != 4 {
			t.Errorf("data %q, end %s, %d buffers in the kernel and %v with us", data, describe([]CQE{c}), br.InKernel(), ids)
		}
	}
}

// Small messages share an incremental buffer until it is full; then it is ours.
func TestIncrementalBuffer(t *testing.T) {
	a, b := tcpPairs(t)
	r := newRing(t, Params{})
	br := newBuffers(t, r, 2, 30, true)
	r.PrepRecvMultishot(b, testGroup, false, 1)
	want := pattern(30)
	var first int32
	for i := range 3 {
		write(t, a, want[10*i:10*i+10])
		c := awaitOne(t, r, 1, 10)
		s := br.Segments(&c)
		if !s.Next() || !bytes.Equal(s.Data, want[10*i:10*i+10]) || i > 0 && s.Buffer != first {
			t.Fatalf("message %d: %s, segment %+v", i, describe([]CQE{c}), s)
		}
		first = s.Buffer
		if full := i == 2; s.Ours != full || c.Flags&FlagBufMore != 0 == full || s.Next() {
			t.Errorf("message %d: %s, segment %+v", i, describe([]CQE{c}), s)
		}
	}
	if !bytes.Equal(br.Buffer(first), want) || br.InKernel() != 1 {
		t.Errorf("buffer %q, %d in the kernel", br.Buffer(first), br.InKernel())
	}
}

// Completions of one batch may be handled in any order, buffers returned meanwhile included.
func TestSegmentsOutOfOrder(t *testing.T) {
	r := newRing(t, Params{})
	br := newBuffers(t, r, 4, 64, false)
	early := CQE{Res: 100, Flags: FlagBuffer}                 // buffers 0 and 1
	late := CQE{Res: 100, Flags: FlagBuffer | 2<<bufferShift} // buffers 2 and 3
	_, ids := take(br, &late, nil, nil)
	for _, id := range ids {
		br.Add(id)
	}
	_, ids = take(br, &early, nil, ids)
	if !slices.Equal(ids, []int32{2, 3, 0, 1}) {
		t.Errorf("buffers %v came, want 2 3 0 1", ids)
	}
}

// A completion that carries a buffer but no bytes still hands the buffer over.
func TestBufferWithoutBytes(t *testing.T) {
	r := newRing(t, Params{})
	br := newBuffers(t, r, 4, 64, false)
	c := CQE{Res: -int32(unix.ECANCELED), Flags: FlagBuffer | 2<<bufferShift}
	s := br.Segments(&c)
	if !s.Next() || s.Buffer != 2 || len(s.Data) != 0 || !s.Ours || s.Next() {
		t.Errorf("segment %+v", s)
	}
	c = CQE{Res: 5}
	s = br.Segments(&c)
	if s.Next() {
		t.Error("a completion without a buffer has a segment")
	}
}

func TestBufferMisuse(t *testing.T) {
	r := newRing(t, Params{})
	br := newBuffers(t, r, 4, 64, false)
	panics := func(what string, f func()) {
		t.Helper()
		defer func() {
			if recover() == nil {
				t.Errorf("%s goes unnoticed", what)
			}
		}()
		f()
	}
	panics("a buffer returned twice", func() { br.Add(1) })
	panics("a buffer that the kernel does not have", func() { take(br, &CQE{Res: 1, Flags: FlagBuffer | 4<<bufferShift}, nil, nil) })
	panics("a buffer the group does not have", func() { br.Segments(&CQE{Res: 1, Flags: FlagBuffer | 8<<bufferShift}) })
	c := CQE{Res: 1, Flags: FlagBuffer | 2<<bufferShift}
	take(br, &c, nil, nil)
	panics("a buffer delivered twice", func() { take(br, &c, nil, nil) })
	for name, err := range map[string]error{
		"no buffer":     second(r.NewBufRing(9, nil, 10, 0, false)),
		"no size":       second(r.NewBufRing(9, make([]byte, 10), 0, 0, false)),
		"half a buffer": second(r.NewBufRing(9, make([]byte, 15), 10, 0, false)),
		"group taken":   second(r.NewBufRing(testGroup, newArena(t, 64).Bytes(64, 64), 64, 0, false)),
	} {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if err := br.Close(); err != nil {
		t.Error(err)
	}
	if err := br.Close(); err == nil {
		t.Error("closing a buffer ring twice: no error")
	}
}

// Of many buffers the kernel has only so many at once; one more is refused until a completion has brought one back.
func TestFewPlaces(t *testing.T) {
	r := newRing(t, Params{})
	br, err := r.NewBufRing(testGroup, newArena(t, 8*64).Bytes(8*64, 64), 64, 2, false)
	if err != nil {
		t.Fatal(err)
	}
	refused := func(id int32) (refused bool) {
		defer func() { refused = recover() != nil }()
		br.Add(id)
		return false
	}
	if br.Count() != 8 || refused(7) || refused(6) || !refused(5) {
		t.Fatalf("of %d buffers the kernel has %d", br.Count(), br.InKernel())
	}
	take(br, &CQE{Res: 1, Flags: FlagBuffer}, nil, nil) // the one at the first place
	if refused(5) || !refused(7) || br.InKernel() != 2 {
		t.Errorf("the kernel has %d buffers, want 2", br.InKernel())
	}
	for _, atOnce := range []int{-1, 9} {
		if _, err := r.NewBufRing(9, newArena(t, 8*64).Bytes(8*64, 64), 64, atOnce, false); err == nil {
			t.Errorf("%d of 8 buffers at once: no error", atOnce)
		}
	}
}

// There may be more buffers than the kernel's ids tell apart.
func TestManyBuffers(t *testing.T) {
	const count, size = 1<<16 + 10, 64
	a, b := tcpPairs(t)
	r := newRing(t, Params{})
	br, err := r.NewBufRing(testGroup, newArena(t, count*size).Bytes(count*size, 64), size, 4, false)
	if err != nil {
		t.Fatal(err)
	}
	want := []int32{count - 1, 9, 1<<16 + 9 - 5, 5}
	for _, n := range want {
		br.Add(n)
	}
	br.Publish()
	var ids []int32
	for i, n := range want {
		r.PrepRecv(b, testGroup, false, 1)
		write(t, a, pattern(10+i))
		c := awaitOne(t, r, 1, 10+i)
		var data []byte
		if data, ids = take(br, &c, nil, ids); !bytes.Equal(data, pattern(10+i)) || !bytes.Equal(br.Buffer(n)[:10+i], data) {
			t.Errorf("%q came, %q is in buffer %d", data, br.Buffer(n)[:10+i], n)
		}
	}
	if !slices.Equal(ids, want) {
		t.Errorf("buffers %v came, want %v", ids, want)
	}
}

func second[T any](_ T, err error) error { return err }
