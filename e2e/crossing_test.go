package e2e

import (
	"strings"
	"testing"
)

// crossing is a connection in the middle of long streams, to which something is about to be done.
type crossing struct {
	atClient, atServer sight
	over               chan error
}

// cross begins streams from the client ("c"), the server ("s") or both, which are longer than time and buffers allow, and returns
// when a part of each has arrived. Whatever arrives later is compared too. Where long Data is spliced it is long.
func cross(t testing.TB, p *proxy, c, s *peer, from string) *crossing {
	t.Helper()
	n, size, part := 1<<20, 1000, 500
	if splices(p.engine) {
		n, size, part = 1<<13, 200_000, 30
		defer func() {
			if p.ask()["spliced_bytes"] == 0 {
				t.Error("nothing has been spliced")
			}
		}()
	}
	x := &crossing{over: make(chan error, 1)}
	answers, requests := newProgress(), newProgress()
	stream := func(side, typ string) *messages {
		if !strings.Contains(from, side) {
			return new(messages)
		}
		return &messages{typ: typ, conn: 1, n: n, size: size}
	}
	go func() {
		x.over <- together(
			func() error { return x.atServer.read(s, stream("c", "REQ"), requests) },
			func() error { return x.atClient.read(c, stream("s", "ACK"), answers) },
			func() error { _ = c.sendAll(stream("c", "REQ")); return nil }, // until the connection ends
			func() error { _ = s.sendAll(stream("s", "ACK")); return nil },
		)
	}()
	if strings.Contains(from, "c") && !requests.await(part) || strings.Contains(from, "s") && !answers.await(part) {
		t.Fatalf("a stream ended by itself: %v", <-x.over)
	}
	return x
}

// ended waits for the end of both streams and wants what has arrived to be a prefix of what was sent.
func (x *crossing) ended(t testing.TB) {
	t.Helper()
	ok(t, <-x.over)
	t.Logf("%d requests and %d answers had arrived", x.atServer.linesIn, x.atClient.linesIn)
}
