package accesslog

import (
	"bytes"
	"encoding/json"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

var (
	client = netip.MustParseAddrPort("127.0.0.1:5123")
	server = netip.MustParseAddrPort("127.0.0.1:8000")
)

func micros(stamp string) int64 {
	t, err := time.Parse(time.RFC3339Nano, stamp)
	if err != nil {
		panic(err)
	}
	return t.UnixMicro()
}

// one returns a line of each kind, in both formats, formatted by the same function.
func one(format func(*format, []byte) []byte) (text, json string) {
	t, j := newFormat(&textShape), newFormat(&jsonShape)
	return string(format(&t, make([]byte, 0, lineMax))), string(format(&j, make([]byte, 0, lineMax)))
}

func TestLines(t *testing.T) {
	request := Request{
		Time: micros("2026-01-02T03:04:05.123456Z"), Conn: 42, Client: client, Seq: 7, Fits: true, Size: 18,
		Result: ACK, AnswerSize: 9, Latency: 184,
	}
	unanswered := request
	unanswered.Result = None
	big := request
	big.Fits, big.Result, big.Client = false, NAK, netip.AddrPort{}
	answer := Answer{Time: request.Time, Conn: 42, Client: client, Result: ACK, Seq: -7, Fits: true, Size: 9}
	bigAnswer := answer
	bigAnswer.Fits, bigAnswer.Result = false, NAK
	conn := Conn{
		Time: micros("2026-01-02T03:04:05.123460Z"), Conn: 42, Client: client, Server: server, Class: "foo",
		Duration: 5007, Req: 3, Ack: 2, Open: 1, In: 54, Out: 18, End: "client-fin",
	}
	refused := Conn{
		Time: conn.Time, Conn: 1, Client: netip.MustParseAddrPort("[fe80::1%eth0]:99"), Server: netip.AddrPort{}, End: "refused",
	}
	bad := Bad{
		Time: micros("2026-01-02T03:04:05.123470Z"), Conn: 43, Client: netip.MustParseAddrPort("127.0.0.1:5124"),
		Dir: "request", Line: 1, Offset: 4, Want: "seq", Got: []byte("x"),
	}
	nasty := bad
	nasty.Got = []byte("a\"b\\\x00\x1b[2J\xff é\U0001f600\n")

	tests := []struct {
		name, text, json string
		format           func(*format, []byte) []byte
	}{
		{
			"request", "2026-01-02T03:04:05.123456Z REQ conn=42 client=127.0.0.1:5123 seq=7 len=18 res=ACK rlen=9 lat_us=184\n",
			`{"time":"2026-01-02T03:04:05.123456Z","kind":"REQ","conn":42,"client":"127.0.0.1:5123","seq":7,"len":18,"res":"ACK","rlen":9,"lat_us":184}` + "\n",
			func(f *format, b []byte) []byte { return f.appendRequest(b, &request) },
		},
		{
			"unanswered", "2026-01-02T03:04:05.123456Z REQ conn=42 client=127.0.0.1:5123 seq=7 len=18 res=- rlen=- lat_us=-\n",
			`{"time":"2026-01-02T03:04:05.123456Z","kind":"REQ","conn":42,"client":"127.0.0.1:5123","seq":7,"len":18,"res":null,"rlen":null,"lat_us":null}` + "\n",
			func(f *format, b []byte) []byte { return f.appendRequest(b, &unanswered) },
		},
		{
			"big from a unix socket", "2026-01-02T03:04:05.123456Z REQ conn=42 client=unix seq=big len=18 res=NAK rlen=9 lat_us=184\n",
			`{"time":"2026-01-02T03:04:05.123456Z","kind":"REQ","conn":42,"client":"unix","seq":"big","len":18,"res":"NAK","rlen":9,"lat_us":184}` + "\n",
			func(f *format, b []byte) []byte { return f.appendRequest(b, &big) },
		},
		{
			"answer", "2026-01-02T03:04:05.123456Z RES conn=42 client=127.0.0.1:5123 res=ACK seq=-7 rlen=9\n",
			`{"time":"2026-01-02T03:04:05.123456Z","kind":"RES","conn":42,"client":"127.0.0.1:5123","res":"ACK","seq":-7,"rlen":9}` + "\n",
			func(f *format, b []byte) []byte { return f.appendAnswer(b, &answer) },
		},
		{
			"big answer", "2026-01-02T03:04:05.123456Z RES conn=42 client=127.0.0.1:5123 res=NAK seq=big rlen=9\n",
			`{"time":"2026-01-02T03:04:05.123456Z","kind":"RES","conn":42,"client":"127.0.0.1:5123","res":"NAK","seq":"big","rlen":9}` + "\n",
			func(f *format, b []byte) []byte { return f.appendAnswer(b, &bigAnswer) },
		},
		{
			"connection", "2026-01-02T03:04:05.123460Z CONN conn=42 client=127.0.0.1:5123 server=127.0.0.1:8000 class=foo dur_ms=5007 req=3 ack=2 nak=0 open=1 in=54 out=18 end=client-fin\n",
			`{"time":"2026-01-02T03:04:05.123460Z","kind":"CONN","conn":42,"client":"127.0.0.1:5123","server":"127.0.0.1:8000","class":"foo","dur_ms":5007,"req":3,"ack":2,"nak":0,"open":1,"in":54,"out":18,"end":"client-fin"}` + "\n",
			func(f *format, b []byte) []byte { return f.appendConn(b, &conn) },
		},
		{
			"connection without a class", "2026-01-02T03:04:05.123460Z CONN conn=1 client=[fe80::1]:99 server=unix class=- dur_ms=0 req=0 ack=0 nak=0 open=0 in=0 out=0 end=refused\n",
			`{"time":"2026-01-02T03:04:05.123460Z","kind":"CONN","conn":1,"client":"[fe80::1]:99","server":"unix","class":"-","dur_ms":0,"req":0,"ack":0,"nak":0,"open":0,"in":0,"out":0,"end":"refused"}` + "\n",
			func(f *format, b []byte) []byte { return f.appendConn(b, &refused) },
		},
		{
			"violation", "2026-01-02T03:04:05.123470Z BAD conn=43 client=127.0.0.1:5124 dir=request line=1 off=4 want=seq got=\"x\"\n",
			`{"time":"2026-01-02T03:04:05.123470Z","kind":"BAD","conn":43,"client":"127.0.0.1:5124","dir":"request","line":1,"off":4,"want":"seq","got":"x"}` + "\n",
			func(f *format, b []byte) []byte { return f.appendBad(b, &bad) },
		},
		{
			"nasty violation", `2026-01-02T03:04:05.123470Z BAD conn=43 client=127.0.0.1:5124 dir=request line=1 off=4 want=seq got="a\"b\\\x00\x1b[2J\xff \u00e9\U0001f600\n"` + "\n",
			`{"time":"2026-01-02T03:04:05.123470Z","kind":"BAD","conn":43,"client":"127.0.0.1:5124","dir":"request","line":1,"off":4,"want":"seq","got":"a\\\"b\\\\\\x00\\x1b[2J\\xff \\u00e9\\U0001f600\\n"}` + "\n",
			func(f *format, b []byte) []byte { return f.appendBad(b, &nasty) },
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			text, object := one(test.format)
			if diff := cmp.Diff(test.text, text); diff != "" {
				t.Errorf("text (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.json, object); diff != "" {
				t.Errorf("JSON (-want +got):\n%s", diff)
			}
			if !json.Valid([]byte(object)) {
				t.Error("the JSON is not valid")
			}
		})
	}
}

func TestLongestLineFits(t *testing.T) {
	far := netip.AddrPortFrom(netip.MustParseAddr("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff%"+strings.Repeat("z", 5000)), 65535)
	word := strings.Repeat("w", 5000)
	const most, least = math.MaxUint64, math.MinInt64
	for _, us := range []int64{math.MinInt64, math.MaxInt64} {
		for _, format := range []func(*format, []byte) []byte{
			func(f *format, b []byte) []byte {
				return f.appendRequest(b, &Request{us, most, far, least, true, most, NAK, most, least, nil, nil})
			},
			func(f *format, b []byte) []byte {
				return f.appendAnswer(b, &Answer{us, most, far, NAK, least, true, most, nil})
			},
			func(f *format, b []byte) []byte {
				return f.appendConn(b, &Conn{us, most, far, far, word, least, most, most, most, most, most, most, word})
			},
			func(f *format, b []byte) []byte {
				return f.appendBad(b, &Bad{us, most, far, word, most, most, word, bytes.Repeat([]byte{0xff}, 5000)})
			},
			func(f *format, b []byte) []byte {
				return f.appendBad(b, &Bad{us, most, far, word, most, most, word, bytes.Repeat([]byte{'"'}, 5000)})
			},
		} {
			text, object := one(format)
			if max(len(text), len(object)) > lineMax {
				t.Errorf("%d and %d bytes, want at most %d:\n%s%s", len(text), len(object), lineMax, text, object)
			}
		}
	}
}

// The cached stamp and peer must never show in a later line: any sequence of lines reads as if each were the first.
func TestCachesAreInvisible(t *testing.T) {
	addrs := []netip.AddrPort{client, server, {}, netip.MustParseAddrPort("[::1]:5123")}
	rapid.Check(t, func(t *rapid.T) {
		cached := newFormat(rapid.SampledFrom([]*shape{&textShape, &jsonShape}).Draw(t, "shape"))
		us := rapid.Int64Range(-1e17, 1e17).Draw(t, "start")
		for range rapid.IntRange(1, 20).Draw(t, "lines") {
			us += rapid.OneOf(rapid.Int64Range(-10, 10), rapid.Int64Range(-3e6, 3e6)).Draw(t, "step")
			q := Request{Time: us, Conn: rapid.Uint64Range(0, 2).Draw(t, "conn"), Client: rapid.SampledFrom(addrs).Draw(t, "client")}
			fresh := newFormat(cached.shape)
			want := string(fresh.appendRequest(nil, &q))
			if got := string(cached.appendRequest(nil, &q)); got != want {
				t.Fatalf("got %swant %s", got, want)
			}
			if stamp := time.UnixMicro(us).UTC().Format("2006-01-02T15:04:05.000000Z"); !strings.Contains(want, stamp+" ") && !strings.Contains(want, stamp+`"`) {
				t.Fatalf("no %s in %s", stamp, want)
			}
		}
	})
}

func TestExcerptIsCutBetweenCharacters(t *testing.T) {
	fill := strings.Repeat("a", excerptMax-2)
	tests := []struct{ got, want string }{
		{fill + "ab", fill + "ab"},
		{fill + "abc", fill + "ab"},
		{fill + "é", fill + "é"},
		{fill + "aé", fill + "a"},
		{fill + "\U0001f600", fill},
		{fill + "a\xff\xff", fill + "a\xff"},
		{fill + "\x80\x80\x80", fill + "\x80\x80"},
		{fill + "\xf0\x9f\x98", fill + "\xf0\x9f"},
	}
	for _, test := range tests {
		if got := string(cut([]byte(test.got), excerptMax)); got != test.want {
			t.Errorf("cut(%q) = %q, want %q", test.got, got, test.want)
		}
	}
}

// fuzzTime bounds times to years of four digits, in µs.
const fuzzTime = 6e16

func FuzzBad(f *testing.F) {
	for _, seed := range []string{"", "x", "\x00\x1b\r\n", `"\`, "é\xff\xfe", strings.Repeat("\xff", 100), "\u2028</script>", "\u202eexe.txt\u202c", "\x1b]0;title\a\x1b[2J", `","kind":"REQ","res":"ACK"`} {
		f.Add([]byte(seed), uint64(1), uint64(4), int64(0))
	}
	f.Fuzz(func(t *testing.T, got []byte, line, offset uint64, us int64) {
		us %= fuzzTime
		v := Bad{Time: us, Conn: 43, Client: client, Dir: "request", Line: line, Offset: offset, Want: "seq", Got: got}
		text, object := one(func(f *format, b []byte) []byte { return f.appendBad(b, &v) })
		want := cut(got, excerptMax)
		for _, s := range []string{text, object} {
			if len(s) > lineMax || strings.IndexByte(s, '\n') != len(s)-1 {
				t.Fatalf("not one line of bounded length: %q", s)
			}
			for _, c := range []byte(s[:len(s)-1]) {
				if c < ' ' || c > '~' {
					t.Fatalf("byte %#x in %q", c, s)
				}
			}
		}
		_, quoted, _ := strings.Cut(strings.TrimSuffix(text, "\n"), " got=")
		if raw, err := strconv.Unquote(quoted); err != nil || raw != string(want) {
			t.Fatalf("text has %s, which is %q, %v; want %q", quoted, raw, err, want)
		}
		if quoted != strconv.QuoteToASCII(string(want)) {
			t.Fatalf("text has %s, want %s", quoted, strconv.QuoteToASCII(string(want)))
		}
		var fields struct {
			Kind, Got string
			Line, Off uint64
		}
		if err := json.Unmarshal([]byte(object), &fields); err != nil {
			t.Fatalf("%v in %s", err, object)
		}
		if raw, err := strconv.Unquote(`"` + fields.Got + `"`); err != nil || raw != string(want) {
			t.Fatalf("JSON has %s, which is %q, %v; want %q", fields.Got, raw, err, want)
		}
		if fields.Kind != "BAD" || fields.Line != line || fields.Off != offset {
			t.Fatalf("JSON has %+v", fields)
		}
		checkRecount(t, text+object, &sums{Bad: 2})
	})
}

func FuzzRequest(f *testing.F) {
	f.Add(int64(0), uint64(1), int64(7), true, uint64(18), byte(1), uint64(9), int64(184), uint16(80))
	f.Add(int64(-1), uint64(math.MaxUint64), int64(math.MinInt64), false, uint64(0), byte(2), uint64(0), int64(-1), uint16(0))
	f.Fuzz(func(t *testing.T, us int64, conn uint64, seq int64, fits bool, size uint64, result byte, answer uint64, latency int64, port uint16) {
		us %= fuzzTime
		q := Request{us, conn, netip.AddrPortFrom(client.Addr(), port), seq, fits, size, Result(result % 3), answer, latency, nil, nil}
		text, object := one(func(f *format, b []byte) []byte { return f.appendRequest(b, &q) })
		var fields struct {
			Time, Kind, Client string
			Conn, Len          uint64
			Seq                any
			Res                *string
			Rlen               *uint64
			LatUs              *int64 `json:"lat_us"`
		}
		decoder := json.NewDecoder(strings.NewReader(object))
		decoder.UseNumber()
		if err := decoder.Decode(&fields); err != nil {
			t.Fatalf("%v in %s", err, object)
		}
		word := func(v any) string {
			switch v := v.(type) {
			case *string:
				if v != nil {
					return *v
				}
			case *uint64:
				if v != nil {
					return strconv.FormatUint(*v, 10)
				}
			case *int64:
				if v != nil {
					return strconv.FormatInt(*v, 10)
				}
			}
			return "-"
		}
		seqWord := "big"
		if n, ok := fields.Seq.(json.Number); ok {
			seqWord = n.String()
		}
		// The text line, rebuilt from what the JSON says, and the JSON checked against the struct.
		rebuilt := fields.Time + " " + fields.Kind + " conn=" + strconv.FormatUint(fields.Conn, 10) + " client=" + fields.Client +
			" seq=" + seqWord + " len=" + strconv.FormatUint(fields.Len, 10) + " res=" + word(fields.Res) +
			" rlen=" + word(fields.Rlen) + " lat_us=" + word(fields.LatUs) + "\n"
		if diff := cmp.Diff(rebuilt, text); diff != "" {
			t.Fatalf("text and JSON differ (-JSON +text):\n%s", diff)
		}
		if want := strconv.FormatInt(seq, 10); fits && seqWord != want {
			t.Fatalf("seq %s, want %s", seqWord, want)
		}
		if fields.Conn != conn || fields.Len != size || fields.Client != q.Client.String() {
			t.Fatalf("JSON has %+v", fields)
		}
		if want := (&sums{Req: 2}); q.Result == None {
			want.Unanswered = 2
			checkRecount(t, text+object, want)
		} else if q.Result == ACK {
			want.Ack = 2
			checkRecount(t, text+object, want)
		} else {
			want.Nak = 2
			checkRecount(t, text+object, want)
		}
	})
}
