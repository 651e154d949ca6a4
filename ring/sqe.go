package ring

import (
	"time"

	"golang.org/x/sys/unix"
)

// The Prep methods fill the next submission entry and return it, or nil when the queue is full: then submit (Submit or
// Collect) and prepare again. The kernel sees an entry at the next enter. Memory an entry points to must lie outside the
// Go heap. What describes the data (message header, vector, address, time) is ours again when the kernel has taken the
// entry (IORING_FEAT_SUBMIT_STABLE); the data itself only at the completion.

// next takes the next entry, nil when there is none.
func (r *Ring) next() *SQE {
	if r.Room() == 0 {
		return nil
	}
	e := &r.sqes[r.sqTail&r.sqMask]
	r.sqTail++
	return e
}

// Room is the number of entries that can be prepared before the next submit.
func (r *Ring) Room() int { return len(r.sqes) - int(r.sqTail-r.sqHead) }

// Prepared is the number of entries that the kernel has not taken yet.
func (r *Ring) Prepared() int { return int(r.sqTail - r.sqHead) }

// PrepNop prepares an operation that does nothing but complete.
func (r *Ring) PrepNop(userData uint64) *SQE {
	e := r.next()
	if e != nil {
		*e = SQE{Opcode: OpNop, Fd: -1, UserData: userData}
	}
	return e
}

// PrepAccept prepares accept4(2) with flags SOCK_NONBLOCK or SOCK_CLOEXEC (5.5). Res is the new descriptor.
func (r *Ring) PrepAccept(fd int, flags uint32, userData uint64) *SQE {
	e := r.next()
	if e != nil {
		*e = SQE{Opcode: OpAccept, Fd: int32(fd), OpFlags: flags, UserData: userData}
	}
	return e
}

// PrepAcceptMultishot is PrepAccept that completes once per connection until a completion lacks FlagMore (5.19). A
// cancelled accept may still deliver a descriptor.
func (r *Ring) PrepAcceptMultishot(fd int, flags uint32, userData uint64) *SQE {
	e := r.PrepAccept(fd, flags, userData)
	if e != nil {
		e.IOPrio = AcceptMultishot
	}
	return e
}

// PrepConnect prepares connect(2) (5.5). The address is copied when the kernel takes the entry. Res is 0 or an errno.
func (r *Ring) PrepConnect(fd int, addr *Sockaddr, userData uint64) *SQE {
	e := r.next()
	if e != nil {
		*e = SQE{Opcode: OpConnect, Fd: int32(fd), Addr: addrOf(&addr.raw), Off: uint64(addr.size), UserData: userData}
	}
	return e
}

// PrepRecv prepares one recv(2) into a buffer of the given group (5.7; from a BufRing 5.19), several of them if bundle is
// set (6.10). Res 0 is the end of the stream; -ENOBUFS means the group is empty and nothing was received.
func (r *Ring) PrepRecv(fd int, group uint16, bundle bool, userData uint64) *SQE {
	e := r.next()
	if e != nil {
		*e = SQE{Opcode: OpRecv, Flags: EntryBufferSelect, Fd: int32(fd), BufIndex: group, UserData: userData}
		if bundle {
			e.IOPrio = RecvBundle
		}
	}
	return e
}

// PrepRecvMultishot is PrepRecv that completes each time data has come, until a completion lacks FlagMore (6.0). That
// completion may carry data. It ends by itself at the end of the stream, on errors, on -ENOBUFS, when the completion queue
// overflows, and when the kernel finds that one socket had its turn for too long.
func (r *Ring) PrepRecvMultishot(fd int, group uint16, bundle bool, userData uint64) *SQE {
	e := r.PrepRecv(fd, group, bundle, userData)
	if e != nil {
		e.IOPrio |= RecvMultishot
	}
	return e
}

// PrepSend prepares send(2) (5.6). With MSG_WAITALL the kernel itself goes on after a short send (5.19), yet Res can still
// be short: on an error, a signal, or a cancel.
func (r *Ring) PrepSend(fd int, data []byte, flags uint32, userData uint64) *SQE {
	e := r.next()
	if e != nil {
		*e = SQE{
			Opcode: OpSend, Fd: int32(fd), Addr: Addr(data), Len: uint32(len(data)), OpFlags: flags, UserData: userData,
		}
	}
	return e
}

// PrepSendZC prepares a send without copy (6.0). It completes once with the result, with FlagMore if a second completion
// with FlagNotif will follow: only then is data ours again. On loopback it costs more than PrepSend.
func (r *Ring) PrepSendZC(fd int, data []byte, flags uint32, userData uint64) *SQE {
	e := r.PrepSend(fd, data, flags, userData)
	if e != nil {
		e.Opcode = OpSendZC
	}
	return e
}

// PrepSendZCFixed is PrepSendZC from memory within registered buffer index, which spares pinning its pages (6.0).
func (r *Ring) PrepSendZCFixed(fd int, data []byte, index uint16, flags uint32, userData uint64) *SQE {
	e := r.PrepSendZC(fd, data, flags, userData)
	if e != nil {
		e.IOPrio, e.BufIndex = SendFixedBuffer, index
	}
	return e
}

// PrepSendmsg prepares sendmsg(2) (5.3) with the caller's own header and vector.
func (r *Ring) PrepSendmsg(fd int, msg *Msghdr, flags uint32, userData uint64) *SQE {
	e := r.next()
	if e != nil {
		*e = SQE{Opcode: OpSendmsg, Fd: int32(fd), Addr: addrOf(msg), Len: 1, OpFlags: flags, UserData: userData}
	}
	return e
}

// Iovecs is the vector that belongs to the next submission entry, of length Params.Iovecs; nil when the queue is full.
// Fill its front, then call PrepSendv before any other Prep method.
func (r *Ring) Iovecs() []Iovec {
	if r.Room() == 0 {
		return nil
	}
	start := int(r.sqTail&r.sqMask) * r.perSlot
	return r.iovecs[start : start+r.perSlot : start+r.perSlot]
}

// PrepSendv prepares a gathered sendmsg(2) of the first n parts of what Iovecs returned. The vector is free again when the
// kernel has taken the entry, the data at the completion.
func (r *Ring) PrepSendv(fd, n int, flags uint32, userData uint64) *SQE {
	vec := r.Iovecs()
	if vec == nil {
		return nil
	}
	msg := &r.msgs[r.sqTail&r.sqMask]
	*msg = Msghdr{Iov: addrOf(&vec[0]), Iovlen: uint64(n)}
	return r.PrepSendmsg(fd, msg, flags, userData)
}

// PrepSplice prepares splice(2) of up to n bytes (5.7); an offset of -1 means none, as for pipes and sockets. The kernel
// runs it on a worker thread of its own.
func (r *Ring) PrepSplice(fdIn int, offIn int64, fdOut int, offOut int64, n, flags uint32, userData uint64) *SQE {
	e := r.next()
	if e != nil {
		*e = SQE{
			Opcode: OpSplice, Fd: int32(fdOut), Off: uint64(offOut), Addr: uint64(offIn), Len: n,
			OpFlags: flags, UserData: userData, SpliceFd: int32(fdIn),
		}
	}
	return e
}

// PrepPollAdd prepares a poll(2) for the events in mask (POLLIN …), level-triggered and once (5.1).
func (r *Ring) PrepPollAdd(fd int, mask uint32, userData uint64) *SQE {
	e := r.next()
	if e != nil {
		*e = SQE{Opcode: OpPollAdd, Fd: int32(fd), OpFlags: mask, UserData: userData}
	}
	return e
}

// PrepPollMultishot is PrepPollAdd, edge-triggered, that completes at each event until a completion lacks FlagMore (5.13).
func (r *Ring) PrepPollMultishot(fd int, mask uint32, userData uint64) *SQE {
	e := r.PrepPollAdd(fd, mask, userData)
	if e != nil {
		e.Len = PollMultishot
	}
	return e
}

// PrepCancel prepares the cancellation of the operation whose user data is target, of all of them with CancelAll (5.5,
// flags 5.19). Res: 0 (or, with CancelAll, how many), -ENOENT if there is none, -EALREADY if it is past stopping. The
// cancelled operation completes too, with -ECANCELED or with whatever it had achieved.
func (r *Ring) PrepCancel(target uint64, flags uint32, userData uint64) *SQE {
	e := r.next()
	if e != nil {
		*e = SQE{Opcode: OpAsyncCancel, Fd: -1, Addr: target, OpFlags: flags, UserData: userData}
	}
	return e
}

// PrepCancelFd prepares the cancellation of an operation on fd, of all of them with CancelAll (5.19).
func (r *Ring) PrepCancelFd(fd int, flags uint32, userData uint64) *SQE {
	e := r.PrepCancel(0, flags|CancelFd, userData)
	if e != nil {
		e.Fd = int32(fd)
	}
	return e
}

// PrepTimeout prepares a completion after d, with Res -ETIME; or with Res 0 as soon as count other completions have come,
// if count is not 0 (5.4).
func (r *Ring) PrepTimeout(d time.Duration, count, flags uint32, userData uint64) *SQE {
	slot := r.sqTail & r.sqMask
	e := r.next()
	if e != nil {
		r.times[slot] = timespec(d)
		*e = SQE{
			Opcode: OpTimeout, Fd: -1, Off: uint64(count), Addr: addrOf(&r.times[slot]), Len: 1,
			OpFlags: flags, UserData: userData,
		}
	}
	return e
}

// PrepMsgRing prepares a completion with the given res and user data in the ring whose descriptor is target, and one of
// our own with userData (5.18). The target may be another thread's ring.
func (r *Ring) PrepMsgRing(target int, res uint32, targetData uint64, flags uint32, userData uint64) *SQE {
	e := r.next()
	if e != nil {
		*e = SQE{Opcode: OpMsgRing, Fd: int32(target), Off: targetData, Len: res, OpFlags: flags, UserData: userData}
	}
	return e
}

func timespec(d time.Duration) Timespec {
	return Timespec{Sec: int64(d / time.Second), Nsec: int64(d % time.Second)}
}

// Errno is the error in a completion's Res, 0 if it tells of success.
func (c *CQE) Errno() unix.Errno {
	if c.Res >= 0 {
		return 0
	}
	return unix.Errno(-c.Res)
}

// More tells whether the same entry will complete again.
func (c *CQE) More() bool { return c.Flags&FlagMore != 0 }

// Buffer is the id of the (first) buffer that the completion carries; ok is false if it carries none.
func (c *CQE) Buffer() (id uint16, ok bool) {
	return uint16(c.Flags >> bufferShift), c.Flags&FlagBuffer != 0
}
