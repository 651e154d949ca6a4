package ring

import (
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// RawWaitMax bounds a wait that the Go scheduler does not know of: a garbage collection that begins meanwhile waits for us.
const RawWaitMax = 3 * time.Millisecond

// The four forms of io_uring_enter(2). Each submits all that is prepared. Each returns 0 or an errno:
//
//	0         done, or a wait that ended by its limit or by a signal (Go's preemption signals make EINTR normal)
//	EAGAIN    the kernel has no memory for more operations now } collect completions, do not spin, try again. What was not
//	EBUSY     completions must be collected first              } taken stays prepared; nothing may be freed early.
//	EBADR     completions were lost for want of memory: the ring is broken
//	others    a fault of the program
//
// Transient tells the middle two.

// Transient tells whether an enter that returned errno may be tried again after collecting completions.
func Transient(errno unix.Errno) bool { return errno == unix.EAGAIN || errno == unix.EBUSY }

// Submit hands over what is prepared and does not collect: with DEFER_TASKRUN no completion work is run, though entries
// that complete at once are there right away. For making room in a full submission queue in the middle of a turn.
func (r *Ring) Submit() unix.Errno {
	n := r.show()
	if n == 0 {
		return 0
	}
	return r.enter(n, 0, 0, 0, false)
}

// Collect hands over what is prepared, lets the kernel run completion work (some 20 pieces; Pending tells whether there
// is more) and move overflowed completions into the queue, and never blocks. It does without the system call when there is
// nothing to hand over and the kernel says that nothing waits.
func (r *Ring) Collect() unix.Errno {
	n := r.show()
	if n == 0 && r.quiet && !r.Pending() {
		return 0
	}
	return r.enter(n, 0, enterGetEvents, 0, false)
}

// WaitRaw is Collect that waits for one completion, at most limit and at most RawWaitMax, without telling the Go scheduler.
func (r *Ring) WaitRaw(limit time.Duration) unix.Errno {
	r.control.ts = timespec(max(0, min(limit, RawWaitMax)))
	return r.enter(r.show(), 1, enterGetEvents|enterExtArg, uintptr(addrOf(&r.control.arg)), false)
}

// Wait is Collect that waits for one completion, at most limit, or for ever if limit is negative. It goes through the Go
// scheduler, so that others may run and the garbage collector does not wait for us.
func (r *Ring) Wait(limit time.Duration) unix.Errno {
	if limit < 0 {
		return r.enter(r.show(), 1, enterGetEvents, 0, true)
	}
	r.control.ts = timespec(limit)
	return r.enter(r.show(), 1, enterGetEvents|enterExtArg, uintptr(addrOf(&r.control.arg)), true)
}

// Pending tells whether the kernel waits for the next Collect: completion work to run or completions that found the queue
// full. Without SetupTaskrunFlag only the latter is known.
func (r *Ring) Pending() bool { return atomic.LoadUint32(r.kFlags)&(flagTaskrun|flagOverflow) != 0 }

// Overflowed tells whether completions wait outside the completion queue for room. None is lost: they come in order with
// the next Collect after room was made.
func (r *Ring) Overflowed() bool { return atomic.LoadUint32(r.kFlags)&flagOverflow != 0 }

// enter is io_uring_enter(2) for n entries and at least atLeast completions; arg is the address of an eventsArg, or 0.
// Ordinary ends of a wait are no errors.
func (r *Ring) enter(n, atLeast, flags uint32, arg uintptr, blocking bool) unix.Errno {
	var errno unix.Errno
	if r.hook != nil {
		errno = r.hook.Enter()
		if r.fd == noKernel {
			if errno == 0 {
				r.sqHead = r.sqShown
			}
			return errno
		}
	}
	size := uintptr(0)
	if arg != 0 {
		size = unsafe.Sizeof(eventsArg{})
	}
	switch {
	case errno != 0:
	case blocking:
		_, _, errno = unix.Syscall6(unix.SYS_IO_URING_ENTER,
			uintptr(r.fd), uintptr(n), uintptr(atLeast), uintptr(flags), arg, size)
	default:
		_, _, errno = unix.RawSyscall6(unix.SYS_IO_URING_ENTER,
			uintptr(r.fd), uintptr(n), uintptr(atLeast), uintptr(flags), arg, size)
	}
	r.sqHead = atomic.LoadUint32(r.kSQHead)
	if errno == unix.EINTR || errno == unix.ETIME {
		return 0
	}
	return errno
}

// show makes the prepared entries visible to the next enter and returns how many the kernel has to take.
func (r *Ring) show() uint32 {
	if r.sqShown != r.sqTail {
		if r.hook != nil {
			for i := r.sqShown; i != r.sqTail; i++ {
				r.hook.Submission(&r.sqes[i&r.sqMask])
			}
		}
		r.sqShown = r.sqTail
		atomic.StoreUint32(r.kSQTail, r.sqTail)
	}
	return r.sqTail - r.sqHead
}

// Ready is the run of completions that can be handled now, in the order they came: a view into the queue itself, from the
// first unread one to the last that is there or to the end of the array, where the next call goes on. It is empty when
// there is none. The tail is read once, so it never reaches past what the kernel has written. The view stays valid until
// Advance; entries prepared and submitted meanwhile do not disturb it.
func (r *Ring) Ready() []CQE {
	n := atomic.LoadUint32(r.kCQTail) - r.cqHead
	if n == 0 {
		return nil
	}
	start := r.cqHead & r.cqMask
	batch := r.cqes[start:min(start+n, uint32(len(r.cqes)))]
	if r.hook != nil {
		r.hook.Completions(batch)
	}
	return batch
}

// Advance gives the first n completions of Ready back to the kernel: one store for the whole batch.
func (r *Ring) Advance(n int) {
	r.cqHead += uint32(n)
	atomic.StoreUint32(r.kCQHead, r.cqHead)
}
