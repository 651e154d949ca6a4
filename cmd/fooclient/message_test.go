package main

import (
	"testing"
	"time"

	"fooproxy/codec"
)

func TestComposer(t *testing.T) {
	c := composer{next: 1}
	for _, step := range []struct {
		line, want string
		typ        codec.Type
		fails      bool
	}{
		{line: "hello", want: "REQ 1 hello\n", typ: codec.REQ},
		{line: " blanks  stay ", want: "REQ 2  blanks  stay \n", typ: codec.REQ},
		{line: ""},
		{line: " \t\r"},
		{line: "REQ 7", want: "REQ 7\n", typ: codec.REQ},
		{line: "next", want: "REQ 8 next\n", typ: codec.REQ},
		{line: "REQ 3 lower", want: "REQ 3 lower\n", typ: codec.REQ},
		{line: "REQ\t-5\r", want: "REQ\t-5\r\n", typ: codec.REQ},
		{line: "REQ 12x", want: "REQ 9 REQ 12x\n", typ: codec.REQ},
		{line: "req 1", want: "REQ 10 req 1\n", typ: codec.REQ},
		{line: "ACK 1 verbatim", want: "ACK 1 verbatim\n", typ: codec.ACK},
		{line: "REQ 99999999999999999999", want: "REQ 99999999999999999999\n", typ: codec.REQ},
		{line: "REQ 9223372036854775807", want: "REQ 9223372036854775807\n", typ: codec.REQ},
		{line: "grüße", want: "REQ 11 grüße\n", typ: codec.REQ},
		{line: "bad \xff", fails: true},
		{line: "two\nlines", fails: true},
		{line: "after", want: "REQ 12 after\n", typ: codec.REQ},
	} {
		got, m, err := c.append([]byte("before "), []byte(step.line))
		if string(got) != "before "+step.want || m.Type != step.typ || (err != nil) != step.fails {
			t.Errorf("%q gives %q, %v, %v", step.line, got, m.Type, err)
		}
	}
}

func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{
		"ACK 1 plain\ttext 日本\r":  "ACK 1 plain\ttext 日本",
		"ACK 1 \x1b[2J\x00\r\x7f": `ACK 1 \u001b[2J\u0000\u000d\u007f`,
		"ACK 1 \u202e\u009b":      `ACK 1 \u202e\u009b`,
	} {
		if got := printable([]byte(in)); got != want {
			t.Errorf("%q is shown as %q", in, got)
		}
	}
}

func TestLedger(t *testing.T) {
	fits := func(typ codec.Type, seq int64) codec.Message { return codec.Message{Type: typ, Seq: seq, Fits: true} }
	big := codec.Message{Type: codec.ACK}
	l := newLedger()
	check := func(wantMissing, wantNaks, wantStrays int) {
		t.Helper()
		if missing, naks, strays := l.sum(); missing != wantMissing || naks != wantNaks || strays != wantStrays {
			t.Errorf("missing %d, naks %d, strays %d, want %d, %d, %d", missing, naks, strays, wantMissing, wantNaks, wantStrays)
		}
	}
	l.sending([]codec.Message{fits(codec.REQ, 1), fits(codec.REQ, 1), fits(codec.REQ, 2), {Type: codec.REQ}})
	l.answered(fits(codec.ACK, 1))
	l.answered(fits(codec.NAK, 2))
	check(2, 1, 0)
	l.answered(fits(codec.ACK, 2))
	check(2, 1, 1)
	l.answered(big)
	l.answered(big)
	check(1, 1, 2)
	l.finish()
	if l.done() {
		t.Error("done although one request is open")
	}
	l.answered(fits(codec.ACK, 1))
	if !l.done() {
		t.Error("not done although all is answered")
	}
	check(0, 1, 2)
	if l.overdue(0) {
		t.Error("an answer is overdue although none is missing")
	}
	l.sending([]codec.Message{fits(codec.REQ, 3)})
	if !l.overdue(0) || l.overdue(time.Hour) {
		t.Error("an answer is overdue at the wrong time")
	}
}
