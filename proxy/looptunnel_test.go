package proxy

import (
	"bytes"
	"testing"

	"golang.org/x/sys/unix"
)

// What a tunnel held when it was reset never reaches another connection, though its memory is used again.
func TestLoopTunnelLeavesNoBytesBehind(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		r := newLoopRig(t, engine, func(cfg *Config) { cfg.Arbitrary, cfg.MaxPipes = Tunnel, 1 })
		buf := make([]byte, 1<<20)
		r.move(r.open(), client, []byte("the pipes go with the last tunnel, and this one stays"), buf)
		for i := range byte(5) {
			p := r.open()
			hello := bytes.Repeat([]byte{'a' + i}, 100)
			r.move(p, client, hello, buf)
			r.move(p, server, hello, buf)
			r.limit(unix.SO_RCVBUF, p[server])
			data := bytes.Repeat([]byte{'A' + i}, 1<<20)
			for still := 0; still < 50; still++ { // until nothing moves any more
				if some(send, p[client], data) > 0 {
					still = 0
				}
				r.turn()
			}
			held := false
			r.core.table.each(func(s *session) { held = held || s.flow[client].held() })
			if !held {
				t.Fatal("the loop holds nothing, so this test shows nothing")
			}
			r.hangUp(p[client], true)
			r.hangUp(p[server], true)
			r.until("end of the session", func() bool { return r.core.table.used == 1 })
		}
	})
}
