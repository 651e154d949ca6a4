package proxy

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// simKernel plays Linux for the system calls of a loop: sockets here, pipes in simpipe_test.go.
type simKernel struct{ *simWorld }

// simFirst is the first socket's descriptor.
const simFirst = 1000

func simFD(conn int, d side) int32 { return int32(simFirst + 2*conn + int(d)) }

// socket is what a descriptor means.
func (k simKernel) socket(fd int32) (*simConn, side, *simSocket) {
	i := int(fd) - simFirst
	if i < 0 || i >= 2*len(k.conns) {
		k.Fatalf("%d is no socket", fd)
	}
	cn, d := k.conns[i/2], side(i%2)
	if cn.sock[d].closed {
		k.Fatalf("the socket of side %d is used after it was closed", d)
	}
	if cn.s != nil {
		k.samplePauses(cn)
	}
	return cn, d, &cn.sock[d]
}

func (k simKernel) recv(fd int32, buf []byte) (int, syscall.Errno) {
	if oneIn(k, 64) {
		return 0, syscall.EINTR
	}
	cn, d, sock := k.socket(fd)
	looked := sock.looked > 0 && cn.s.flow[d].sink == open
	if !looked {
		k.checkEmptyPipe(cn, d)
	}
	if sock.atUrgent() && !sock.signalled && oneIn(k, 4) {
		sock.signalled = true // which takes the next call to come again
		return 0, syscall.EAGAIN
	}
	sock.signalled = false
	if looked {
		return k.takeOut(cn, d, sock, buf), 0
	}
	from := sock.read
	n, errno := sock.recv(len(buf))
	if n > 0 {
		copy(buf, sock.stream.data[from:sock.read])
		k.heard(cn, d, n)
	} else {
		k.noData(cn, d, errno)
	}
	return n, errno
}

func (k simKernel) recvUnix(fd int32, buf []byte, peek bool) (n int, cut bool, errno syscall.Errno) {
	if peek {
		n, errno = k.peek(fd, buf)
	} else {
		n, errno = k.recv(fd, buf)
	}
	return n, false, errno
}

// checkEmptyPipe: nothing is read behind what a pipe holds. Only a receive of the ring's that is being cancelled may bring it.
func (k simKernel) checkEmptyPipe(cn *simConn, d side) {
	if f := &cn.s.flow[d]; f.pipe != nil && f.source == reading {
		k.Fatalf("side %d is read while a pipe holds its bytes", d)
	}
}

// noData notes what a recv or a peek tells that has brought nothing.
func (k simKernel) noData(cn *simConn, d side, errno syscall.Errno) {
	switch {
	case errno == syscall.EAGAIN:
	case errno == 0 && k.drains && !cn.s.eng.direct:
	default:
		k.ended(cn, d, errno)
	}
}

func (k simKernel) send(fd int32, buf []byte) (int, syscall.Errno) {
	if oneIn(k, 64) {
		return 0, syscall.EINTR
	}
	cn, d, sock := k.socket(fd)
	n, errno := sock.send(k, len(buf))
	switch errno {
	case 0:
		k.took(cn, d^1, buf[:n])
	case syscall.EAGAIN:
	default:
		k.untaken(cn, d^1, errno)
	}
	return n, errno
}

func (k simKernel) sendmsg(fd int32, msg *unix.Msghdr) (int, syscall.Errno) {
	var data []byte
	for _, v := range unsafe.Slice(msg.Iov, msg.Iovlen) {
		data = append(data, unsafe.Slice(v.Base, v.Len)...)
	}
	return k.send(fd, data)
}

func (k simKernel) shutdownWrite(fd int32) {
	cn, d, sock := k.socket(fd)
	k.event(cn, d, "shut", 0)
	if sock.shut {
		k.Fatalf("a second FIN for side %d", d)
	}
	if sock.taken != cn.accepted[d^1] && cn.class != classArbitrary {
		k.Fatalf("FIN for side %d after %d of %d bytes", d, sock.taken, cn.accepted[d^1])
	}
	sock.shut = true
}

func (k simKernel) close(fd int32, reset bool) {
	if fd >= simFirstPipe {
		k.closePipe(fd)
		return
	}
	cn, d, sock := k.socket(fd)
	if k.style.inFlight(fd) {
		k.Fatalf("the socket of side %d is closed while an operation on it is in flight", d)
	}
	sock.closed, sock.aborted = true, reset
	if cn.sock[d^1].closed {
		k.closed(cn)
	}
}

func (k simKernel) undelivered(fd int32, _ int) int {
	_, _, sock := k.socket(fd)
	return sock.undelivered()
}

func (k simKernel) hungUp(fd int32) bool {
	_, _, sock := k.socket(fd)
	return sock.rst || sock.shut && sock.fin
}

func (k simKernel) streamEnded(fd int32) bool {
	_, _, sock := k.socket(fd)
	return sock.rst || sock.fin
}

func (k simKernel) urgent(fd int32) bool {
	_, _, sock := k.socket(fd)
	return sock.urgent > 0 || sock.rst || sock.shut && sock.fin
}

func (k simKernel) tcpClosed(fd int32) bool {
	_, _, sock := k.socket(fd)
	return sock.rst || sock.shut && sock.fin && sock.undelivered() == 0
}

func (k simKernel) socketError(fd int32) syscall.Errno {
	cn, d, sock := k.socket(fd)
	if d == server && !cn.up {
		return cn.refused
	}
	if !sock.err {
		return 0
	}
	sock.err = false
	if cn.s.heardFIN(d) {
		k.event(cn, d, "RST after FIN", 0)
		cn.moved = k.now
	}
	return syscall.ECONNRESET
}

func (k simKernel) setNonblock(fd int32) {
	cn, d, sock := k.socket(fd)
	if cn.class == classTunnel && k.style.inFlight(fd) {
		k.Fatalf("the socket of side %d changes to O_NONBLOCK while an operation on it is in flight", d)
	}
	sock.nonblock = true
}
