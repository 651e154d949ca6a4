package accesslog

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"net/netip"
	"strconv"
	"time"
	"unicode/utf8"
	"unsafe"
)

// lineMax bounds a line. The longest is a CONN line: fewer than 200 bytes of names, ten numbers and a time of at most 35
// bytes each, two addresses of at most 47, two words of wordMax. A BAD line's excerpt takes at most 5 bytes for each of its
// excerptMax (\x00 with its backslash doubled for JSON). Excerpts of Data come on top: dataLine says how much.
const (
	lineMax    = 1024
	excerptMax = 64
	wordMax    = 32
	dataMost   = 4096 // of Options.Data
)

// dataLine is by how much two excerpts of n bytes lengthen a line, names and quotes included.
func dataLine(n int) int {
	if n == 0 {
		return 0
	}
	return 2*5*n + 64
}

// format turns structs into lines. Much of a line stands in the one before it already, so it keeps the time of the last
// line, and the number and the client of its connection, as they are printed; and of REQ lines, which are most, all that
// stands before Seq and between Seq and the latency.
type format struct {
	*shape
	dataMax int // bytes of Data printed, 0 = none

	stampTime   int64 // µs, of stamp
	stampSecond int64
	stamp       []byte // with begin before it; empty until the first line

	peerConn   uint64
	peerClient netip.AddrPort
	peer       []byte // empty until the first line

	head   []byte // of a REQ line with stamp and peer; empty when one of these has changed
	sizes  []byte // from a REQ line's Size to its latency; empty until the first line that has one
	size   uint64 // in sizes, as are the next two
	rsize  uint64
	result Result
}

func newFormat(s *shape) format {
	return format{
		shape: s, stamp: make([]byte, 0, 64), peer: make([]byte, 0, 128),
		head: make([]byte, 0, 192), sizes: make([]byte, 0, 96),
	}
}

const (
	stampLayout = "2006-01-02T15:04:05.000000Z"
	stampDigits = len(".000000Z")
)

// appendHead appends the time, the kind of line, and whose it is.
func (f *format) appendHead(b []byte, us int64, kind string, conn uint64, client netip.AddrPort) []byte {
	if us != f.stampTime || len(f.stamp) == 0 {
		f.restamp(us)
	}
	b = append(b, f.stamp...)
	b = append(b, kind...)
	if conn != f.peerConn || client != f.peerClient || len(f.peer) == 0 {
		f.rename(conn, client)
	}
	return append(b, f.peer...)
}

func (f *format) rename(conn uint64, client netip.AddrPort) {
	f.head = f.head[:0]
	f.peerConn, f.peerClient = conn, client
	f.peer = strconv.AppendUint(f.peer[:0], conn, 10)
	f.peer = append(f.peer, f.client...)
	f.peer = appendAddr(f.peer, client)
	f.peer = append(f.peer, f.quote...)
}

func (f *format) restamp(us int64) {
	f.head = f.head[:0]
	second := us / 1e6
	if us < second*1e6 {
		second--
	}
	if second != f.stampSecond || len(f.stamp) == 0 {
		f.stamp = append(f.stamp[:0], f.begin...)
		f.stamp = time.Unix(second, 0).UTC().AppendFormat(f.stamp, stampLayout)
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
	if q.Time != f.stampTime || q.Conn != f.peerConn || q.Client != f.peerClient || len(f.head) == 0 {
		f.head = append(f.appendHead(f.head[:0], q.Time, f.req, q.Conn, q.Client), f.seq...)
	}
	if q.Fits {
		b = appendDecimal(append(b, f.head...), q.Seq)
	} else {
		b = append(append(b, f.head[:len(f.head)-len(f.seq)]...), f.seqBig...)
	}
	if q.Result != ACK && q.Result != NAK {
		b = appendUint(b, f.length, q.Size)
		b = append(b, f.none...)
		if f.dataMax > 0 {
			b = f.appendExcerpt(append(b, f.data...), q.Data, f.dataMax)
		}
		return append(b, f.end...)
	}
	if q.Size != f.size || q.AnswerSize != f.rsize || q.Result != f.result || len(f.sizes) == 0 {
		f.resize(q)
	}
	b = appendDecimal(append(b, f.sizes...), q.Latency)
	if f.dataMax > 0 {
		b = f.appendExcerpt(append(b, f.data...), q.Data, f.dataMax)
		b = f.appendExcerpt(append(b, f.rdata...), q.AnswerData, f.dataMax)
	}
	return append(b, f.end...)
}

func (f *format) resize(q *Request) {
	f.size, f.rsize, f.result = q.Size, q.AnswerSize, q.Result
	name := f.ack
	if q.Result == NAK {
		name = f.nak
	}
	f.sizes = appendUint(f.sizes[:0], f.length, q.Size)
	f.sizes = appendUint(f.sizes, name, q.AnswerSize)
	f.sizes = append(f.sizes, f.latency...)
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
	if f.dataMax > 0 {
		b = f.appendExcerpt(append(b, f.rdata...), a.Data, f.dataMax)
	}
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
	b = f.appendExcerpt(b, v.Got, excerptMax)
	return append(b, f.end...)
}

func (f *format) appendSeq(b []byte, seq int64, fits bool) []byte {
	if !fits {
		return append(b, f.seqBig...)
	}
	return appendDecimal(append(b, f.seq...), seq)
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

// appendDecimal is strconv.AppendInt in base 10, faster for numbers of up to eight digits, which most are. It makes all
// eight in one word, halving the lanes: of four digits, of two, of one; each division is a multiplication that is exact for
// as many digits. Then it shifts the leading zeros out.
func appendDecimal(b []byte, v int64) []byte {
	const word = 8
	if uint64(v) >= 1e8 || cap(b)-len(b) < word {
		return strconv.AppendInt(b, v, 10)
	}
	n := uint64(v) / 1e4
	n |= (uint64(v) - n*1e4) << 32
	q := n * 10486 >> 20 & 0x0000007f_0000007f
	n = q | (n-q*100)<<16
	q = n * 103 >> 10 & 0x000f_000f_000f_000f
	n = q | (n-q*10)<<8
	zeros := bits.TrailingZeros64(n|1<<56) / 8 // the last digit stays
	at := len(b)
	b = b[:at+word]
	binary.LittleEndian.PutUint64(b[at:], (n|0x3030303030303030)>>(8*zeros))
	return b[:at+word-zeros]
}

func appendAddr(b []byte, a netip.AddrPort) []byte {
	if !a.IsValid() {
		return append(b, "unix"...)
	}
	return netip.AddrPortFrom(a.Addr().WithZone(""), a.Port()).AppendTo(b)
}

// appendExcerpt appends the beginning of what came from the network, at most most bytes of it, quoted and in printable ASCII as
// strconv.QuoteToASCII does it; for JSON what stands between the quotes is the value of a JSON string.
func (f *format) appendExcerpt(b, got []byte, most int) []byte {
	got = cut(got, most)
	// The string lives only during the call, in which nobody writes to got.
	s := unsafe.String(unsafe.SliceData(got), len(got))
	start := len(b) + 1
	b = strconv.AppendQuoteToASCII(b, s)
	if !f.gotJSON {
		return b
	}
	escapes := bytes.Count(b[start:len(b)-1], []byte{'\\'}) + bytes.Count(b[start:len(b)-1], []byte{'"'})
	from := len(b) - 1
	for range escapes {
		b = append(b, '"')
	}
	for to := len(b) - 1; to > from; { // from behind, so that nothing is overwritten before it has moved
		b[to] = b[from]
		to--
		if c := b[from]; from >= start && (c == '\\' || c == '"') && to+1 != len(b)-1 {
			b[to] = '\\'
			to--
		}
		from--
	}
	return b
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
