package proxy

import (
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"fooproxy/stats"
)

const (
	// restFor is how long a loop rests after a turn in which its tunnels moved bulk data, restUnix the same where one side is a
	// unix socket: that holds 208 KiB, which a peer fills in less than 100 µs. The kernel takes up to 50 µs more (timer slack).
	restFor  = 500 * time.Microsecond
	restUnix = 20 * time.Microsecond
	// bulkTurn is how many bytes make a turn one of bulk data, of which its reads bring a quarter on average, bulkUnix the same where one side
	// is a unix socket. At less than half a GiB per second nobody rests.
	bulkTurn = 256 << 10
	bulkUnix = 128 << 10
)

// pace says what tunnels have moved in a turn.
type pace struct {
	bytes, reads int
	restless     bool          // some of it was of a flow for which nobody rests
	never        [2]bool       // the flows for which nobody does
	least        int           // bytes that make a turn one of bulk data
	length       time.Duration // of a rest
	outside      string        // the congestion control of clients that are not on this host, "" = of all the listener's
}

func (p *pace) bulk() bool { return !p.restless && p.bytes >= p.least && p.bytes >= p.reads*p.least/4 }

// add counts n bytes that one read of flow d has brought; paced says that its destination is, unlike others.
func (p *pace) add(d side, n int, paced bool) {
	p.bytes += n
	p.reads++
	p.restless = p.restless || paced || p.never[d]
}

// rest waits before the next turn's events are collected when every connection of the loop is a tunnel and the last turn moved
// bulk data, as network cards delay their interrupts: a loop that runs at once finds what one send of the peer has brought, and
// pays a wake-up, two system calls and an acknowledgement for it. What comes meanwhile waits in the kernel and goes in one
// piece: half the CPU time per byte. Nothing else is kept waiting, and a stream that ends or pauses is only once.
//
// Nobody rests for a flow whose destination the kernel paces: a large piece leaves in many small ones then, each with a timer of
// its own, and costs more than what comes bit by bit.
func (c *core) rest() {
	bulk := c.pace.bulk()
	c.pace.bytes, c.pace.reads, c.pace.restless = 0, 0, false
	if !bulk || int(c.local[stats.OpenTunnel]) != c.table.used {
		return
	}
	ts := unix.NsecToTimespec(int64(c.pace.length))
	_, _, _ = unix.RawSyscall6(unix.SYS_CLOCK_NANOSLEEP, unix.CLOCK_MONOTONIC, 0, uintptr(unsafe.Pointer(&ts)), 0, 0, 0)
}

// choosePace settles for which flows nobody rests, and spares tunnels and long Data within this host from BBR: that measures a path and is
// gentle to it, and the loopback device has none. Sockets within the host run Reno instead, which every kernel has and allows. It
// has to be chosen before they are connected: the kernel goes on to pace a socket that has run BBR. The way back is open, so a
// listener for all addresses runs Reno, and choosePaceOf gives BBR to what comes from elsewhere.
func (p *Proxy) choosePace(listeners []int, target *address) {
	p.pace.length, p.pace.least = restFor, bulkTurn
	if p.listen.domain == unix.AF_UNIX || target.domain == unix.AF_UNIX {
		p.pace.length, p.pace.least = restUnix, bulkUnix
	}
	if name := congestionControl(); (p.cfg.MayTunnel() || p.cfg.MayPeek()) && strings.HasPrefix(name, "bbr") {
		ip := p.listen.ip.Addr()
		mine := len(p.cfg.Inherited) == 0 && (ip.IsLoopback() || ip.IsUnspecified())
		for _, fd := range listeners {
			mine = mine && setCongestionControl(int32(fd), reno)
		}
		if mine && ip.IsUnspecified() {
			p.pace.outside = name
		}
		target.reno = target.ip.Addr().IsLoopback()
		p.pace.never = [2]bool{client: !target.reno && target.domain != unix.AF_UNIX, server: !mine && p.listen.domain != unix.AF_UNIX}
	}
}

// choosePaceOf gives a session's client the system's congestion control unless it is on this host, as its address says.
func (c *core) choosePaceOf(s *session) {
	if c.pace.outside == "" || s.client.Addr().IsLoopback() {
		return
	}
	if own, errno := localAddr(s.fd[client]); errno == 0 && own.Addr() == s.client.Addr() {
		return
	}
	s.paced = setCongestionControl(s.fd[client], c.pace.outside)
}

// congestionControl is what new TCP sockets run, "" if that cannot be told.
func congestionControl() string {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return ""
	}
	defer unix.Close(fd)
	name, err := unix.GetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION)
	if err != nil {
		return ""
	}
	return strings.TrimRight(name, "\x00")
}

const reno = "reno"

func setCongestionControl(fd int32, name string) bool {
	_, _, errno := unix.RawSyscall6(unix.SYS_SETSOCKOPT, uintptr(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION,
		uintptr(unsafe.Pointer(unsafe.StringData(name))), uintptr(len(name)), 0)
	return errno == 0
}
