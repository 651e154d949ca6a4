package proxy

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"fooproxy/stats"
)

func TestClientEndsFirst(t *testing.T) {
	d := newOpen(t, Config{})
	d.says(client, "REQ 1 hello\nREQ 2\n")
	d.says(server, "ACK 1\n")
	d.has("ACK 1\n", "", "REQ 1 hello\nREQ 2\n", "")
	d.fin(client)
	d.has("ACK 1\n", "", "REQ 1 hello\nREQ 2\n", "FIN")
	d.isOpen()
	d.says(server, "NAK 2 late\n") // through the half-open connection
	d.fin(server)
	d.has("ACK 1\nNAK 2 late\n", "FIN", "REQ 1 hello\nREQ 2\n", "FIN")
	d.is(causeClientFIN)
	d.messages(2, 1, 1, 0)
	d.counts(map[stats.Counter]uint64{stats.BytesRequest: 18, stats.BytesResponse: 17, stats.ClassFoo: 1, stats.Unmatched: 0})
}

func TestServerEndsFirst(t *testing.T) {
	d := newOpen(t, Config{})
	d.says(client, "REQ 1\nREQ 2\n")
	d.says(server, "ACK 1\n")
	d.fin(server)
	d.has("ACK 1\n", "FIN", "REQ 1\nREQ 2\n", "")
	d.isOpen()
	d.says(client, "REQ 3\n") // the server may still listen
	d.fin(client)
	d.has("ACK 1\n", "FIN", "REQ 1\nREQ 2\nREQ 3\n", "FIN")
	d.is(causeServerFIN)
	d.messages(3, 1, 0, 0)
}

func TestAnEndWaitsForWhatIsQueued(t *testing.T) {
	d := newOpen(t, Config{})
	d.room[server] = 0
	d.says(client, "REQ 1\n")
	d.c.sourceFIN(d.s, client) // known while reading is paused: poll says so
	d.work()
	d.has("", "", "", "")
	d.takes(server, 4)
	d.has("", "", "REQ ", "")
	d.takes(server, 2)
	d.has("", "", "REQ 1\n", "FIN")
	d.fin(server)
	d.is(causeClientFIN)
}

func TestAnUnfinishedLineIsForwardedAndNotCounted(t *testing.T) {
	d := newOpen(t, Config{})
	d.says(client, "REQ 1\nREQ 2 no end")
	d.has("", "", "REQ 1\nREQ 2 no end", "")
	d.fin(client)
	d.fin(server)
	d.has("", "FIN", "REQ 1\nREQ 2 no end", "FIN")
	d.messages(1, 0, 0, 0)
	d.is(causeClientFIN)
}

// resets holds for either side as the one that resets.
func resets(t *testing.T, test func(t *testing.T, from side, why cause)) {
	for from, why := range map[side]cause{client: causeClientRST, server: causeServerRST} {
		t.Run(name(from), func(t *testing.T) { test(t, from, why) })
	}
}

var line = [2]string{"REQ 1 a line\n", "ACK 1 a line\n"}

func TestResetComesAfterWhatWasSentBefore(t *testing.T) {
	resets(t, func(t *testing.T, from side, why cause) {
		d := newOpen(t, Config{})
		to := from ^ 1
		d.says(client, "REQ 1\n")
		d.got = [2]string{}
		d.room[to] = 5
		d.unacked[to] = true
		d.says(from, line[from])
		d.rst(from)
		d.isOpen()
		if d.reads(from) || d.reads(to) {
			t.Error("a side is read after the reset")
		}
		d.takes(to, 100)
		if d.got[to] != line[from] {
			t.Errorf("got %q before the reset, want %q", d.got[to], line[from])
		}
		d.isOpen() // closing now would destroy what has not been acknowledged
		d.unacked[to] = false
		d.work()
		if d.end[to] != "RST" {
			t.Errorf("the %s gets %s, want RST", name(to), d.end[to])
		}
		d.is(why)
	})
}

func TestWhatWasMeantForAResetSideIsDropped(t *testing.T) {
	resets(t, func(t *testing.T, from side, why cause) {
		d := newOpen(t, Config{})
		d.room[from] = 0
		d.says(client, "REQ 1\n")
		if from == client {
			d.says(server, line[server])
		}
		d.rst(from)
		if d.got[from] != "" {
			t.Errorf("the side that has gone gets %q", d.got[from])
		}
		d.is(why)
	})
}

func TestResetAfterFIN(t *testing.T) {
	resets(t, func(t *testing.T, from side, _ cause) {
		d := newOpen(t, Config{})
		d.says(client, "REQ 1\n")
		d.fin(from)
		if d.end[from^1] != "FIN" {
			t.Fatalf("FIN is not relayed: %q", d.end[from^1])
		}
		if !d.s.heardFIN(from) {
			t.Error("nobody looks for the reset")
		}
		d.rst(from)
		if d.end[from^1] != "RST" {
			t.Errorf("the reset after FIN is relayed as %q", d.end[from^1])
		}
		d.is([2]cause{causeClientFIN, causeServerFIN}[from])
	})
}

func TestBothEndAtOnce(t *testing.T) {
	t.Run("RST", func(t *testing.T) {
		d := newOpen(t, Config{})
		d.room = [2]int{}
		d.says(client, "REQ 1\n")
		d.says(server, "ACK 1\n")
		d.c.sourceRST(d.s, server)
		d.c.sourceRST(d.s, client)
		d.work()
		d.is(causeServerRST)
	})
	t.Run("FIN", func(t *testing.T) {
		d := newOpen(t, Config{})
		d.says(client, "REQ 1\n")
		d.says(server, "ACK 1\n")
		d.c.sourceFIN(d.s, server)
		d.c.sourceFIN(d.s, client)
		d.work()
		d.has("ACK 1\n", "FIN", "REQ 1\n", "FIN")
		d.is(causeServerFIN)
	})
	t.Run("FIN against RST", func(t *testing.T) {
		d := newOpen(t, Config{})
		d.says(client, "REQ 1\n")
		d.c.sourceFIN(d.s, client)
		d.c.sourceRST(d.s, server)
		d.work()
		d.is(causeClientFIN)
		if d.end[client] != "RST" {
			t.Errorf("the client gets %s", d.end[client])
		}
	})
}

// A reset is often seen first when sending. What came before it is still to be read, and then the stream's end means RST.
func TestResetSeenWhenSending(t *testing.T) {
	resets(t, func(t *testing.T, from side, why cause) {
		d := newOpen(t, Config{})
		to := from ^ 1
		d.room[from] = 0
		d.says(client, "REQ 1\n")
		if from == client {
			d.says(server, line[server])
		}
		d.got = [2]string{}
		d.c.sinkFailed(d.s, to) // sending to from
		d.work()
		d.isOpen()
		if d.reads(to) {
			t.Errorf("the %s is still read", name(to))
		}
		rest := strings.Replace(line[from], "1", "2", 1)
		d.says(from, rest)
		if d.got[to] != rest {
			t.Errorf("the %s has %q, want what came before the reset, %q", name(to), d.got[to], rest)
		}
		d.fin(from)
		if d.end[to] != "RST" {
			t.Errorf("the %s gets %s, want RST", name(to), d.end[to])
		}
		d.is(why)
	})
}

func TestResetSeenWhenSendingAfterFIN(t *testing.T) {
	d := newOpen(t, Config{})
	d.says(client, "REQ 1\n")
	d.fin(server)
	d.room[server] = 0
	d.says(client, "REQ 2\n")
	d.c.sinkFailed(d.s, client)
	d.work()
	if d.end[client] != "RST" {
		t.Errorf("the client gets %s, want RST", d.end[client])
	}
	d.is(causeServerFIN)
}

func TestBothResetsSeenWhenSending(t *testing.T) {
	d := newOpen(t, Config{})
	d.room = [2]int{}
	d.says(client, "REQ 1\n")
	d.says(server, "ACK 1\n")
	d.c.sinkFailed(d.s, client)
	d.c.sinkFailed(d.s, server)
	d.work()
	d.is(causeServerRST)
}

// The limit of a half-closed connection counts from its half close, and an RST that waits to be relayed is no FIN.
func TestResetAfterALongSilence(t *testing.T) {
	resets(t, func(t *testing.T, from side, why cause) {
		d := newOpen(t, Config{TimeoutHalfClose: time.Second})
		d.says(client, "REQ 1\n")
		d.passes(60 * int64(time.Second))
		d.unacked[from^1] = true
		d.rst(from)
		d.passes(2 * tickLength)
		d.isOpen()
		d.unacked[from^1] = false
		d.work()
		if d.end[from^1] != "RST" {
			t.Errorf("the reset is relayed as %q", d.end[from^1])
		}
		d.is(why)
	})
}

func TestConnectFails(t *testing.T) {
	for errno, why := range map[syscall.Errno]cause{
		syscall.ECONNREFUSED: causeRefused, syscall.ENETUNREACH: causeUnreachable, syscall.ETIMEDOUT: causeConnectTimeout,
		syscall.EADDRNOTAVAIL: causeNoPorts, syscall.EPERM: causeConnectError,
	} {
		t.Run(why.String(), func(t *testing.T) {
			d := newDriver(t, Config{})
			if d.reads(client) || d.reads(server) {
				t.Error("a side is read before the upstream is there")
			}
			d.c.connectFailed(d.s, errno)
			d.work()
			d.has("", "FIN", "", "")
			d.isOpen()
			d.says(client, "REQ 1\n") // was on its way; closing now would reset the connection
			d.fin(client)
			d.has("", "FIN", "", "FIN")
			d.is(why)
			d.messages(0, 0, 0, 0)
			d.counts(map[stats.Counter]uint64{stats.BytesRequest: 0, stats.ClassFoo: 0})
		})
	}
}

// A client that has gone while its upstream was being connected has nothing left to be read.
func TestConnectFailsAfterTheClientHasGone(t *testing.T) {
	d := newDriver(t, Config{})
	d.c.stopRequests(d.s, causeStopped)
	d.work()
	d.rst(client)
	d.c.connectFailed(d.s, syscall.ECONNREFUSED)
	d.work()
	d.is(causeStopped)
}

// A server that resets what it has just accepted has reset a connection: the attempt to connect has not failed.
func TestResetBeforeTheConnectionIsSeen(t *testing.T) {
	for _, errno := range []syscall.Errno{syscall.ECONNRESET, syscall.EPIPE} {
		d := newDriver(t, Config{})
		d.c.connectFailed(d.s, errno)
		d.work()
		d.says(server, "ACK 1\n")
		d.fin(server) // the error has been reported
		d.has("ACK 1\n", "RST", "", "FIN")
		d.is(causeServerRST)
	}
}

func TestConnectTimesOut(t *testing.T) {
	d := newDriver(t, Config{TimeoutConnect: time.Second})
	d.passes(int64(time.Second) - 1)
	d.has("", "", "", "")
	d.passes(2 * tickLength)
	d.has("", "FIN", "", "")
	d.passes(lingerLimit + 2*tickLength) // the client does not end
	d.is(causeConnectTimeout)
	d.has("", "FIN", "", "FIN")
}

func TestKill(t *testing.T) {
	d := newOpen(t, Config{})
	d.room[client] = 3
	d.says(client, "REQ 1\n")
	d.says(server, "ACK 1\n")
	d.c.kill(d.s, causeStopped)
	d.work()
	// The client has a part of what was accepted for it and must not take it for the whole; the server has everything.
	d.has("ACK", "RST", "REQ 1\n", "FIN")
	d.is(causeStopped)
}

func TestReleaseRefusesWhatTheKernelIsSending(t *testing.T) {
	d := newOpen(t, Config{})
	d.s.flow[client].sending = true
	expectPanic(t, "release while sending", func() { d.c.release(d.s) })
	d.s.flow[client].sending = false
	d.c.kill(d.s, causeError)
	d.work()
	d.is(causeError)
}

// What is being sent stays the kernel's until its completion, even if the session is told to throw everything away.
func TestDropLeavesWhatIsBeingSent(t *testing.T) {
	d := newOpen(t, Config{})
	d.room[server] = 0
	d.says(client, "REQ 1\n")
	f := &d.s.flow[client]
	f.sending = true
	d.c.kill(d.s, causeStopped)
	if f.queue.bytes != 6 || !d.s.finished() || !d.s.abort[server] {
		t.Errorf("%d bytes are left, finished %v, abort %v", f.queue.bytes, d.s.finished(), d.s.abort)
	}
	f.sending = false
	d.work()
	d.is(causeStopped)
}

func TestSessionsAreNumberedOverAllLoops(t *testing.T) {
	c := newTestCore(t, Config{}, 4, 0)
	c.index, c.loops = 2, 3
	for _, want := range []uint64{3, 6, 9} {
		if s := c.begin(-1, testClient); s.id != want || s.client != testClient {
			t.Errorf("session %d of %v, want %d", s.id, s.client, want)
		}
	}
}

func TestAdmitStopsAtTheLimit(t *testing.T) {
	c := newTestCore(t, Config{MaxConn: 2}, 4, 0)
	admitted := 0
	for range 3 {
		if c.admit() {
			admitted++
		}
	}
	if admitted != 2 || c.conns.Load() != 2 {
		t.Errorf("%d admitted, %d counted, want 2", admitted, c.conns.Load())
	}
	c.release(c.begin(-1, testClient))
	if !c.admit() {
		t.Error("no room after an end")
	}
}
