package proxy

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"fooproxy/stats"
)

func TestBadRequestWithAnswersOutstanding(t *testing.T) {
	d := newOpen(t, Config{})
	d.says(client, "REQ 1\nREQ 2\nREQ 3x\nREQ 4\n")
	d.has("", "", "REQ 1\nREQ 2\nREQ 3", "FIN")
	d.messages(2, 0, 0, 1)
	d.isOpen()
	d.says(client, "REQ 5\n") // read, so that the close does not reset what the client is owed, and dropped
	d.says(server, "ACK 2\n")
	d.has("ACK 2\n", "", "REQ 1\nREQ 2\nREQ 3", "FIN")
	d.says(server, "NAK 1\n")
	d.has("ACK 2\nNAK 1\n", "FIN", "REQ 1\nREQ 2\nREQ 3", "FIN")
	d.says(server, "ACK 9\n") // owed to nobody
	d.fin(server)
	d.fin(client)
	d.has("ACK 2\nNAK 1\n", "FIN", "REQ 1\nREQ 2\nREQ 3", "FIN")
	d.is(causeViolationRequest)
	d.messages(2, 1, 1, 1)
	d.counts(map[stats.Counter]uint64{stats.ClassFoo: 1, stats.BytesRequest: 17})
}

func TestBadRequestWithRequestsQueued(t *testing.T) {
	d := newOpen(t, Config{})
	d.room[server] = 0
	d.high = 2 * segSize
	d.says(client, "REQ 1\n")
	d.says(client, "nonsense\n")
	d.has("", "", "", "")
	d.takes(server, 100)
	d.has("", "", "REQ 1\n", "FIN")
	d.says(server, "ACK 1\n")
	d.has("ACK 1\n", "FIN", "REQ 1\n", "FIN")
	d.fin(client)
	d.fin(server)
	d.is(causeViolationRequest)
}

func TestBadRequestWithoutAnswersOutstanding(t *testing.T) {
	d := newOpen(t, Config{})
	d.says(client, "REQ 1\n")
	d.says(server, "ACK 1\n")
	d.says(client, "REQ\n")
	d.has("ACK 1\n", "FIN", "REQ 1\nREQ", "FIN")
	d.isOpen()
	d.passes(lingerLimit + 2*tickLength) // neither side ends
	d.is(causeViolationRequest)
}

func TestBadRequestThenServerEndsEarly(t *testing.T) {
	d := newOpen(t, Config{})
	d.says(client, "REQ 1\nREQ 2\n\n")
	d.says(server, "ACK 1\n")
	d.fin(server)
	d.has("ACK 1\n", "FIN", "REQ 1\nREQ 2\n", "FIN")
	d.fin(client)
	d.is(causeViolationRequest)
}

func TestBadAnswer(t *testing.T) {
	d := newOpen(t, Config{})
	d.says(client, "REQ 1\nREQ 2\n")
	d.says(server, "ACK 1\nACK two\n")
	d.has("ACK 1\nACK ", "FIN", "REQ 1\nREQ 2\n", "FIN")
	d.says(server, "ACK 2\n")
	d.says(client, "REQ 3\n")
	d.fin(client)
	d.isOpen()
	d.fin(server)
	d.has("ACK 1\nACK ", "FIN", "REQ 1\nREQ 2\n", "FIN")
	d.is(causeViolationResponse)
	d.messages(2, 1, 0, 1)
}

func TestBadAnswerKeepsRequestsOnTheirWay(t *testing.T) {
	d := newOpen(t, Config{})
	d.room[server] = 3
	d.says(client, "REQ 1\n")
	d.says(server, "REQ 1\n")
	d.has("", "FIN", "REQ", "")
	d.takes(server, 100)
	d.has("", "FIN", "REQ 1\n", "FIN")
	d.fin(client)
	d.fin(server)
	d.is(causeViolationResponse)
}

// The class is decided by the first four bytes, however they are split; until then nothing reaches the server.
func TestClassIsDecidedByTheFirstBytes(t *testing.T) {
	for _, c := range []struct {
		first string // each byte by itself
		class class
	}{
		{"REQ ", classFoo},
		{"REQ\t", classFoo},
		{"REQ\r", classFoo},
		{"GET ", classArbitrary},
		{"RET ", classArbitrary},
		{"REK ", classArbitrary},
		{"REQ1", classArbitrary},
		{"\x16\x03\x01", classArbitrary},
		{"REQ\n", classArbitrary},
		{"ACK ", classArbitrary},
		{"req ", classArbitrary},
	} {
		t.Run(fmt.Sprintf("%q", c.first), func(t *testing.T) {
			d := newOpen(t, Config{})
			for i := range c.first {
				if d.s.class != classUnknown {
					break
				}
				if d.got[server] != "" {
					t.Fatalf("the server has %q before the class is known", d.got[server])
				}
				d.says(client, c.first[i:i+1])
			}
			d.counts(map[stats.Counter]uint64{stats.ClassFoo + stats.Counter(c.class-classFoo): 1})
			if c.class == classFoo {
				d.has("", "", c.first, "")
				d.says(client, "7\n")
				d.fin(client)
				d.fin(server)
				d.has("", "FIN", c.first+"7\n", "FIN")
				d.is(causeClientFIN)
				d.messages(1, 0, 0, 0)
				return
			}
			d.has("", "FIN", "", "")
			d.isOpen()
			if d.reads(server) {
				t.Error("the server of an arbitrary client is read")
			}
			d.fin(client)
			d.has("", "FIN", "", "FIN")
			d.is(causeArbitrary)
			d.messages(0, 0, 0, 0)
			d = newOpen(t, Config{})
			d.says(client, c.first) // in one piece
			d.has("", "FIN", "", "")
			d.counts(map[stats.Counter]uint64{stats.ClassArbitrary: 1, stats.BytesRequest: 0})
			if held := d.s.flow[client].queue.bytes; held > 0 {
				t.Errorf("%d bytes are held for a server that is to get none", held)
			}
			d.fin(client)
			d.is(causeArbitrary)
		})
	}
}

func TestAFewBytesAndTheEnd(t *testing.T) {
	d := newOpen(t, Config{})
	d.says(client, "RE")
	d.has("", "", "", "")
	d.fin(client)
	d.has("", "", "RE", "FIN")
	d.fin(server)
	d.is(causeClientFIN)
	d.counts(map[stats.Counter]uint64{stats.ClassFoo: 0, stats.ClassArbitrary: 0, stats.BytesRequest: 2})
}

func TestAFirstLineCanBreakLater(t *testing.T) {
	d := newOpen(t, Config{})
	d.says(client, "REQ x\n")
	d.has("", "FIN", "REQ ", "FIN")
	d.fin(client)
	d.fin(server)
	d.is(causeViolationRequest)
	d.counts(map[stats.Counter]uint64{stats.ClassFoo: 1, stats.ClassArbitrary: 0, stats.Bad: 1})
}

// The few bytes that came before it was known are not forwarded either, so the server misses nothing: it gets FIN.
func TestServerOfAnArbitraryClientGetsFIN(t *testing.T) {
	d := newOpen(t, Config{})
	d.says(client, "REX")
	d.passes(lingerLimit + 2*tickLength)
	d.has("", "FIN", "", "FIN")
	d.is(causeArbitrary)
	d.counts(map[stats.Counter]uint64{stats.BytesRequest: 0})
}

func TestTunnel(t *testing.T) {
	for _, first := range []string{"\x16\x03\x01 hello", "REP", "RE"} {
		d := newOpen(t, Config{Arbitrary: Tunnel, OnViolation: Close})
		text := first + "\x00\xff\nREQ 1\n"
		for i := range text {
			d.says(client, text[i:i+1])
		}
		d.says(server, "anything\nACK 1\n")
		d.has("anything\nACK 1\n", "", text, "")
		d.fin(client)
		d.fin(server)
		d.is(causeClientFIN)
		d.messages(0, 0, 0, 0)
		d.counts(map[stats.Counter]uint64{
			stats.ClassTunnel: 1, stats.ClassFoo: 0, stats.BytesRequest: 0, stats.BytesResponse: 0,
			stats.BytesTunnelIn: uint64(len(text)), stats.BytesTunnelOut: 15,
		})
	}
}

func TestTunnelHasNoLines(t *testing.T) {
	d := newOpen(t, Config{Arbitrary: Tunnel, TimeoutLine: time.Second})
	d.says(client, "REGISTER sip:")
	d.passes(2 * int64(time.Second))
	d.isOpen()
	d.fin(client)
	d.fin(server)
	d.is(causeClientFIN)
}

func TestAServerThatSpeaksFirst(t *testing.T) {
	t.Run("tunnel", func(t *testing.T) {
		d := newOpen(t, Config{Arbitrary: Tunnel})
		d.says(server, "220 ready\r\n")
		d.says(client, "HELO x\r\n")
		d.has("220 ready\r\n", "", "HELO x\r\n", "")
		d.fin(client)
		d.fin(server)
		d.is(causeClientFIN)
		d.counts(map[stats.Counter]uint64{stats.ClassTunnel: 1, stats.Bad: 0, stats.BytesTunnelIn: 8, stats.BytesTunnelOut: 11})
	})
	t.Run("close", func(t *testing.T) {
		d := newOpen(t, Config{})
		d.says(server, "220 ready\r\n")
		d.has("", "FIN", "", "FIN")
		d.fin(client)
		d.fin(server)
		d.is(causeViolationResponse)
		d.counts(map[stats.Counter]uint64{stats.Bad: 1})
	})
	t.Run("in Foo", func(t *testing.T) {
		d := newOpen(t, Config{})
		d.says(server, "ACK 9\n")
		d.says(client, "REQ 1\n")
		d.has("ACK 9\n", "", "REQ 1\n", "")
		d.fin(client)
		d.fin(server)
		d.is(causeClientFIN)
		d.counts(map[stats.Counter]uint64{stats.ClassFoo: 1, stats.Ack: 1, stats.Unmatched: 1})
	})
}

// With on-violation=forward bytes pass unchanged, and messages and bad lines are counted, whatever the chunks.
func TestBadLinesAreForwarded(t *testing.T) {
	requests := "REQ 1\nREQ 2x\n\nREQ 3\nACK 4\nREQ \xff\nREQ -5 y\nbad"
	answers := "ACK 1\nwhat\nNAK 3\nREQ\nACK -5\n"
	for size := 1; size <= len(requests); size++ {
		d := newOpen(t, Config{OnViolation: Forward})
		for from, text := range []string{client: requests, server: answers} {
			from := side(from)
			for at := 0; at < len(text); at += size {
				d.says(from, text[at:min(at+size, len(text))])
			}
		}
		d.fin(client)
		d.fin(server)
		d.has(answers, "FIN", requests, "FIN")
		d.messages(3, 2, 1, 7)
		d.counts(map[stats.Counter]uint64{stats.ClassFoo: 1, stats.Unmatched: 0, stats.Untracked: 0})
		d.is(causeClientFIN)
		if t.Failed() {
			t.Fatalf("in chunks of %d", size)
		}
	}
}

func TestALineOverTheLimit(t *testing.T) {
	long := "REQ 1 " + strings.Repeat("x", 20)
	d := newOpen(t, Config{MaxLine: 16})
	d.says(client, "REQ 1 123456789\n")
	d.says(client, long)
	d.has("", "", "REQ 1 123456789\n"+long[:16], "FIN")
	d.messages(1, 0, 0, 1)
	d.says(server, "ACK 1\n")
	d.fin(server)
	d.fin(client)
	d.is(causeViolationRequest)
}

// A connection whose checks are bypassed is forwarded at once and counts no messages.
func TestBypassedChecks(t *testing.T) {
	d := newOpen(t, Config{BypassChecks: true})
	d.says(client, "REQ 1\n")
	d.says(server, "what\n")
	d.has("what\n", "", "REQ 1\n", "")
	d.fin(client)
	d.fin(server)
	d.is(causeClientFIN)
	d.messages(0, 0, 0, 0)
}

func TestSeqsThatAreNotTracked(t *testing.T) {
	big := "99999999999999999999"
	d := newOpen(t, Config{})
	d.says(client, "REQ "+big+"\nREQ 7\nREQ 7\n")
	d.says(server, "ACK "+big+"\nACK 7\nNAK 7\nNAK 7\n")
	d.fin(client)
	d.fin(server)
	d.is(causeClientFIN)
	d.messages(3, 2, 2, 0)
	d.counts(map[stats.Counter]uint64{stats.Untracked: 2, stats.Unmatched: 1})
}
