package proxy

import (
	"fmt"
	"testing"

	"golang.org/x/sys/unix"

	"fooproxy/ring/ringtest"
)

// Ends that the kernel does not report by itself.

// An end that comes together with the last bytes while the receive is being armed is seen.
func TestLoopSeesAnEndWhileArming(t *testing.T) {
	for domain, listen := range map[string]string{"TCP": "127.0.0.1:0", "unix": "unix:" + t.TempDir() + "/clients"} {
		for _, bundle := range []bool{false, true} {
			t.Run(fmt.Sprint(domain, " bundle=", bundle), func(t *testing.T) {
				r := newLoopRig(t, EngineUring, func(cfg *Config) { cfg.Listen = listen })
				e := r.worker.engine.(*uringEngine)
				e.setup.recvBundle = bundle
				e.ring.SetHook(ringtest.New(1, ringtest.Rates{PollFirst: 1}))
				c := r.dial()
				if n, errno := send(c, []byte("REQ 1\nREQ 2")); n != 11 {
					t.Fatal(n, errno)
				}
				r.hangUp(c, true)
				s := int32(-1)
				r.until("connection at the server", func() bool { s = r.accepted(); return s >= 0 })
				got, buf := 0, make([]byte, 100)
				r.until("end at the server", func() bool {
					n, errno := recv(s, buf)
					got += max(n, 0)
					return errno != unix.EAGAIN && n <= 0
				})
				if got == 0 {
					t.Error("the request has not arrived")
				}
				r.hangUp(s, false)
				r.gone()
			})
		}
	}
}

// An end that stands behind more than the kernel receives without a rest is seen when the reader has caught up: the reset of a
// TCP connection, the close of a unix socket. Where in a run of receives the end lies depends on how much there is before it.
func TestLoopSeesAnEndBehindABacklog(t *testing.T) {
	data := lines("REQ", 8<<20, 4000)
	for name, bent := range map[string]string{EngineEpoll: "", EngineUring: "", "uring without bulk": "without=recv-bundle without=defer-taskrun"} {
		for domain, listen := range map[string]string{"TCP": "127.0.0.1:0", "unix": "unix:" + t.TempDir() + "/clients"} {
			t.Run(name+" "+domain, func(t *testing.T) {
				r := newLoopRig(t, name[:5], func(cfg *Config) { cfg.Listen, cfg.RingTest = listen, bent })
				for i := range 4 { // a run ends with the 64 buffers that the kernel has
					r.endBehindBacklog(data, (140+64*i)<<10)
				}
			})
		}
	}
}

// endBehindBacklog has a client end its connection when some bytes of it lie unread, beside those that the loop holds for a
// server that does not read.
func (r *loopRig) endBehindBacklog(data []byte, unread int) {
	r.t.Helper()
	p := r.open()
	r.limit(unix.SO_RCVBUF, p[server])
	force := func(fd int32, option int) {
		if err := unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, option, 2<<20); err != nil {
			r.t.Fatal(err)
		}
	}
	force(p[client], unix.SO_SNDBUFFORCE)
	r.core.table.each(func(s *session) { force(s.fd[client], unix.SO_RCVBUFFORCE) })
	sent := 0
	for still := 0; still < 50; still++ { // until the loop takes no more
		if n := min(64<<10, unread-queued(r.t, r.core)); n > 0 {
			if n = some(send, p[client], data[sent:min(sent+n, len(data))]); n > 0 {
				sent += n
				still = 0
			}
		}
		r.turn()
	}
	r.hangUp(p[client], true)
	force(p[server], unix.SO_RCVBUFFORCE)
	got, buf := 0, make([]byte, 1<<20)
	r.until("end at the server", func() bool {
		n, errno := recv(p[server], buf)
		got += max(n, 0)
		return errno != unix.EAGAIN && n <= 0
	})
	if got == 0 || got > sent {
		r.t.Errorf("%d of %d bytes arrived before the end", got, sent)
	}
	r.hangUp(p[server], false)
	r.gone()
}

// queued is how many bytes the clients' sockets hold for the loop to read.
func queued(t failer, c *core) (sum int) {
	c.table.each(func(s *session) {
		n, err := unix.IoctlGetInt(int(s.fd[client]), unix.SIOCINQ)
		if err != nil {
			t.Fatal(err)
		}
		sum += n
	})
	return sum
}
