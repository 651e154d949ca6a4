package e2e

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"time"
)

// What the client of a talk does beyond sending its requests and reading the answers.
const (
	clientWhole      = "whole"       // FIN at the end
	clientStall      = "stall"       // small window, reads late, FIN at the end
	clientTail       = "tail"        // an unfinished line before its FIN
	clientBad        = "bad"         // a bad line behind its requests
	clientReset      = "reset"       // RST after some bytes
	clientDrop       = "drop"        // closes after some bytes, with answers on their way or not
	clientStallReset = "stall-reset" // small window, never reads, RST
	clientArbitrary  = "arbitrary"   // does not speak Foo
)

// What its server does beyond answering.
const (
	serverAnswer    = "answer"
	serverStall     = "stall"      // smaller window, reads late
	serverHalfClose = "half-close" // FIN after some answers, reads on
	serverReset     = "reset"      // RST after some answers
	serverBad       = "bad"        // a bad line after some answers
)

// talk is the script of one connection, known to both ends, and what they saw of it. The soak's seed and the id make the
// script.
type talk struct {
	id             int
	client, server string
	n              int           // requests
	reqMax, ansMax int           // bytes of Data at most
	chunk          int           // bytes of one write of the client at most
	window         int           // lines of requests outstanding at which the client waits, 0 = none
	swap           bool          // the answers of each pair come in the other order
	late           bool          // the client's FIN waits for all answers
	stop           int           // answers after which the server does what it does
	cut            int64         // bytes after which the client ends
	pause          time.Duration // of who stalls
	goOn           chan struct{} // a client that stalls does so until it is closed; nil: for pause
	badLine        invalidLine   // of whoever sends one
	first          string        // of an arbitrary client
	tunnel         bool          // its requests are none, and tunnelled
	upstream       string        // the proxy's address on the server's side, once the talk is there
	rest           time.Duration // between two writes of the client
	still          chan struct{} // closed when it is to say nothing until hurry is
	withhold       chan struct{} // the server answers nothing until it is closed; nil: at once
	hurry          chan struct{} // closed when it is to rest no more

	atClient, atServer sight
	logged             *record // its CONN line
}

// sight is what one end has sent and received. The end's own goroutines write it; done publishes it under the soak's lock.
type sight struct {
	in, out           int64 // bytes
	linesIn, linesOut int
	end               end  // what its reader came to; empty when it ended the stream itself
	broken            bool // a write met the other side's RST, and may have taken it from the reader
	did               bool // what it was to do beyond the ordinary has been done
	done              bool
}

// newTalk makes the script of connection id. Where the proxy tunnels, nobody is turned away for not speaking Foo.
func newTalk(seed uint64, id int, tunnels bool) *talk {
	r := rand.New(rand.NewPCG(seed, uint64(id)))
	t := &talk{id: id, chunk: 64 << 10, swap: r.IntN(3) == 0, late: r.IntN(2) == 0}
	t.client = pick(r, []string{
		clientWhole, clientWhole, clientWhole, clientWhole, clientWhole, clientWhole, clientStall, clientTail, clientBad,
		clientReset, clientReset, clientDrop, clientStallReset, clientArbitrary,
	})
	t.server = pick(r, []string{
		serverAnswer, serverAnswer, serverAnswer, serverAnswer, serverAnswer, serverStall, serverHalfClose, serverReset, serverBad,
	})
	if t.client == clientBad || t.client == clientArbitrary { // who breaks the talk is then clear
		t.server = serverAnswer
	}
	if tunnels && t.client == clientArbitrary {
		t.client = clientWhole
	}
	t.tunnel = tunnels && t.client != clientBad && t.server != serverBad && r.IntN(5) == 0
	switch r.IntN(16) {
	case 0, 1, 2, 3, 4, 5: // one small request after the other, or in twos
		t.n, t.reqMax, t.ansMax, t.window, t.chunk = 1+r.IntN(60), 60, 60, 2+r.IntN(2), 100
	case 6, 7, 8, 9: // many at once
		t.n, t.reqMax, t.ansMax = 1+r.IntN(800), 40, 40
	case 10, 11, 12: // of all sizes, cut anywhere
		t.n, t.reqMax, t.ansMax, t.window, t.chunk = 1+r.IntN(40), 2000, 6000, 8, 1+r.IntN(3000)
	case 13, 14: // byte by byte
		t.n, t.reqMax, t.ansMax, t.chunk = 1+r.IntN(6), 30, 300, 1
	case 15: // big
		t.n, t.reqMax, t.ansMax, t.chunk = 1+r.IntN(3), 1<<r.IntN(21), 1<<r.IntN(21), 1<<17
		if r.IntN(2) == 0 { // and long
			t.n, t.reqMax, t.ansMax, t.chunk = 1+r.IntN(6), 1<<(17+r.IntN(4)), 1<<(17+r.IntN(4)), 1<<(16+r.IntN(5))
		}
	}
	if t.client == clientStall || t.client == clientStallReset {
		t.ansMax = 1 << (8 + r.IntN(11))
		t.n = 2 + min(t.n, 600_000/t.ansMax)
		t.window = 0
	}
	t.pause = time.Duration(20+r.IntN(400)) * time.Millisecond
	t.stop = r.IntN(t.n + 1)
	t.cut = r.Int64N(int64(t.n*(t.reqMax/2+16) + 40))
	if t.client == clientStallReset {
		t.cut = 1 << 40 // after all of it
	}
	t.script(r)
	return t
}

// script chooses the lines that are no messages.
func (t *talk) script(r *rand.Rand) {
	switch {
	case t.client == clientArbitrary:
		t.n, t.stop, t.first = 0, 0, pick(r, arbitraryStarts)
	case t.client == clientBad:
		t.badLine = pick(r, invalidFor('c'))
	case t.server == serverBad:
		t.badLine = pick(r, invalidFor('s'))
	}
}

// newTouch is a connection of a storm: hardly any bytes, and gone.
func newTouch(seed uint64, id int) *talk {
	r := rand.New(rand.NewPCG(seed, uint64(id)))
	t := &talk{id: id, chunk: 1 << 10, server: serverAnswer, n: r.IntN(3), reqMax: 20, ansMax: 20}
	t.client = pick(r, []string{clientWhole, clientReset, clientDrop})
	t.cut = r.Int64N(90)
	return t
}

// newFlood is a client that stalls until the proxy holds all it takes for it: the high-water mark of its buffers.
func newFlood(id int, goOn chan struct{}) *talk {
	return &talk{
		id: id, client: clientStall, server: serverAnswer, chunk: 1 << 10, n: floodRequests, reqMax: 20, ansMax: 1 << 18, goOn: goOn,
	}
}

const floodRequests = 6

// newVolley is n small requests at once, which wait for their answers: the high-water mark of the tables where outstanding requests
// are kept. Many volleys fill the log's rings once round.
func newVolley(id, n int) *talk {
	return &talk{
		id: id, client: clientWhole, server: serverStall, chunk: 1 << 16, n: n, reqMax: 20, ansMax: 20, pause: 700 * time.Millisecond,
	}
}

func pick[T any](r *rand.Rand, from []T) T { return from[r.IntN(len(from))] }

// source is the address of the talk's client.
func (t *talk) source() net.IP {
	return net.IPv4(127, byte(1+t.id>>16), byte(t.id>>8), byte(t.id))
}

// quits says that the client ends its talk without having read to the end.
func (t *talk) quits() bool {
	return t.client == clientReset || t.client == clientDrop || t.client == clientStallReset
}

// answers is how many the server gives.
func (t *talk) answers() int {
	if t.server == serverAnswer || t.server == serverStall {
		return t.n
	}
	return t.stop
}

// order is which request the j-th answer belongs to.
func (t *talk) order(j int) int {
	if t.swap && j^1 < t.n {
		return j ^ 1
	}
	return j
}

// typ is the type of the answer to request i.
func (t *talk) typ(i int) string {
	if mix(uint64(t.id)<<20^uint64(i))%5 == 0 {
		return "NAK"
	}
	return "ACK"
}

// split is how many ACK and NAK there are among the first n answers.
func (t *talk) split(n int) (acks, naks int) {
	for j := range n {
		if t.typ(t.order(j)) == "NAK" {
			naks++
		}
	}
	return n - naks, naks
}

// appendRequest appends request i. The first is long enough to name its talk.
func (t *talk) appendRequest(dst []byte, i int) []byte {
	size := int(mix(uint64(t.id)<<32^uint64(i)) % uint64(t.reqMax+1))
	if i == 0 {
		size += 32
	}
	typ := "REQ"
	if t.tunnel {
		typ = "PUT"
	}
	return appendMessage(dst, typ, t.id, i, size)
}

// appendAnswer appends the answer to request i.
func (t *talk) appendAnswer(dst []byte, i int) []byte {
	return appendMessage(dst, t.typ(i), t.id, i, int(mix(uint64(t.id)<<32^uint64(i)^0xa)%uint64(t.ansMax+1)))
}

// sends is all that the client writes, if nothing stops it.
func (t *talk) sends() io.Reader {
	switch t.client {
	case clientArbitrary:
		return strings.NewReader(t.first)
	case clientBad:
		return t.requests(t.badLine.line + "\nREQ 99 never\n")
	}
	return t.arrives()
}

// arrives is all of that which may reach the server.
func (t *talk) arrives() io.Reader {
	switch t.client {
	case clientTail:
		return t.requests("REQ 99 unfinished")
	case clientBad:
		return t.requests(t.badLine.line[:t.badLine.off])
	}
	return t.requests("")
}

func (t *talk) requests(tail string) io.Reader {
	return &lines{n: t.n, line: t.appendRequest, tail: tail}
}

// returns is all that may reach the client.
func (t *talk) returns() io.Reader {
	l := &lines{n: t.answers(), line: func(dst []byte, j int) []byte { return t.appendAnswer(dst, t.order(j)) }}
	if t.server == serverBad {
		l.tail = t.badLine.line[:t.badLine.off]
	}
	return l
}

// lines is a stream of n lines and a tail, made as it is read.
type lines struct {
	next, n int
	line    func(dst []byte, i int) []byte
	tail    string
	buf     []byte
	off     int
}

func (l *lines) Read(p []byte) (n int, err error) {
	for n < len(p) {
		if l.off == len(l.buf) {
			l.buf, l.off = l.buf[:0], 0
			switch {
			case l.next < l.n:
				l.buf = l.line(l.buf, l.next)
				l.next++
			case l.tail != "":
				l.buf, l.tail = append(l.buf, l.tail...), ""
			case n == 0:
				return 0, io.EOF
			default:
				return n, nil
			}
		}
		c := copy(p[n:], l.buf[l.off:])
		n, l.off = n+c, l.off+c
	}
	return n, nil
}

// mayEnd says whether the log may give cause as the reason why the talk ended.
func (t *talk) mayEnd(cause string) bool {
	var allowed []string
	switch t.client {
	case clientReset, clientStallReset:
		allowed = []string{"client-rst"}
	case clientDrop:
		allowed = []string{"client-fin", "client-rst"}
	case clientBad:
		allowed = []string{"violation-request"}
	case clientArbitrary:
		allowed = []string{"arbitrary"}
	default:
		allowed = []string{"client-fin"}
	}
	if t.atServer.did {
		switch t.server {
		case serverHalfClose:
			allowed = append(allowed, "server-fin")
		case serverReset:
			allowed = append(allowed, "server-rst")
		case serverBad:
			allowed = append(allowed, "violation-response")
		}
	}
	return slices.Contains(allowed, cause)
}

func (t *talk) String() string {
	return fmt.Sprintf("connection %d (client %s, server %s, %d requests of ≤ %d bytes, answers of ≤ %d, chunk %d, window %d, stop %d, cut %d, swap %v)",
		t.id, t.client, t.server, t.n, t.reqMax, t.ansMax, t.chunk, t.window, t.stop, t.cut, t.swap)
}
