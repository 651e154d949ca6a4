package accesslog

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"pgregory.net/rapid"
)

// sums are the numbers of lines in Totals.
type sums struct{ Req, Ack, Nak, Unanswered, Unmatched, Bad, Connections, Skipped uint64 }

func sumsOf(t *Totals) sums {
	return sums{t.Req, t.Ack, t.Nak, t.Unanswered, t.Unmatched + t.Untracked, t.Bad, t.Ended.Connections, t.Malformed}
}

func recountOf(t *testing.T, log string) (got Totals) {
	t.Helper()
	if err := got.Read(strings.NewReader(log), func(number uint64, line []byte, why error) {
		t.Errorf("line %d: %v: %q", number, why, line)
	}); err != nil {
		t.Fatal(err)
	}
	return got
}

func checkRecount(t *testing.T, log string, want *sums) {
	t.Helper()
	var got Totals
	if err := got.Read(strings.NewReader(log), nil); err != nil || sumsOf(&got) != *want {
		t.Fatalf("recounted as %+v, %v; want %+v\n%s", got, err, *want, log)
	}
}

func TestRecountAgainstProducer(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text, object := newFormat(&textShape), newFormat(&jsonShape)
		var log []byte
		var want sums
		for range rapid.IntRange(0, 40).Draw(t, "lines") {
			f := rapid.SampledFrom([]*format{&text, &object}).Draw(t, "format")
			result := Result(rapid.IntRange(0, 2).Draw(t, "result"))
			switch kind := rapid.IntRange(0, 4).Draw(t, "kind"); kind {
			case 0, 1:
				if kind == 1 && result == None {
					continue
				}
				if kind == 0 {
					log = f.appendRequest(log, &Request{Result: result, Fits: result == NAK})
					want.Req++
				} else {
					log = f.appendAnswer(log, &Answer{Result: result, Fits: result == NAK})
					want.Unmatched++
				}
				switch result {
				case ACK:
					want.Ack++
				case NAK:
					want.Nak++
				case None:
					want.Unanswered++
				}
			case 2:
				log = f.appendConn(log, &Conn{Class: "foo", End: "client-fin"})
				want.Connections++
			case 3:
				log = f.appendBad(log, &Bad{Dir: "request", Want: "seq", Got: rapid.SliceOf(rapid.Byte()).Draw(t, "got")})
				want.Bad++
			case 4:
				log = append(log, rapid.SampledFrom(foreign).Draw(t, "foreign")...)
				want.Skipped++
			}
		}
		var got Totals
		if err := got.Read(iotest.OneByteReader(strings.NewReader(string(log))), nil); err != nil || sumsOf(&got) != want {
			t.Fatalf("got %+v, %v; want %+v\n%s", got, err, want, log)
		}
	})
}

// foreign are lines that are no log's.
var foreign = []string{
	"\n", " \n", "{}\n", "{\n", "null\n",
	"REQ conn=1 res=ACK\n",
	"yesterday REQ conn=1 res=ACK\n",
	"2026-01-02T03:04:05.123456Z\n",
	"2026-01-02T03:04:05.123456Z REQ\n",
	"2026-01-02T03:04:05.123456Z REQ conn=1\n",
	"2026-01-02T03:04:05.123456Z REQ conn=1 res=\n",
	"2026-01-02T03:04:05.123456Z REQ conn=1 res=ack\n",
	"2026-01-02T03:04:05.123456Z RES conn=1 res=-\n",
	"2026-01-02T03:04:05.123456Z req conn=1 res=ACK\n",
	"2026-01-02T03:04:05.123456Z REQX conn=1 res=ACK\n",
	`{"kind":"RES"}` + "\n",
	`{"kind":"REQ","res":"OK"}` + "\n",
	`{"kind":"REQ","res":1}` + "\n",
	`{"kind":"REQ","res":"ACK"} trailing` + "\n",
	strings.Repeat("x", 300_000) + "\n",
}

func BenchmarkRecount(b *testing.B) {
	for name, shape := range map[string]*shape{Text: &textShape, JSON: &jsonShape} {
		b.Run(name, func(b *testing.B) {
			f := newFormat(shape)
			line := string(f.appendRequest(nil, &Request{Conn: 42, Client: client, Seq: 7, Fits: true, Size: 18, Result: ACK, AnswerSize: 9, Latency: 184}))
			const lines = 1000
			log := strings.Repeat(line, lines)
			b.SetBytes(int64(len(line)))
			for n := 0; n < b.N; n += lines {
				var t Totals
				if err := t.Read(strings.NewReader(log), nil); err != nil || t.Req != lines {
					b.Fatal(t, err)
				}
			}
		})
	}
}

func TestRecountOfUnfinishedLines(t *testing.T) {
	const whole = "2026-01-02T03:04:05.123456Z REQ conn=42 client=unix seq=7 len=18 res=ACK rlen=9 lat_us=184\n"
	checkRecount(t, "", &sums{})
	checkRecount(t, whole, &sums{Req: 1, Ack: 1})
	for i := 1; i < len(whole); i++ {
		checkRecount(t, whole+whole[:i], &sums{Req: 1, Ack: 1, Skipped: 1})
	}
	checkRecount(t, whole+strings.Repeat("x", 300_000), &sums{Req: 1, Ack: 1, Skipped: 1})
}

func TestRecountReturnsTheReadersError(t *testing.T) {
	broken := errors.New("broken")
	for _, before := range []string{"", "x", "x\n", strings.Repeat("x", 100_000)} {
		var totals Totals
		if err := totals.Read(io.MultiReader(strings.NewReader(before), iotest.ErrReader(broken)), nil); !errors.Is(err, broken) {
			t.Errorf("after %d bytes: error %v, want %v", len(before), err, broken)
		}
	}
}
