package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// torrent sends chunk from c to s again and again, at least so many bytes and until meanwhile returns, and compares it all.
func torrent(c, s *peer, chunk []byte, least int64, meanwhile func()) error {
	var stop atomic.Bool
	var total atomic.Int64 // known before the last write
	write := func() error {
		for sent := int64(0); total.Load() == 0; {
			sent += int64(len(chunk))
			if sent >= least && stop.Load() {
				total.Store(sent)
			}
			if err := c.send(chunk); err != nil {
				total.Store(-1)
				return err
			}
		}
		return nil
	}
	read := func() error {
		buf := make([]byte, len(chunk))
		for got := int64(0); got == 0 || got != total.Load(); got += int64(len(buf)) {
			s.soon()
			if _, err := io.ReadFull(s, buf); err != nil {
				return errors.Join(err, c.Close())
			}
			if at := differ(buf, chunk); at >= 0 {
				return errors.Join(fmt.Errorf("byte %d: %q has become %q", got+int64(at), excerpt(chunk, at), excerpt(buf, at)), c.Close())
			}
		}
		return nil
	}
	return together(write, read, func() error {
		defer stop.Store(true)
		meanwhile()
		return nil
	})
}

// A line of 1 GiB passes in constant memory, without waiting for its end, and delays a canary no more than as many bytes of
// ordinary lines do.
func TestGibibyteLine(t *testing.T) {
	size := int64(64 << 20)
	if thorough {
		size = 1 << 30
	}
	eachWayAlone(t, func(t *testing.T, engine string) {
		u := newUpstream(t)
		p := launchPlain(t, engine, u.addr, []string{"--max-line=0", "--timeout-line=0", oneLoop})
		t.Cleanup(p.check)
		k := measured(t, p, u)
		k.period = 4 * time.Millisecond // a round takes as long as what the loop has before it
		c, s := p.pair(u)
		var normal time.Duration
		lines := []byte(strings.Repeat("REQ 1 "+strings.Repeat("x", 1017)+"\n", 1024))
		ok(t, torrent(c, s, lines, size, func() {
			if thorough {
				normal, _ = k.p99()
			}
		}))
		ok(t, c.send([]byte("REQ 1 ")))
		ok(t, s.expectText("REQ 1 "))
		ok(t, torrent(c, s, bytes.Repeat([]byte("x"), 1<<20), size, func() { k.holdsAgainst(normal, "a line without end") }))
		before := p.stats()["msg_req"]
		ok(t, c.send([]byte("\n")))
		ok(t, s.expectText("\n"))
		finish(t, c, s)
		k.check()
		if n := p.stats()["msg_req"] - before; n != 1 {
			t.Errorf("the line was counted %v times", n)
		}
	})
}

// By default a line that long ends its connection after 16 MiB.
func TestEndlessLine(t *testing.T) {
	eachWayAlone(t, func(t *testing.T, engine string) {
		u := newUpstream(t)
		p := start(t, engine, u.addr)
		beside(t, p, u)
		c, s := p.pair(u)
		ok(t, together(
			func() error { // what comes after the violation is thrown away for a while, so this may or may not be cut short
				_ = c.send([]byte("REQ 1 "))
				_ = c.sendSegments(bytes.Repeat([]byte("x"), 64<<20), 1<<20)
				return nil
			},
			func() error {
				got, how, err := s.rest()
				if how != fin {
					err = errors.Join(err, fmt.Errorf("the stream ended with %q, want %s", how, fin))
				}
				want := strings.NewReader(("REQ 1 " + strings.Repeat("x", 16<<20))[:16<<20])
				return errors.Join(err, differs(got, want), s.Close(), c.leaves())
			},
		))
		p.reaches(stats{"end_violation_request": 1, "connections": 0})
		c.Close()
	})
}

// leaves wants the proxy to end a connection that has nothing more to say, in whatever way.
func (p *peer) leaves() error { return p.ends(fin, rst) }
