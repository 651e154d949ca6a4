package accesslog

import (
	"net/netip"
	"strconv"
	"time"
	"unicode/utf8"
	"unsafe"
)

// lineMax bounds a line. The longest is a CONN line: fewer than 200 bytes of names, ten numbers and a time of at most 35
// bytes each, two addresses of at most 47, two words of wordMax. A BAD line's excerpt takes at most 5 bytes for each of its
// excerptMax (\x00 with its backslash doubled for JSON).
const (
	lineMax    = 1024
	excerptMax = 64
	wordMax    = 32
)

// format turns structs into lines. Much of a line stands in the one before it already, so it keeps the time of the last
// line, and the number and the client of its connection, as they are printed.
type format struct {
	*shape
	stampTime   int64 // µs, of stamp
	stampSecond int64
	stamp       []byte // with begin before it; empty until the first line

	peerConn   uint64
	peerClient netip.AddrPort
	peer       []byte // empty until the first line
}

func newFormat(s *shape) format {
	return format{shape: s, stamp: make([]byte, 0, 64), peer: make([]byte, 0, 128)}
}

const stampDigits = len(".000000Z")

// appendHead appends the time, the kind of line, and whose it is.
func (f *format) appendHead(b []byte, us int64, kind string, conn uint64, client netip.AddrPort) []byte {
	if us != f.stampTime || len(f.stamp) == 0 {
		f.restamp(us)
	}
	b = append(b, f.stamp...)
	b = append(b, kind...)
	if conn != f.peerConn || client != f.peerClient || len(f.peer) == 0 {
		f.peerConn, f.peerClient = conn, client
		f.peer = strconv.AppendUint(f.peer[:0], conn, 10)
		f.peer = append(f.peer, f.client...)
		f.peer = appendAddr(f.peer, client)
		f.peer = append(f.peer, f.quote...)
	}
	return append(b, f.peer...)
}

func (f *format) restamp(us int64) {
	second := us / 1e6
	if us < second*1e6 {
		second--
	}
	if second != f.stampSecond || len(f.stamp) == 0 {
		f.stamp = append(f.stamp[:0], f.begin...)
		f.stamp = time.Unix(second, 0).UTC().AppendFormat(f.stamp, "2006-01-02T15:04:05.000000Z")
		f.stampSecond = second
	}
	f.stampTime = us
	fraction := uint32(us - second*1e6)
	digits := f.stamp[len(f.stamp)-stampDigits+1 : len(f.stamp)-1]
	for i := len(digits) - 1; i >= 0; i-- {
		digits[i] = '0' + byte(fraction%10)
		fraction /= 10
	}
}

func (f *format) appendRequest(b []byte, q *Request) []byte {
	b = f.appendHead(b, q.Time, f.req, q.Conn, q.Client)
	b = f.appendSeq(b, q.Seq, q.Fits)
	b = appendUint(b, f.size, q.Size)
	switch q.Result {
	case ACK:
		b = appendUint(b, f.ack, q.AnswerSize)
		b = appendInt(b, f.latency, q.Latency)
	case NAK:
		b = appendUint(b, f.nak, q.AnswerSize)
		b = appendInt(b, f.latency, q.Latency)
	default:
		b = append(b, f.none...)
	}
	return append(b, f.end...)
}

func (f *format) appendAnswer(b []byte, a *Answer) []byte {
	b = f.appendHead(b, a.Time, f.res, a.Conn, a.Client)
	if a.Result == NAK {
		b = append(b, f.answerNak...)
	} else {
		b = append(b, f.answerAck...)
	}
	b = f.appendSeq(b, a.Seq, a.Fits)
	b = appendUint(b, f.answerSize, a.Size)
	return append(b, f.end...)
}

func (f *format) appendConn(b []byte, c *Conn) []byte {
	b = f.appendHead(b, c.Time, f.conn, c.Conn, c.Client)
	b = append(b, f.server...)
	b = appendAddr(b, c.Server)
	b = append(b, f.quote...)
	b = f.appendWord(b, f.class, c.Class)
	b = appendInt(b, f.duration, c.Duration)
	b = appendUint(b, f.reqs, c.Req)
	b = appendUint(b, f.acks, c.Ack)
	b = appendUint(b, f.naks, c.Nak)
	b = appendUint(b, f.open, c.Open)
	b = appendUint(b, f.in, c.In)
	b = appendUint(b, f.out, c.Out)
	b = f.appendWord(b, f.why, c.End)
	return append(b, f.end...)
}

func (f *format) appendBad(b []byte, v *Bad) []byte {
	b = f.appendHead(b, v.Time, f.bad, v.Conn, v.Client)
	b = f.appendWord(b, f.dir, v.Dir)
	b = appendUint(b, f.line, v.Line)
	b = appendUint(b, f.offset, v.Offset)
	b = f.appendWord(b, f.want, v.Want)
	b = append(b, f.got...)
	b = appendExcerpt(b, v.Got, f.gotJSON)
	return append(b, f.end...)
}

func (f *format) appendSeq(b []byte, seq int64, fits bool) []byte {
	if !fits {
		return append(b, f.seqBig...)
	}
	return appendInt(b, f.seq, seq)
}

func (f *format) appendWord(b []byte, name, word string) []byte {
	if word == "" {
		word = "-"
	}
	b = append(b, name...)
	b = append(b, word[:min(len(word), wordMax)]...)
	return append(b, f.quote...)
}

func appendUint(b []byte, name string, v uint64) []byte {
	return strconv.AppendUint(append(b, name...), v, 10)
}

func appendInt(b []byte, name string, v int64) []byte {
	return strconv.AppendInt(append(b, name...), v, 10)
}

func appendAddr(b []byte, a netip.AddrPort) []byte {
	if !a.IsValid() {
		return append(b, "unix"...)
	}
	return netip.AddrPortFrom(a.Addr().WithZone(""), a.Port()).AppendTo(b)
}

// appendExcerpt appends the beginning of what came from the network, quoted and in printable ASCII as strconv.QuoteToASCII
// does it; for JSON what stands between the quotes is the value of a JSON string.
func appendExcerpt(b, got []byte, json bool) []byte {
	got = cut(got, excerptMax)
	// The string lives only during the call, in which nobody writes to got.
	s := unsafe.String(unsafe.SliceData(got), len(got))
	if !json {
		return strconv.AppendQuoteToASCII(b, s)
	}
	var room [4*excerptMax + 2]byte
	quoted := strconv.AppendQuoteToASCII(room[:0], s)
	b = append(b, '"')
	for _, c := range quoted[1 : len(quoted)-1] {
		if c == '\\' || c == '"' {
			b = append(b, '\\')
		}
		b = append(b, c)
	}
	return append(b, '"')
}

// cut returns at most n bytes of b and no part of a character that is valid as a whole.
func cut(b []byte, n int) []byte {
	if len(b) <= n {
		return b
	}
	for i := n; i > 0 && i > n-utf8.UTFMax; i-- {
		if utf8.RuneStart(b[i]) {
			if _, size := utf8.DecodeRune(b[i:]); i+size > n && size > 1 {
				return b[:i]
			}
			break
		}
	}
	return b[:n]
}
