package ring

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Receives and sends wait for a socket whether or not it has O_NONBLOCK, also when it gets that while they wait. They go without the flag
// only by MSG_DONTWAIT of their own.
func TestSocketsAreWaitedForThatDoNotBlock(t *testing.T) {
	for name, pair := range map[string]func(testing.TB) (int, int){"tcp": tcpPairs, "unix": unixPair} {
		for _, when := range []string{"never", "before", "while it waits"} {
			t.Run(fmt.Sprint(name, " ", when), func(t *testing.T) {
				r := newRing(t, Params{})
				a, b := pair(t)
				begin := func(fd int, prep func()) {
					setNonblock(t, fd, when == "before")
					prep()
					none(t, r)
					setNonblock(t, fd, when != "never")
					none(t, r)
				}
				br := newBuffers(t, r, 8, 4096, false)
				receive := func(text string, more bool) {
					t.Helper()
					none(t, r)
					write(t, a, []byte(text))
					c := awaitOne(t, r, 1, len(text))
					if data, _ := take(br, &c, nil, nil); string(data) != text || c.More() != more {
						t.Errorf("%q, more %v", data, c.More())
					}
				}
				begin(b, func() { r.PrepRecv(b, testGroup, false, 1) })
				receive("once", false)
				begin(b, func() { r.PrepRecvMultishot(b, testGroup, false, 1) })
				receive("again", true)
				receive("and again", true)
				r.PrepCancel(1, 0, 2)
				await(t, r, 2)

				data := newArena(t, 8<<20).Bytes(8<<20, 4096) // more than a socket holds
				copy(data, pattern(len(data)))
				r.PrepSend(a, data, 0, 3)
				n := int(await(t, r, 1)[0].Res) // what it holds
				begin(a, func() { r.PrepSend(a, data[n:], unix.MSG_WAITALL, 4) })
				setNonblock(t, b, true)
				if got := drain(t, r, b, len(data)); !bytes.Equal(got, data) {
					t.Error("other bytes came out than went in")
				}
				awaitOne(t, r, 4, len(data)-n)
			})
		}
	}
}

// drain reads n bytes that a send of r's goes on with meanwhile.
func drain(t *testing.T, r *Ring, fd, n int) []byte {
	t.Helper()
	got := make([]byte, n)
	end := time.Now().Add(patience)
	for have := 0; have < n; {
		if time.Now().After(end) {
			t.Fatalf("%d of %d bytes came", have, n)
		}
		k, err := unix.Read(fd, got[have:])
		switch {
		case err == unix.EAGAIN || err == unix.EINTR:
			if errno := r.Collect(); errno != 0 {
				t.Fatal(errno)
			}
		case err != nil || k == 0:
			t.Fatalf("%d of %d bytes came: read %d, %v", have, n, k, err)
		}
		have += max(k, 0)
	}
	return got
}

func setNonblock(t *testing.T, fd int, on bool) {
	t.Helper()
	if err := unix.SetNonblock(fd, on); err != nil {
		t.Fatal(err)
	}
}
