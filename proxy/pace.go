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
	never        bool // the loop never rests
}

func (p *pace) add(n int) {
	p.bytes += n
	p.reads++
}

func (p *pace) bulk() bool { return p.bytes >= bulkTurn && p.bytes >= p.reads*bulkRead }

// rest waits before the next turn's events are collected when every connection of the loop is a tunnel and the last turn moved
// bulk data, as network cards delay their interrupts: a loop that runs at once finds what one send of the peer has brought, and
// pays a wake-up, two system calls and an acknowledgement for it. What comes meanwhile waits in the kernel and goes in one
// piece: half the CPU time per byte. Nothing else is kept waiting, and a stream that ends or pauses is only once.
//
// Where sockets run BBR nobody rests: it takes the pause for a longer way and sends a quarter less.
func (c *core) rest() {
	bulk := c.pace.bulk()
	c.pace.bytes, c.pace.reads = 0, 0
	if !bulk || c.pace.never || int(c.local[stats.OpenTunnel]) != c.table.used {
		return
	}
	ts := unix.NsecToTimespec(restFor)
	_, _, _ = unix.RawSyscall6(unix.SYS_CLOCK_NANOSLEEP, unix.CLOCK_MONOTONIC, 0, uintptr(unsafe.Pointer(&ts)), 0, 0, 0)
}

// pacesItself says whether new TCP sockets run BBR.
func pacesItself() bool {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	name, err := unix.GetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION)
	return err == nil && strings.HasPrefix(name, "bbr")
}
