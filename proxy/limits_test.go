package proxy

import (
	"strings"
	"testing"
	"time"

	"fooproxy/stats"
)

const second = int64(time.Second)

func TestWatermarks(t *testing.T) {
	d := newOpen(t, Config{})
	d.high, d.low = 3*segSize, segSize
	d.room[server] = 0
	chunk := "REQ 1 " + strings.Repeat("x", segSize-7) + "\n"
	for range 3 {
		d.says(client, chunk)
	}
	if d.reads(client) {
		t.Error("the client is read over the high watermark")
	}
	if !d.reads(server) {
		t.Error("the server is not read because the client is paused")
	}
	d.says(server, "ACK 1\n")
	d.takes(server, segSize) // two segments left
	if d.reads(client) {
		t.Error("the client is read between the watermarks")
	}
	d.takes(server, segSize-1)
	if d.reads(client) {
		t.Error("the client is read before the low watermark")
	}
	d.takes(server, 1)
	if !d.reads(client) {
		t.Error("the client is not read under the low watermark")
	}
	d.says(client, chunk)
	d.takes(server, 100*segSize)
	d.fin(client)
	d.fin(server)
	d.has("ACK 1\n", "FIN", strings.Repeat(chunk, 4), "FIN")
	d.is(causeClientFIN)
	d.counts(map[stats.Counter]uint64{stats.ReadPauses: 1})
}

// Few bytes wait for more to decide the class, so they must not stop the reading.
func TestUndecidedBytesDoNotPause(t *testing.T) {
	d := newOpen(t, Config{})
	for _, b := range []string{"R", "E", "Q"} {
		d.says(client, b)
		if !d.reads(client) {
			t.Fatalf("not read after %q", b)
		}
	}
	d.c.kill(d.s, causeStopped)
	d.work()
	d.is(causeStopped)
}

func TestReadLimitKeepsASegmentForEveryFlow(t *testing.T) {
	c := newTestCore(t, Config{MaxBuffer: 4 * segSize}, 48, 8)
	var taken []int32
	if got := c.readLimit(); got != 4*segSize {
		t.Errorf("limit with all memory free is %d, want %d", got, 4*segSize)
	}
	for last := c.readLimit(); c.slab.free > 0; {
		taken = append(taken, c.slab.get(ownFlow))
		limit := c.readLimit()
		if limit > last || limit < segSize || c.slab.free <= c.reserved && limit != segSize {
			t.Fatalf("limit is %d with %d free, was %d", limit, c.slab.free, last)
		}
		if most := (c.slab.free - c.reserved) * segSize / 8; limit > segSize && limit > most {
			t.Fatalf("limit is %d, more than an eighth of what is free for all, %d", limit, most)
		}
		last = limit
	}
	for _, id := range taken {
		c.slab.put(id, ownFlow)
	}
}

func TestIdle(t *testing.T) {
	d := newOpen(t, Config{TimeoutIdle: 10 * time.Second})
	d.passes(9 * second)
	d.says(client, "REQ 1\n")
	d.passes(9 * second)
	d.says(server, "ACK 1\n")
	d.passes(10*second - 1)
	d.isOpen()
	d.passes(2 * tickLength)
	d.has("ACK 1\n", "FIN", "REQ 1\n", "FIN")
	d.is(causeIdle)
}

func TestIdleWithDataQueued(t *testing.T) {
	d := newOpen(t, Config{TimeoutIdle: 10 * time.Second})
	d.room[server] = 5
	d.says(client, "REQ 1\n")
	d.passes(10*second - 1)
	d.takes(server, 0)
	d.passes(2 * tickLength)
	d.has("", "FIN", "REQ 1", "RST")
	d.is(causeIdle)
}

func TestSlowLine(t *testing.T) {
	d := newOpen(t, Config{TimeoutLine: 5 * time.Second})
	d.passes(100 * second) // between lines no time counts
	d.says(client, "REQ 1\nREQ 2 ")
	for range 4 {
		d.passes(second)
		d.says(client, "x") // neither does activity
	}
	d.passes(second - 1)
	d.has("", "", "REQ 1\nREQ 2 xxxx", "")
	d.passes(2 * tickLength)
	d.has("", "", "REQ 1\nREQ 2 xxxx", "FIN")
	d.isOpen()
	d.says(server, "ACK 1\n")
	d.has("ACK 1\n", "FIN", "REQ 1\nREQ 2 xxxx", "FIN")
	d.fin(client)
	d.fin(server)
	d.is(causeLineTimeout)
}

func TestEachLineHasItsOwnTime(t *testing.T) {
	d := newOpen(t, Config{TimeoutLine: 5 * time.Second})
	d.high = 4 * segSize
	for range 10 {
		d.says(client, "REQ 1")
		d.passes(3 * second)
		d.says(client, "2\nREQ 3")
		d.passes(3 * second)
		d.says(client, "4\n")
		d.passes(10 * second)
	}
	d.isOpen()
	d.fin(client)
	d.fin(server)
	d.is(causeClientFIN)
	d.messages(20, 0, 0, 0)
}

// A bad line that is forwarded has its own time too, and leaves none to the next one.
func TestTimeOfForwardedBadLines(t *testing.T) {
	d := newOpen(t, Config{TimeoutLine: 5 * time.Second, OnViolation: Forward})
	d.high = 4 * segSize
	d.says(client, "REQ 1\nREQ 2x")
	d.passes(4 * second)
	d.says(client, "y\nREQ 3")
	d.passes(4 * second)
	if d.s.cause != causeNone {
		t.Errorf("the session ends with %v, 4 s into a line", d.s.cause)
	}
	d.passes(2 * second)
	if d.s.cause != causeLineTimeout {
		t.Errorf("the session ends with %v, 6 s into a line", d.s.cause)
	}
	d.fin(client)
	d.fin(server)
	d.is(causeLineTimeout)
}

// While the upstream takes nothing the client cannot end its line: that time does not count.
func TestLineTimeStandsStillWhilePaused(t *testing.T) {
	d := newOpen(t, Config{TimeoutLine: 5 * time.Second})
	d.room[server] = 0
	d.says(client, "REQ 1")
	if d.reads(client) {
		t.Fatal("the client is not paused")
	}
	d.passes(60 * second)
	d.isOpen()
	d.takes(server, 100)
	d.passes(5*second - 1)
	d.has("", "", "REQ 1", "")
	d.passes(2 * tickLength)
	d.has("", "FIN", "REQ 1", "FIN")
	d.fin(client)
	d.fin(server)
	d.is(causeLineTimeout)
}

func TestHalfCloseTimesOut(t *testing.T) {
	d := newOpen(t, Config{TimeoutHalfClose: 3 * time.Second})
	d.says(client, "REQ 1\n")
	d.passes(60 * second) // both sides are there: no limit
	d.fin(client)
	d.passes(2 * tickLength) // the last byte was long ago, the end was not
	d.isOpen()
	d.says(server, "ACK 1\n")
	d.passes(3*second - 1)
	d.isOpen()
	d.passes(2 * tickLength)
	d.has("ACK 1\n", "FIN", "REQ 1\n", "FIN")
	d.is(causeClientFIN)
}

func TestLingerEnds(t *testing.T) {
	d := newOpen(t, Config{})
	d.says(client, "REQ 1\n\n")
	d.says(server, "ACK 1\n")
	d.passes(lingerLimit - 1)
	d.isOpen()
	d.says(client, "more") // does not prolong it
	d.passes(2 * tickLength)
	d.has("ACK 1\n", "FIN", "REQ 1\n", "FIN")
	d.is(causeViolationRequest)
}

func TestDrainDeliversWhatIsOwed(t *testing.T) {
	d := newOpen(t, Config{})
	d.says(client, "REQ 1\nREQ 2\nREQ")
	d.c.stopRequests(d.s, causeStopped)
	d.work()
	d.has("", "", "REQ 1\nREQ 2\nREQ", "FIN")
	d.says(client, " 3\n") // too late
	d.says(server, "ACK 1\nACK")
	d.has("ACK 1\nACK", "", "REQ 1\nREQ 2\nREQ", "FIN")
	d.says(server, " 2\n")
	d.has("ACK 1\nACK 2\n", "FIN", "REQ 1\nREQ 2\nREQ", "FIN")
	d.fin(client)
	d.fin(server)
	d.is(causeStopped)
	d.messages(2, 2, 0, 0)
}

func TestDrainOfAnIdleSession(t *testing.T) {
	d := newOpen(t, Config{})
	d.says(client, "REQ 1\n")
	d.says(server, "ACK 1\n")
	d.c.stopRequests(d.s, causeStopped)
	d.work()
	d.has("ACK 1\n", "FIN", "REQ 1\n", "FIN")
	d.fin(client)
	d.fin(server)
	d.is(causeStopped)
}

func TestDrainWithRequestsQueued(t *testing.T) {
	d := newOpen(t, Config{})
	d.room[server] = 2
	d.says(client, "REQ 1\n")
	d.c.stopRequests(d.s, causeStopped)
	d.work()
	d.has("", "", "RE", "")
	d.takes(server, 100)
	d.has("", "", "REQ 1\n", "FIN")
	d.says(server, "NAK 1\n")
	d.fin(server)
	d.fin(client)
	d.has("NAK 1\n", "FIN", "REQ 1\n", "FIN")
	d.is(causeStopped)
}

// A descriptor that is not connected cannot be read: the kernel would answer with ENOTCONN.
func TestDrainWhileConnecting(t *testing.T) {
	d := newDriver(t, Config{TimeoutConnect: time.Second})
	d.c.stopRequests(d.s, causeStopped)
	if d.reads(server) {
		t.Error("the server is read before it is connected")
	}
	d.work()
	d.c.connectFailed(d.s, 111)
	d.work()
	d.has("", "FIN", "", "")
	d.fin(client)
	d.is(causeStopped)
}
