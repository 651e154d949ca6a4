package ring

import (
	"bytes"
	"errors"
	"fmt"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

func trySetup(l *lab) error {
	if err := l.open(); err != nil {
		return err
	}
	return l.nop()
}

func tryFastPoll(l *lab) error {
	if err := l.open(); err != nil {
		return err
	}
	if l.r.features&featFastPoll == 0 {
		return errors.New("the kernel does not announce IORING_FEAT_FAST_POLL")
	}
	return nil
}

func trySubmitAll(l *lab) error { return l.openFlags(SetupSubmitAll) }

func tryCoopTaskrun(l *lab) error { return l.openFlags(SetupCoopTaskrun | SetupTaskrunFlag) }

func trySingleIssuer(l *lab) error { return l.openFlags(SetupSingleIssuer) }

func tryDeferTaskrun(l *lab) error {
	return l.openFlags(SetupSingleIssuer | SetupDeferTaskrun | SetupTaskrunFlag)
}

func tryPoll(l *lab) error {
	if err := l.open(); err != nil {
		return err
	}
	w, err := NewWaker()
	if err != nil {
		return err
	}
	l.keep(w.fd)
	w.Arm(l.r, 1)
	for range 2 {
		w.Wake()
		if err := l.expect(1, unix.POLLIN); err != nil {
			return err
		}
		w.Drain()
	}
	return nil
}

func tryTimeout(l *lab) error {
	if err := l.open(); err != nil {
		return err
	}
	l.r.PrepTimeout(time.Microsecond, 0, 0, 1)
	return l.expect(1, -int32(unix.ETIME))
}

// armPoll leaves a poll in flight that does not complete by itself.
func (l *lab) armPoll(userData uint64) (fd int, err error) {
	if err := l.open(); err != nil {
		return -1, err
	}
	if fd, err = unix.Eventfd(0, unix.EFD_CLOEXEC); err != nil {
		return -1, err
	}
	l.r.PrepPollAdd(l.keep(fd), unix.POLLIN, userData)
	if errno := l.r.Submit(); errno != 0 {
		return -1, errno
	}
	return fd, nil
}

// bothOf takes two completions in any order: the cancelled poll with user data 1 and the cancel with 2.
func (l *lab) bothOf(cancelled int32) error {
	for range 2 {
		c, err := l.next()
		if err != nil {
			return err
		}
		want := map[uint64]int32{1: -int32(unix.ECANCELED), 2: cancelled}[c.UserData]
		if err := matches(&c, c.UserData, want); err != nil {
			return err
		}
	}
	return nil
}

func tryCancel(l *lab) error {
	if _, err := l.armPoll(1); err != nil {
		return err
	}
	l.r.PrepCancel(1, 0, 2)
	return l.bothOf(0)
}

func tryCancelFd(l *lab) error {
	fd, err := l.armPoll(1)
	if err != nil {
		return err
	}
	l.r.PrepCancelFd(fd, CancelAll, 2)
	return l.bothOf(1)
}

func trySyncCancel(l *lab) error {
	if _, err := l.armPoll(1); err != nil {
		return err
	}
	c := syncCancel{fd: -1, flags: CancelAny | CancelAll, timeout: Timespec{Sec: 1}}
	if _, errno := l.r.register(registerSyncCancel, unsafe.Pointer(&c), 1); errno != 0 {
		return registerError(errno)
	}
	return l.expect(1, -int32(unix.ECANCELED))
}

func tryAccept(l *lab) error {
	ln, addr, err := l.acceptor()
	if err != nil {
		return err
	}
	l.r.PrepAccept(ln, unix.SOCK_CLOEXEC, 1)
	_, err = l.acceptOne(addr)
	return err
}

// tryAcceptMultishot accepts two connections with one entry, and a third while the completion queue overflows: there
// kernels before 6.8 gave 195, the bits of a poll event, for the descriptor (liburing issue 1062).
func tryAcceptMultishot(l *lab) error {
	ln, addr, err := l.acceptor()
	if err != nil {
		return err
	}
	l.r.PrepAcceptMultishot(ln, unix.SOCK_CLOEXEC, 1)
	for range 2 {
		more, err := l.acceptOne(addr)
		if err != nil {
			return err
		}
		if !more {
			return errors.New("it ended after one connection")
		}
	}
	for range l.r.CQEntries() + 1 {
		for l.r.PrepNop(2) == nil {
			if errno := l.r.Submit(); errno != 0 && !Transient(errno) {
				return fmt.Errorf("io_uring_enter: %w", errno)
			}
		}
	}
	_, err = l.acceptOne(addr)
	return err
}

func (l *lab) acceptor() (fd int, addr *Sockaddr, err error) {
	if err := l.open(); err != nil {
		return -1, nil, err
	}
	return l.listener()
}

// acceptOne connects, takes the completion of the accept with user data 1, and compares the two ends.
func (l *lab) acceptOne(addr *Sockaddr) (more bool, err error) {
	client, err := l.dial(addr)
	if err != nil {
		return false, err
	}
	if errno := l.r.Collect(); errno != 0 && !Transient(errno) {
		return false, fmt.Errorf("io_uring_enter: %w", errno)
	}
	c, err := l.next()
	for err == nil && c.UserData != 1 {
		c, err = l.next()
	}
	if err != nil {
		return false, err
	}
	if c.Res < 0 {
		return false, c.Errno()
	}
	if _, err := unix.Write(client, []byte{'x'}); err != nil {
		return false, fmt.Errorf("writing to the connection accepted: %w", err)
	}
	if n, _, err := unix.Recvfrom(int(c.Res), make([]byte, 1), unix.MSG_DONTWAIT|unix.MSG_PEEK); n != 1 {
		return false, fmt.Errorf("descriptor %d is not of the connection accepted (%v)", c.Res, err)
	}
	l.keep(int(c.Res))
	return c.More(), nil
}

func tryConnect(l *lab) error {
	if err := l.open(); err != nil {
		return err
	}
	_, addr, err := l.listener()
	if err != nil {
		return err
	}
	fd, err := l.socket(addr.domain())
	if err != nil {
		return err
	}
	l.r.PrepConnect(fd, addr, 1)
	return l.expect(1, 0)
}

func trySend(l *lab) error {
	return l.send(func(fd int, data []byte) { l.r.PrepSend(fd, data, unix.MSG_WAITALL, 1) })
}

func trySendmsg(l *lab) error {
	return l.send(func(fd int, data []byte) {
		vec := l.r.Iovecs()
		half := len(data) / 2
		vec[0] = Iovec{Base: Addr(data), Len: uint64(half)}
		vec[1] = Iovec{Base: Addr(data[half:]), Len: uint64(len(data) - half)}
		l.r.PrepSendv(fd, 2, unix.MSG_WAITALL, 1)
	})
}

func trySendZC(l *lab) error {
	err := l.send(func(fd int, data []byte) { l.r.PrepSendZC(fd, data, unix.MSG_WAITALL, 1) })
	if err != nil {
		return err
	}
	c, err := l.next()
	if err == nil && c.Flags&FlagNotif == 0 {
		err = errors.New("no notification that the buffer is free")
	}
	return err
}

// send sends 1000 bytes as prep does and compares what arrives.
func (l *lab) send(prep func(fd int, data []byte)) error {
	if err := l.open(); err != nil {
		return err
	}
	a, b, err := l.pair()
	if err != nil {
		return err
	}
	data := l.arena.Bytes(1000, 64)
	for i := range data {
		data[i] = byte(i * 7)
	}
	prep(a, data)
	if err := l.expect(1, int32(len(data))); err != nil {
		return err
	}
	got := make([]byte, len(data))
	for have := 0; have < len(got); {
		n, err := unix.Read(b, got[have:])
		if err == unix.EINTR {
			continue
		}
		if err != nil || n == 0 {
			return fmt.Errorf("%d of %d bytes arrived: %w", have, len(got), errors.Join(err, errNoProof))
		}
		have += n
	}
	if !bytes.Equal(got, data) {
		return errors.New("other bytes arrived than were sent")
	}
	return nil
}

func tryRegisteredBuffers(l *lab) error {
	if err := l.open(); err != nil {
		return err
	}
	return l.r.RegisterBuffers(l.arena.Bytes(4096, 4096))
}

func trySplice(l *lab) error {
	if err := l.open(); err != nil {
		return err
	}
	var from, to [2]int
	for _, p := range []*[2]int{&from, &to} {
		if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
			return err
		}
		l.keep(p[0])
		l.keep(p[1])
	}
	if _, err := unix.Write(from[1], []byte("bytes")); err != nil {
		return err
	}
	l.r.PrepSplice(from[0], -1, to[1], -1, 5, 0, 1)
	return l.expect(1, 5)
}

func tryMsgRing(l *lab) error {
	if err := l.open(); err != nil {
		return err
	}
	other, err := Setup(l.params)
	if err != nil {
		return err
	}
	defer other.Close()
	l.r.PrepMsgRing(other.Fd(), 3, 4, 0, 1)
	if err := l.expect(1, 0); err != nil {
		return err
	}
	c, err := l.nextOf(other)
	if err != nil {
		return err
	}
	return matches(&c, 4, 3)
}

func tryBufRing(l *lab) error { return l.selfTest(stream{}) }

func tryRecvMultishot(l *lab) error {
	if err := l.selfTest(stream{multishot: true}); err != nil {
		return err
	}
	if l.r.Flags()&SetupDeferTaskrun == 0 {
		return nil // the receive would run between the two events
	}
	return l.endWithData()
}

func tryRecvBundle(l *lab) error { return l.selfTest(stream{multishot: true, bundle: true}) }

func tryBufRingInc(l *lab) error { return l.selfTest(stream{multishot: true, incremental: true}) }

// Bundles of incremental buffers went wrong on kernels where each alone was right (liburing issue 1423).
func tryRecvBundleInc(l *lab) error {
	return l.selfTest(stream{multishot: true, bundle: true, incremental: true})
}
