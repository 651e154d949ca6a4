package ring_test

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"fooproxy/ring/ringtest"

	"golang.org/x/sys/unix"
)

// Whatever is forced upon the loop, the bytes that come back are those that went in, and each fault did happen.
func TestEchoUnderFaults(t *testing.T) {
	for name, rates := range map[string]ringtest.Rates{
		"none":      {},
		"sends":     {ShortSend: 2},
		"ends":      {EndMultishot: 1},
		"buffers":   {NoBuffers: 2},
		"enter":     {EINTR: 5, EAGAIN: 5, EBUSY: 5},
		"shuffle":   {Shuffle: 1, EndMultishot: 2},
		"all of it": {ShortSend: 3, EndMultishot: 3, NoBuffers: 3, EINTR: 6, EAGAIN: 6, EBUSY: 6, Shuffle: 2},
	} {
		var sum ringtest.Counts
		for seed := range uint64(5) {
			faults := ringtest.New(seed, rates)
			sent, came := roundTrip(t, seed, faults)
			if !bytes.Equal(sent, came) {
				t.Errorf("%s, seed %d: %d bytes went in, %d came out, equal up to %d",
					name, seed, len(sent), len(came), firstDifference(sent, came))
			}
			c := faults.Counts()
			sum.ShortSend += c.ShortSend
			sum.EndMultishot += c.EndMultishot
			sum.NoBuffers += c.NoBuffers
			sum.EINTR += c.EINTR
			sum.EAGAIN += c.EAGAIN
			sum.EBUSY += c.EBUSY
		}
		for what, happened := range map[string][2]int{
			"short send": {rates.ShortSend, int(sum.ShortSend)},
			"early end":  {rates.EndMultishot, int(sum.EndMultishot)},
			"no buffers": {rates.NoBuffers, int(sum.NoBuffers)},
			"EINTR":      {rates.EINTR, int(sum.EINTR)},
			"EAGAIN":     {rates.EAGAIN, int(sum.EAGAIN)},
			"EBUSY":      {rates.EBUSY, int(sum.EBUSY)},
		} {
			if (happened[0] > 0) != (happened[1] > 0) {
				t.Errorf("%s: %s with rate %d happened %d times", name, what, happened[0], happened[1])
			}
		}
	}
}

func firstDifference(a, b []byte) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}

// roundTrip sends seeded bytes through the echo loop and returns them and what came back.
func roundTrip(t *testing.T, seed uint64, faults *ringtest.Faults) (sent, came []byte) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fds[0])
	rng := rand.New(rand.NewPCG(seed, 7))
	sent = make([]byte, 1<<20)
	for i := range sent {
		sent[i] = byte(rng.Uint32())
	}
	done := make(chan error, 2)
	go func() {
		err := echo(fds[1], faults)
		unix.Close(fds[1])
		done <- err
	}()
	go func() {
		for rest := sent; len(rest) > 0; {
			n, err := unix.Write(fds[0], rest[:min(len(rest), 1+rng.IntN(20_000))])
			if err != nil {
				done <- err
				return
			}
			rest = rest[n:]
		}
		done <- unix.Shutdown(fds[0], unix.SHUT_WR)
	}()
	buf := make([]byte, 1<<16)
	for {
		n, err := unix.Read(fds[0], buf)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			break
		}
		came = append(came, buf[:n]...)
	}
	for range 2 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	return sent, came
}
