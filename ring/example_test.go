package ring_test

import (
	"fmt"
	"io"
	"net"
	"runtime"
	"time"

	"fooproxy/ring"

	"golang.org/x/sys/unix"
)

// The two kinds of operation of the echo loop, in the upper half of the user data; the lower half is the descriptor.
const (
	opRecv = 1 << 32
	opSend = 2 << 32
)

// echo returns to the peer of fd what it sends, until it ends. One receive and one send are in flight at most.
func echo(fd int, hook ring.Hook) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	r, err := ring.Setup(ring.Params{Entries: 64, Iovecs: 16})
	if err != nil {
		return err
	}
	defer r.Close() // and below once more, before the memory goes
	arena, err := ring.NewArena(16 * 4096)
	if err != nil {
		return err
	}
	defer arena.Free()
	defer r.Close()
	br, err := r.NewBufRing(0, arena.Bytes(16*4096, 4096), 4096, 0, false)
	if err != nil {
		return err
	}
	for id := range br.Count() {
		br.Add(int32(id))
	}
	br.Publish()
	r.SetHook(hook)

	type part struct {
		id   int32
		data []byte
	}
	var queue []part // received, not yet sent; the first are in the send that is in flight
	sending, armed, ended := false, false, false
	for !ended || len(queue) > 0 {
		if !ended && !armed && br.InKernel() > 0 {
			armed = r.PrepRecvMultishot(fd, 0, true, opRecv|uint64(fd)) != nil
		}
		if vec := r.Iovecs(); vec != nil && !sending && len(queue) > 0 {
			n := min(len(vec), len(queue))
			for i, p := range queue[:n] {
				vec[i] = ring.Iovec{Base: ring.Addr(p.data), Len: uint64(len(p.data))}
			}
			r.PrepSendv(fd, n, unix.MSG_WAITALL|unix.MSG_NOSIGNAL, opSend|uint64(fd))
			sending = true
		}
		errno := r.Collect()
		if errno == 0 && len(r.Ready()) == 0 {
			if errno = r.WaitRaw(ring.RawWaitMax); errno == 0 && len(r.Ready()) == 0 {
				errno = r.Wait(time.Second)
			}
		}
		if errno != 0 && !ring.Transient(errno) {
			return errno
		}
		for batch := r.Ready(); len(batch) > 0; batch = r.Ready() {
			for i := range batch {
				c := &batch[i]
				switch c.UserData &^ 0xffffffff {
				case opRecv:
					armed = c.More()
					for s := br.Segments(c); s.Next(); {
						queue = append(queue, part{s.Buffer, s.Data})
					}
					if c.Res < 0 && c.Errno() != unix.ENOBUFS {
						return c.Errno()
					}
					ended = ended || c.Res == 0
				case opSend:
					sending = false
					if c.Res < 0 {
						return c.Errno()
					}
					for sent := int(c.Res); sent > 0; {
						p := &queue[0]
						n := min(sent, len(p.data))
						sent, p.data = sent-n, p.data[n:]
						if len(p.data) == 0 {
							br.Add(p.id)
							queue = queue[1:]
						}
					}
				}
			}
			r.Advance(len(batch))
		}
		br.Publish()
	}
	return unix.Shutdown(fd, unix.SHUT_WR)
}

// An echo loop over one connection: received where it lies, sent from the same buffers.
func Example() {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer l.Close()
	go func() {
		c, _ := net.Dial("tcp", l.Addr().String())
		fmt.Fprint(c, "REQ 1 hello\n")
		c.(*net.TCPConn).CloseWrite()
		answer, err := io.ReadAll(c)
		fmt.Printf("%q %v\n", answer, err)
		c.Close()
		l.Close()
	}()
	c, _ := l.Accept()
	file, _ := c.(*net.TCPConn).File()
	c.Close()
	if err := echo(int(file.Fd()), nil); err != nil {
		fmt.Println(err)
	}
	file.Close()
	_, _ = l.Accept() // ends when the client has printed
	// Output:
	// "REQ 1 hello\n" <nil>
}
