package accesslog

import "net/netip"

// Times are µs since the Unix epoch. An AddrPort that is zero stands for a unix socket and is printed as "unix"; zones are
// left out. Class, Dir, Want and End are the proxy's own words of letters, digits and "-"; an empty one is printed as "-",
// and they are cut at 32 bytes.

// Result is what a request was answered with.
type Result uint8

// The results. A request whose connection ended first has None.
const (
	None Result = iota
	ACK
	NAK
)

// Request is a REQ line: a request with its answer, or without one when its connection has ended.
type Request struct {
	Time       int64
	Conn       uint64
	Client     netip.AddrPort
	Seq        int64
	Fits       bool // Seq fits int64; otherwise it is printed as "big"
	Size       uint64
	Result     Result
	AnswerSize uint64 // not printed for None, nor is Latency
	Latency    int64  // µs
	Data       []byte // of the request and its answer, from the network; printed, escaped and cut, only with Options.Data
	AnswerData []byte
}

// Answer is a RES line: an answer that matches no request.
type Answer struct {
	Time   int64
	Conn   uint64
	Client netip.AddrPort
	Result Result
	Seq    int64
	Fits   bool
	Size   uint64
	Data   []byte // as Request.AnswerData
}

// Conn is a CONN line: a connection that has ended.
type Conn struct {
	Time           int64
	Conn           uint64
	Client, Server netip.AddrPort
	Class          string
	Duration       int64 // ms
	Req, Ack, Nak  uint64
	Open           uint64 // requests without an answer
	In, Out        uint64 // bytes from and to the client
	End            string
}

// Bad is a BAD line: where a connection broke the grammar.
type Bad struct {
	Time   int64
	Conn   uint64
	Client netip.AddrPort
	Dir    string
	Line   uint64 // from 1
	Offset uint64 // of the byte in the line, from 0
	Want   string
	Got    []byte // bytes from the network; printed up to excerptMax of them, escaped
}

// Request logs a request, or one in Options.Sample.
func (r *Ring) Request(q *Request) {
	if r.skip() {
		return
	}
	if b := r.reserve(); b != nil {
		r.commit(r.format.appendRequest(b, q))
	}
}

// Answer logs an answer that matches no request, or one in Options.Sample of these and the requests.
func (r *Ring) Answer(a *Answer) {
	if r.skip() {
		return
	}
	if b := r.reserve(); b != nil {
		r.commit(r.format.appendAnswer(b, a))
	}
}

// Conn logs the end of a connection.
func (r *Ring) Conn(c *Conn) {
	if b := r.reserve(); b != nil {
		r.commit(r.format.appendConn(b, c))
	}
}

// Bad logs a violation.
func (r *Ring) Bad(v *Bad) {
	if b := r.reserve(); b != nil {
		r.commit(r.format.appendBad(b, v))
	}
}
