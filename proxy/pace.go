package proxy

import (
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"fooproxy/stats"
)

const (
	// restFor is how long a loop rests after a turn in which its tunnels moved bulk data.
	restFor = int64(500 * time.Microsecond)
	// bulkTurn is how many bytes make a turn one of bulk data, and bulkRead how many its reads bring on average. At less than
	// half a GiB per second nobody rests.
	bulkTurn = 256 << 10
	bulkRead = 64 << 10
)

// pace says what tunnels have moved in a turn.
type pace struct {
	bytes, reads int
	restless     bool    // some of it was of a flow for which nobody rests
	never        [2]bool // the flows for which nobody does
}

func (p *pace) bulk() bool { return !p.restless && p.bytes >= bulkTurn && p.bytes >= p.reads*bulkRead }

// add counts n bytes that one read of flow d has brought.
func (p *pace) add(d side, n int) {
	p.bytes += n
	p.reads++
	p.restless = p.restless || p.never[d]
}

// rest waits before the next turn's events are collected when every connection of the loop is a tunnel and the last turn moved
// bulk data, as network cards delay their interrupts: a loop that runs at once finds what one send of the peer has brought, and
// pays a wake-up, two system calls and an acknowledgement for it. What comes meanwhile waits in the kernel and goes in one
// piece: half the CPU time per byte. Nothing else is kept waiting, and a stream that ends or pauses is only once.
//
// Nobody rests for a flow whose destination the kernel paces: a large piece leaves in many small ones then, each with a timer of
// its own, and costs more than what comes bit by bit. Nor between unix sockets, whose small buffers are full at once.
func (c *core) rest() {
	bulk := c.pace.bulk()
	c.pace.bytes, c.pace.reads, c.pace.restless = 0, 0, false
	if !bulk || int(c.local[stats.OpenTunnel]) != c.table.used {
		return
	}
	ts := unix.NsecToTimespec(restFor)
	_, _, _ = unix.RawSyscall6(unix.SYS_CLOCK_NANOSLEEP, unix.CLOCK_MONOTONIC, 0, uintptr(unsafe.Pointer(&ts)), 0, 0, 0)
}

// choosePace settles for which flows nobody rests, and spares tunnels within this host from BBR: that measures a path and is
// gentle to it, and the loopback device has none. Sockets on loopback addresses run Reno instead, which every kernel has and
// allows. It has to be chosen before they are connected: the kernel goes on to pace a socket that has run BBR.
func (p *Proxy) choosePace(listeners []int, target *address) {
	mayTunnel := p.cfg.Tunnel || p.cfg.Arbitrary == Tunnel
	if mayTunnel && runsBBR() {
		reno := len(p.cfg.Inherited) == 0 && p.listen.ip.Addr().IsLoopback()
		for _, fd := range listeners {
			reno = reno && setReno(fd)
		}
		target.reno = target.ip.Addr().IsLoopback()
		p.restless = [2]bool{client: !target.reno, server: !reno}
	}
	if p.listen.domain == unix.AF_UNIX || target.domain == unix.AF_UNIX {
		p.restless = [2]bool{true, true}
	}
}

// runsBBR says whether new TCP sockets run BBR.
func runsBBR() bool {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	name, err := unix.GetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION)
	return err == nil && strings.HasPrefix(name, "bbr")
}

var renoName = [...]byte{'r', 'e', 'n', 'o'}

func setReno(fd int) bool {
	_, _, errno := unix.RawSyscall6(unix.SYS_SETSOCKOPT, uintptr(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION,
		uintptr(unsafe.Pointer(&renoName)), uintptr(len(renoName)), 0)
	return errno == 0
}
