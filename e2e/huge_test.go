package e2e

import (
	"bytes"
	"fmt"
	"io"
	"testing"
)

// A line of 1 GiB passes in constant memory, without waiting for its end, beside a canary; by default --max-line ends it.
func TestGibibyteLine(t *testing.T) {
	const size = 1 << 30
	chunk := bytes.Repeat([]byte("x"), 1<<20)
	pour := func(c *peer) error {
		if err := c.send([]byte("REQ 1 ")); err != nil {
			return err
		}
		for range size / len(chunk) {
			if _, err := c.Write(chunk); err != nil {
				return err
			}
		}
		return nil
	}
	drink := func(s *peer) error {
		if err := s.expectText("REQ 1 "); err != nil {
			return err
		}
		buf := make([]byte, len(chunk))
		for range size / len(chunk) {
			if _, err := io.ReadFull(s, buf); err != nil {
				return err
			}
			if !bytes.Equal(buf, chunk) {
				return fmt.Errorf("a piece of the line has changed")
			}
		}
		return nil
	}
	eachEngineAlone(t, func(t *testing.T, engine string) {
		u := newUpstream(t)
		p := launchPlain(t, engine, u.addr, []string{"--max-line=0", "--timeout-line=0"})
		t.Cleanup(p.check)
		c, s := p.pair(u)
		kc, ks := p.pair(u)
		base := p.rss()
		ok(t, together(func() error { return pour(c) }, func() error { return drink(s) }))
		if grown := p.rss() - base; grown > 48<<20 {
			t.Errorf("resident memory grew by %d bytes", grown)
		}
		ok(t, kc.send([]byte("REQ 7\n")))
		ok(t, ks.expectText("REQ 7\n"))
		p.counts(stats{"msg_req": 1})
		ok(t, c.send([]byte("\n")))
		ok(t, s.expectText("\n"))
		p.counts(stats{"msg_req": 2})
		finish(t, c, s)
		finish(t, kc, ks)
	})
	eachEngineAlone(t, func(t *testing.T, engine string) {
		u := newUpstream(t)
		p := start(t, engine, u.addr)
		c, s := p.pair(u)
		ok(t, together(
			func() error { // what comes after the violation is thrown away for a while, so this may or may not be cut short
				_ = pour(c)
				return nil
			},
			func() error {
				if got, err := io.Copy(io.Discard, s); got != 16<<20 {
					return fmt.Errorf("the server got %d bytes of the line: %v", got, err)
				}
				return nil
			},
		))
		c.Close()
		s.Close()
		p.reaches(stats{"end_violation_request": 1, "connections": 0})
	})
}
