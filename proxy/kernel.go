package proxy

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// kernel is what a loop asks of connected sockets and of pipes by system calls of its own, beside what io_uring does for it. It is
// linux, or in the simulator something that plays it. One call moves a batch of bytes, beside which an
// indirect call is little.
type kernel interface {
	recv(fd int32, buf []byte) (int, syscall.Errno)
	peek(fd int32, buf []byte) (int, syscall.Errno)
	recvUnix(fd int32, buf []byte, peek bool) (n int, cut bool, errno syscall.Errno)
	send(fd int32, buf []byte) (int, syscall.Errno)
	sendmsg(fd int32, msg *unix.Msghdr) (int, syscall.Errno)
	splice(from, to int32, most int) (int, syscall.Errno)
	shutdownWrite(fd int32)
	close(fd int32, reset bool)
	undelivered(fd int32, domain int) int
	hungUp(fd int32) bool
	peerUID(fd int32) (uid uint32, ok bool)
	streamEnded(fd int32) bool
	urgent(fd int32) bool
	tcpClosed(fd int32) bool
	socketError(fd int32) syscall.Errno
	setNonblock(fd int32)
	pipe(fds *[2]int32) syscall.Errno
	setPipeSize(fd int32, size int) syscall.Errno
}

// linux is the real one; socket.go, splice.go and long.go say what the calls do.
type linux struct{}

func (linux) recv(fd int32, buf []byte) (int, syscall.Errno) { return recv(fd, buf) }
func (linux) peek(fd int32, buf []byte) (int, syscall.Errno) { return peek(fd, buf) }
func (linux) recvUnix(fd int32, buf []byte, peek bool) (int, bool, syscall.Errno) {
	return recvUnix(fd, buf, peek)
}
func (linux) send(fd int32, buf []byte) (int, syscall.Errno)          { return send(fd, buf) }
func (linux) sendmsg(fd int32, msg *unix.Msghdr) (int, syscall.Errno) { return sendmsg(fd, msg) }
func (linux) splice(from, to int32, most int) (int, syscall.Errno)    { return splice(from, to, most) }
func (linux) shutdownWrite(fd int32)                                  { shutdownWrite(fd) }
func (linux) close(fd int32, reset bool)                              { closeSocket(fd, reset) }
func (linux) undelivered(fd int32, domain int) int                    { return undelivered(fd, domain) }
func (linux) hungUp(fd int32) bool                                    { return hungUp(fd) }
func (linux) peerUID(fd int32) (uid uint32, ok bool)                  { return peerUID(fd) }
func (linux) streamEnded(fd int32) bool                               { return streamEnded(fd) }
func (linux) urgent(fd int32) bool                                    { return urgent(fd) }
func (linux) tcpClosed(fd int32) bool                                 { return tcpClosed(fd) }
func (linux) socketError(fd int32) syscall.Errno                      { return socketError(fd) }
func (linux) setNonblock(fd int32)                                    { setNonblock(fd) }
func (linux) pipe(fds *[2]int32) syscall.Errno                        { return pipe2(fds) }
func (linux) setPipeSize(fd int32, size int) syscall.Errno            { return setPipeSize(fd, size) }
