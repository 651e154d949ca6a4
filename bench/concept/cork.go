package concept

import (
	"fmt"
	"io"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"fooproxy/bench/sys"
)

// corkWay is how the sender's socket treats small writes.
type corkWay struct {
	name    string
	nodelay int32
	cork    bool
}

// Cork sends batches of 8 writes of 16 bytes, each batch awaited by the receiver, and counts segments and time.
func Cork(w io.Writer, batches int) error {
	fmt.Fprintf(w, "%-34s %14s %14s\n", "batches of 8 writes of 16 bytes", "segments/batch", "µs/batch")
	for _, way := range []corkWay{
		{"Nagle (no option)", 0, false}, {"TCP_NODELAY", 1, false}, {"TCP_NODELAY and TCP_CORK", 1, true},
	} {
		segments, took, err := measureCork(&way, batches)
		if err != nil {
			return fmt.Errorf("%s: %w", way.name, err)
		}
		fmt.Fprintf(w, "  %-32s %14.1f %14.1f\n", way.name, segments, float64(took.Nanoseconds())/1e3)
	}
	return nil
}

func measureCork(way *corkWay, batches int) (segments float64, perBatch time.Duration, err error) {
	const writes, size = 8, 16
	a, b, err := sys.Pair()
	if err != nil {
		return 0, 0, err
	}
	defer sys.Close(a)
	defer sys.Close(b)
	sys.SetOption(a, unix.SOL_TCP, unix.TCP_NODELAY, way.nodelay)
	// A quiet acknowledgement is what a connection of requests and answers has: one byte goes back for each batch.
	message, answer := make([]byte, size), make([]byte, 1)
	before, err := segmentsOut(a)
	if err != nil {
		return 0, 0, err
	}
	var times sys.Batches
	for range batches {
		begin := sys.Now()
		if way.cork {
			sys.SetOption(a, unix.SOL_TCP, unix.TCP_CORK, 1)
		}
		for range writes {
			if n, errno := sys.Send(a, message); errno != 0 || n != size {
				return 0, 0, fmt.Errorf("send: %w", errno)
			}
		}
		if way.cork {
			sys.SetOption(a, unix.SOL_TCP, unix.TCP_CORK, 0)
		}
		if err := dropAll(b, make([]byte, writes*size), writes*size); err != nil {
			return 0, 0, err
		}
		if n, errno := sys.Send(b, answer); errno != 0 || n != 1 {
			return 0, 0, fmt.Errorf("send: %w", errno)
		}
		if err := dropAll(a, answer, 1); err != nil {
			return 0, 0, err
		}
		times.Add(sys.Now()-begin, 1)
	}
	after, err := segmentsOut(a)
	return float64(after-before) / float64(batches), time.Duration(times.Median()), err
}

// segmentsOut counts the segments with data that a socket has sent (TCP_INFO, tcpi_data_segs_out).
func segmentsOut(fd int32) (uint32, error) {
	var info unix.TCPInfo
	size := uint32(unsafe.Sizeof(info))
	_, _, errno := unix.RawSyscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_TCP, unix.TCP_INFO,
		uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 {
		return 0, fmt.Errorf("TCP_INFO: %w", errno)
	}
	return info.Data_segs_out, nil
}
