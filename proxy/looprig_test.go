package proxy

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"fooproxy/stats"
)

// loopRig is a real loop over real sockets whose turns the test makes by hand, on its own thread. Clients and server live in
// the test as well: nothing happens at the same time, and nothing is waited for that a turn does not bring.
type loopRig struct {
	t        failer
	proxy    *Proxy
	worker   *worker
	core     *core
	loop     interface{ turn() (bool, error) }
	upstream int // the server's listener
	files    int // descriptors open before
	sockets  []int32
	over     bool
}

// loopPatience bounds what comes after a few turns unless something is broken.
const loopPatience = 20 * time.Second

var engines = []string{EngineEpoll, EngineUring}

// eachEngine runs a test with either engine. Both must work here: a test of the loop that is left out hides a loop that is
// broken.
func eachEngine(t *testing.T, test func(t *testing.T, engine string)) {
	for _, engine := range engines {
		t.Run(engine, func(t *testing.T) { test(t, engine) })
	}
}

func openFiles(t failer) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

func newLoopRig(t testing.TB, engine string, change func(*Config)) *loopRig {
	t.Helper()
	runtime.LockOSThread()
	t.Cleanup(runtime.UnlockOSThread)
	r := openLoopRig(t, engine, change)
	t.Cleanup(r.close)
	return r
}

// openLoopRig is newLoopRig for a caller that has locked its thread and closes the rig itself.
func openLoopRig(t failer, engine string, change func(*Config)) *loopRig {
	t.Helper()
	r := &loopRig{t: t, files: openFiles(t)}
	upstream, at := loopback(t)
	r.upstream = upstream
	cfg := Config{
		Listen: "127.0.0.1:0", Forward: at.String(), Engine: engine, Loops: 1, Accept: AcceptReuseport, Backlog: 100, NoDelay: true,
		MaxConn: 100, MaxBuffer: 256 << 10, Arbitrary: Close, OnViolation: Close,
	}
	if change != nil {
		change(&cfg)
	}
	var err error
	if r.proxy, err = build(cfg); err != nil {
		t.Fatal(err)
	}
	r.worker = r.proxy.workers[0]
	r.core = r.worker.core
	r.core.table.genFirst = genMask - 1 // generations wrap with the third session
	r.loop = r.worker.engine.(interface{ turn() (bool, error) })
	if err := r.proxy.openEngines(); err != nil { // by this thread, since the worker has none
		t.Fatal(err)
	}
	r.proxy.openLenders()
	return r
}

// direct is what moves bytes by system calls in the loop's engine.
func (r *loopRig) direct() *direct {
	if e, ok := r.loop.(*uringEngine); ok {
		return &e.direct
	}
	return &r.loop.(*epollEngine).direct
}

// loopback opens a listener on a free port.
func loopback(t failer) (int, *address) {
	t.Helper()
	at, err := parseAddress("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	fd, err := listen(at, &Config{Backlog: 100}, shareNot)
	if err != nil {
		t.Fatal(err)
	}
	if at, err = boundAddress(fd, at); err != nil {
		t.Fatal(err)
	}
	return fd, at
}

// turn makes one turn of the loop, which cannot block since it has just been woken.
func (r *loopRig) turn() {
	if r.over {
		r.t.Fatal("the loop has ended")
	}
	r.worker.engine.wake()
	over, err := r.loop.turn()
	if err != nil {
		r.t.Fatal(err)
	}
	r.over = over
}

// until makes turns until a condition holds.
func (r *loopRig) until(what string, holds func() bool) {
	r.t.Helper()
	for end := time.Now().Add(loopPatience); !holds(); {
		if time.Now().After(end) {
			r.t.Fatalf("after %v there is no %s: %s", loopPatience, what, r.state())
		}
		r.turn()
	}
}

func (r *loopRig) state() string {
	text := ""
	r.core.table.each(func(s *session) {
		text += fmt.Sprintf("\nslot %d: %v %v flows %+v engine %+v", s.slot, s.class, s.cause, s.flow, s.eng)
	})
	return text
}

// pair is a connection through the loop: the client's socket and the server's, both not blocking.
type pair [2]int32

// open connects a client and accepts what the loop makes of that at the server.
func (r *loopRig) open() pair {
	r.t.Helper()
	p := pair{r.dial(), -1}
	r.until("connection at the server", func() bool {
		p[server] = r.accepted()
		return p[server] >= 0
	})
	return p
}

// accepted is a connection that the loop has made to the server, or -1.
func (r *loopRig) accepted() int32 {
	var peer unix.RawSockaddrAny
	fd, errno := accept(r.upstream, &peer)
	if errno != 0 {
		return -1
	}
	r.sockets = append(r.sockets, fd)
	return fd
}

func (r *loopRig) dial() int32 {
	r.t.Helper()
	fd := r.tryDial()
	if fd < 0 {
		r.t.Fatal("the loop's listener is closed")
	}
	return fd
}

// tryDial is dial that returns -1 when the listener is closed.
func (r *loopRig) tryDial() int32 {
	r.t.Helper()
	fd, errno := upstreamSocket(r.proxy.listen, r.core.cfg, 0)
	if errno == 0 {
		errno = connect(fd, r.proxy.listen)
	}
	if errno == unix.ECONNREFUSED {
		closeSocket(fd, false)
		return -1
	}
	if errno != 0 {
		r.t.Fatal(errno)
	}
	if err := unix.SetNonblock(int(fd), true); err != nil {
		r.t.Fatal(err)
	}
	r.sockets = append(r.sockets, fd)
	return fd
}

// move carries data from one end of a pair to the other, in buf's memory.
func (r *loopRig) move(p pair, from side, data, buf []byte) {
	r.t.Helper()
	sent, got := 0, 0
	for end := time.Now().Add(loopPatience); got < len(data); {
		if sent < len(data) {
			if n, errno := send(p[from], data[sent:]); errno == 0 {
				sent += n
			} else if errno != unix.EAGAIN {
				r.t.Fatal(errno)
			}
		}
		r.turn()
		n, errno := recv(p[from^1], buf[got:])
		switch {
		case errno == 0 && n > 0:
			got += n
		case errno != unix.EAGAIN:
			r.t.Fatalf("after %d of %d bytes: %v", got, len(data), errno)
		case time.Now().After(end):
			r.t.Fatalf("%d of %d bytes arrive", got, len(data))
		}
	}
	if string(buf[:got]) != string(data) {
		r.t.Fatalf("%d bytes arrive changed", got)
	}
}

// gone waits until the loop has no session left.
func (r *loopRig) gone() {
	r.t.Helper()
	r.until("end of all sessions", func() bool { return r.core.table.used == 0 })
}

func (r *loopRig) expect(want map[stats.Counter]uint64) {
	r.t.Helper()
	for counter, n := range want {
		if got := r.core.local[counter]; got != n {
			r.t.Errorf("%v is %d, want %d", counter, got, n)
		}
	}
}

// close ends the loop and checks that everything has been returned.
func (r *loopRig) close() {
	r.t.Helper()
	r.worker.tell(orderStop)
	for end := time.Now().Add(loopPatience); !r.over; r.turn() {
		if time.Now().After(end) {
			r.t.Errorf("the loop does not end: %s", r.state())
			break
		}
	}
	c, inKernel := r.core, 0
	if e, ok := r.worker.engine.(*uringEngine); ok {
		inKernel = e.bufs.InKernel()
	}
	checkSlab(r.t, c.slab)
	if c.slab.free+inKernel != len(c.slab.segs) || c.table.used != 0 || c.wheel.count != 0 || c.conns.Load() != 0 {
		r.t.Errorf("left behind: %d segments, %d sessions, %d timers, %d connections",
			len(c.slab.segs)-c.slab.free-inKernel, c.table.used, c.wheel.count, c.conns.Load())
	}
	r.worker.engine.close()
	r.proxy.release()
	_ = unix.Close(r.upstream)
	for _, fd := range r.sockets {
		closeSocket(fd, false)
	}
	if files := openFiles(r.t); files != r.files {
		r.t.Errorf("%d descriptors are open, %d were before", files, r.files)
	}
}

// hangUp closes one of the test's sockets.
func (r *loopRig) hangUp(fd int32, reset bool) {
	r.sockets = slices.DeleteFunc(r.sockets, func(own int32) bool { return own == fd })
	closeSocket(fd, reset)
}

// limit makes a buffer of a socket small.
func (r *loopRig) limit(option int, fd int32) {
	r.t.Helper()
	if err := unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, option, 16<<10); err != nil {
		r.t.Fatal(err)
	}
}

// some does what recv or send can do now; an error counts as nothing.
func some(do func(int32, []byte) (int, syscall.Errno), fd int32, data []byte) int {
	if len(data) == 0 {
		return 0
	}
	n, errno := do(fd, data)
	if errno != 0 {
		return 0
	}
	return n
}
