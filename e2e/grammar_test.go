package e2e

import (
	"strings"
	"testing"
)

// sides gives the writer and the reader of one direction.
func sides(from byte, c, s *peer) (writer, reader *peer) {
	if from == 'c' {
		return c, s
	}
	return s, c
}

// Every valid line is forwarded as it is, in one piece and split at every place, and counted.
func TestValidLines(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		u := newUpstream(t)
		p := start(t, engine, u.addr)
		beside(t, p, u)
		for _, from := range []byte{'c', 's'} {
			c, s := p.pair(u)
			ok(t, c.send([]byte("REQ 0\n"))) // the class is decided: what comes now is forwarded at once
			ok(t, s.expectText("REQ 0\n"))
			w, r := sides(from, c, s)
			before := p.stats()
			var all strings.Builder
			for _, line := range validLines {
				all.WriteString(typed(from, line) + "\n")
			}
			ok(t, w.send([]byte(all.String())))
			ok(t, r.expectText(all.String()))
			sent := all.String()
			for _, line := range validLines {
				line = typed(from, line) + "\n"
				for _, at := range splits(line) {
					ok(t, w.send([]byte(line[:at])))
					ok(t, r.expectText(line[:at]))
					ok(t, w.send([]byte(line[at:])))
					ok(t, r.expectText(line[at:]))
					sent += line
				}
			}
			p.counts(plus(before, tally([]byte(sent))))
			finish(t, c, s)
		}
		p.counts(stats{"bad": 0})
	})
}

// splits is every place inside a short line, and some inside a long one.
func splits(line string) (at []int) {
	step := 1 + len(line)/100
	for i := 1; i < len(line); i += step {
		at = append(at, i)
	}
	return at
}

// The first bytes of a connection, split at every place: nothing is lost while the class is open.
func TestFirstLineSplit(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		u := newUpstream(t)
		p := start(t, engine, u.addr)
		const line = "REQ -5 \u00e9\r\n"
		for at := range len(line) {
			c, s := p.pair(u)
			ok(t, c.send([]byte(line[:at])))
			ok(t, c.delivered())
			if at >= len("REQ ") {
				ok(t, s.expectText(line[:at]))
				ok(t, c.send([]byte(line[at:])))
				ok(t, s.expectText(line[at:]))
			} else {
				ok(t, c.send([]byte(line[at:])))
				ok(t, s.expectText(line))
			}
			finish(t, c, s)
		}
		p.counts(stats{"msg_req": float64(len(line))})
	})
}
