package proxy

import (
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"fooproxy/stats"
)

// A client that has as many requests outstanding as it may is not read until answers come; what one receive brings is taken
// whole.
func TestMaxPendingPausesTheClient(t *testing.T) {
	d := newOpen(t, Config{MaxPending: 2})
	d.says(client, "REQ 1\n")
	if !d.reads(client) {
		t.Fatal("paused with one request outstanding")
	}
	d.says(client, "REQ 2\nREQ 3\nREQ 4")
	d.has("", "", "REQ 1\nREQ 2\nREQ 3\nREQ 4", "")
	if d.reads(client) || !d.reads(server) {
		t.Fatal("not paused with three requests outstanding, or the server is")
	}
	d.says(server, "ACK 1\n")
	if d.reads(client) {
		t.Fatal("not paused with two requests outstanding")
	}
	d.says(server, "NAK 2\n")
	if !d.reads(client) {
		t.Fatal("paused with one request outstanding")
	}
	d.says(client, "\n")
	d.counts(map[stats.Counter]uint64{stats.PendingPauses: 2})
	d.says(server, "ACK 3\nACK 4\n")
	d.fin(client)
	d.fin(server)
	d.has("ACK 1\nNAK 2\nACK 3\nACK 4\n", "FIN", "REQ 1\nREQ 2\nREQ 3\nREQ 4\n", "FIN")
	d.is(causeClientFIN)
	d.messages(4, 3, 1, 0)
}

// From a server that has ended no answers come, so nothing is gained by waiting for them.
func TestMaxPendingEndsWithTheServer(t *testing.T) {
	d := newOpen(t, Config{MaxPending: 1})
	d.says(client, "REQ 1\n")
	d.fin(server)
	d.says(client, "REQ 2\n")
	d.fin(client)
	d.has("", "FIN", "REQ 1\nREQ 2\n", "FIN")
	d.is(causeServerFIN)
}

// The time in which a client is not read is not the client's; that nothing moves is still nobody's right.
func TestTimeoutsOfAClientWithTooManyPending(t *testing.T) {
	d := newOpen(t, Config{MaxPending: 1, TimeoutLine: 5 * time.Second, TimeoutIdle: 100 * time.Second})
	d.says(client, "REQ 1\nREQ 2")
	d.passes(90 * second)
	d.isOpen()
	d.says(server, "ACK 1\n")
	d.passes(4 * second)
	if d.s.cause != causeNone {
		t.Errorf("the session ends with %v, 4 s after its client could go on", d.s.cause)
	}
	d.says(client, "\n")
	d.passes(99 * second)
	d.isOpen()
	d.passes(2 * second)
	d.is(causeIdle)
}

func TestDrainOfAClientWithTooManyPending(t *testing.T) {
	d := newOpen(t, Config{MaxPending: 1})
	d.says(client, "REQ 1\n")
	d.c.stopRequests(d.s, causeStopped)
	d.work()
	d.says(client, "REQ 2\n") // dropped
	d.says(server, "ACK 1\n")
	d.fin(client)
	d.fin(server)
	d.has("ACK 1\n", "FIN", "REQ 1\n", "FIN")
	d.is(causeStopped)
}

// However much a client sends at once, at most one receive of 8 KiB goes beyond the limit; every answer lets it go on, and
// nothing is lost.
func TestLoopHoldsToMaxPending(t *testing.T) {
	const most = 10
	eachEngine(t, func(t *testing.T, engine string) {
		r := newLoopRig(t, engine, func(cfg *Config) { cfg.MaxPending = most })
		p := r.open()
		request, answer := "REQ 1 "+strings.Repeat("x", 57)+"\n", "ACK 1\n"
		const total = 4000
		data := []byte(strings.Repeat(request, total))
		beyond := most - 1 + segSize/len(request) + 1
		sent, got, answered := 0, 0, 0
		buf := make([]byte, 1<<20)
		r.until("all requests and answers", func() bool {
			sent += some(send, p[client], data[sent:])
			got += some(recv, p[server], buf)
			if pending := got/len(request) - answered; pending > beyond {
				t.Fatalf("%d requests are outstanding, %d may be and %d beyond", pending, most, beyond-most)
			}
			if answered < got/len(request) && some(send, p[server], []byte(answer)) > 0 {
				answered++
			}
			some(recv, p[client], buf)
			return answered == total
		})
		r.until("answers counted", func() bool { return r.core.local[stats.Ack] == total })
		r.expect(map[stats.Counter]uint64{stats.Req: total})
		if r.core.local[stats.PendingPauses] == 0 {
			t.Error("no pause is counted")
		}
	})
}

// A client that goes while it is not read, and whose requests nobody answers, is noticed.
func TestLoopSeesThatAPausedClientHasGone(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		r := newLoopRig(t, engine, func(cfg *Config) { cfg.MaxPending = 1 })
		p := r.open()
		r.move(p, client, []byte("REQ 1\n"), make([]byte, 10))
		if n, errno := send(p[client], []byte("REQ 2\n")); n != 6 {
			t.Fatal(errno)
		}
		for range 10 {
			r.turn()
		}
		if n := some(recv, p[server], make([]byte, 10)); n != 0 {
			t.Fatalf("%d bytes beyond the limit", n)
		}
		r.hangUp(p[client], true)
		r.until("end at the server", func() bool {
			_, errno := recv(p[server], make([]byte, 10))
			return errno == unix.ECONNRESET
		})
		r.gone()
		r.expect(map[stats.Counter]uint64{causeClientRST.counter(): 1})
	})
}
