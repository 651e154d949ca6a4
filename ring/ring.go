package ring

import (
	"errors"
	"math/bits"
	"os"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Params says what ring Setup shall make.
type Params struct {
	Entries   uint32 // submission entries; the kernel rounds up to a power of two
	CQEntries uint32 // completions, at least Entries, rounded up; 0 means four times Entries
	Iovecs    int    // length of the vector that every submission entry has for PrepSendv; 0 means none
	Without   uint32 // set-up flags to go without, as if the kernel did not know them
}

// Locked is how many bytes a ring made by Params, and one buffer ring of which the kernel has atOnce buffers, count against
// RLIMIT_MEMLOCK, on kernels that count them (6.18 does) and for users without CAP_IPC_LOCK.
func (p Params) Locked(atOnce int) int {
	const header = 512 // what stands before the queues in their mapping, at most
	entries := 1 << bits.Len32(p.Entries-1)
	completions := 4 * entries
	if p.CQEntries != 0 {
		completions = 1 << bits.Len32(max(p.CQEntries, uint32(entries))-1)
	}
	locked := 0
	for _, size := range [...]int{
		header + completions*int(unsafe.Sizeof(CQE{})) + entries*4,
		entries * int(unsafe.Sizeof(SQE{})),
		bufRingPlaces(atOnce) * int(unsafe.Sizeof(bufEntry{})),
	} {
		locked += wholePages(size)
	}
	return locked
}

// Ring is one io_uring with its two queues mapped. It belongs to the OS thread that set it up: every method but Fd must
// be called there. Nothing is allocated after Setup.
//
// Invariant: sqHead ≤ sqShown ≤ sqTail ≤ sqHead + len(sqes), counted modulo 2³². Entries before sqHead are the kernel's,
// up to sqShown it may read them at the next enter, up to sqTail they are prepared. cqHead ≤ the kernel's completion tail.
type Ring struct {
	sqes    []SQE
	sqMask  uint32
	sqHead  uint32 // the kernel's head as last read: it moves only inside our own enter
	sqShown uint32
	sqTail  uint32
	kSQHead *uint32
	kSQTail *uint32
	kFlags  *uint32

	cqes    []CQE
	cqMask  uint32
	cqHead  uint32
	kCQHead *uint32
	kCQTail *uint32

	hook    Hook
	fd      int
	quiet   bool // the kernel's flags tell all: an enter without need can be left out
	closed  bool
	control *control
	iovecs  []Iovec  // Params.Iovecs for every submission entry
	msgs    []Msghdr // one for every submission entry
	times   []Timespec
	perSlot int

	flags, features uint32
	kDropped, kLost *uint32
	memSQ, memCQ    []byte
	memEntries      []byte
	arena           *Arena
	bufRings        []*BufRing // unmapped by Close, unless closed before
}

// control holds the argument of a waiting enter, in memory the kernel may read.
type control struct {
	arg eventsArg
	ts  Timespec
}

// ladder lists the sets of flags that Setup tries, best first. What each is for:
// SINGLE_ISSUER lets the kernel leave out locks and binds the ring to its thread; DEFER_TASKRUN runs completion work only
// when we ask, in batches, with caches warm; COOP_TASKRUN at least does without the interrupt; TASKRUN_FLAG shows that work
// waits, so that an enter can be left out; SUBMIT_ALL keeps one bad entry from stopping its followers; CQSIZE and CLAMP
// give the completion queue its own size.
var ladder = [...]uint32{
	SetupSingleIssuer | SetupDeferTaskrun | SetupTaskrunFlag | SetupSubmitAll | SetupCQSize | SetupClamp, // 6.1
	SetupSingleIssuer | SetupCoopTaskrun | SetupTaskrunFlag | SetupSubmitAll | SetupCQSize | SetupClamp,  // 6.0
	SetupCoopTaskrun | SetupTaskrunFlag | SetupSubmitAll | SetupCQSize | SetupClamp,                      // 5.19
	SetupSubmitAll | SetupCQSize | SetupClamp,                                                            // 5.18
	SetupCQSize | SetupClamp, // 5.6
}

// errTooOld is what Setup returns on a kernel that lacks what every path needs: IORING_FEAT_NODROP, SUBMIT_STABLE and
// EXT_ARG, all there since 5.11.
var errTooOld = errors.New("io_uring_setup: kernel older than 5.11 (no EXT_ARG, NODROP or SUBMIT_STABLE)")

// Setup makes a ring with the best flags the kernel takes; Flags tells which. See io_uring_setup(2). Call it on the locked
// OS thread that will own the ring, after the thread's affinity is set. An errno can be had with errors.As.
func Setup(p Params) (*Ring, error) {
	if p.CQEntries == 0 {
		p.CQEntries = 4 * p.Entries
	}
	err := error(os.NewSyscallError("io_uring_setup", unix.EINVAL))
	for _, flags := range ladder {
		if flags&p.Without != 0 {
			continue
		}
		var r *Ring
		if r, err = setupWith(p, flags); err == nil {
			return r, nil
		}
		if !errors.Is(err, unix.EINVAL) {
			break
		}
	}
	return nil, err
}

// setupWith makes a ring with exactly these flags.
func setupWith(p Params, flags uint32) (*Ring, error) {
	kp := setupParams{cqEntries: p.CQEntries, flags: flags}
	fd, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, uintptr(p.Entries), uintptr(unsafe.Pointer(&kp)), 0)
	if errno != 0 {
		return nil, os.NewSyscallError("io_uring_setup", errno)
	}
	r := &Ring{fd: int(fd), flags: flags, features: kp.features, perSlot: p.Iovecs}
	const need = featNoDrop | featSubmitStable | featExtArg
	if kp.features&need != need {
		_ = r.release()
		return nil, errTooOld
	}
	if err := r.mapQueues(&kp); err != nil {
		_ = r.release()
		return nil, err
	}
	deferred := flags&(SetupDeferTaskrun|SetupCoopTaskrun) != 0
	r.quiet = !deferred || flags&SetupTaskrunFlag != 0
	return r, nil
}

func (r *Ring) mapQueues(kp *setupParams) (err error) {
	const flags = unix.MAP_SHARED | unix.MAP_POPULATE
	sizeSQ := int(kp.sq.array) + int(kp.sqEntries)*4
	sizeCQ := int(kp.cq.cqes) + int(kp.cqEntries)*int(unsafe.Sizeof(CQE{}))
	single := kp.features&featSingleMmap != 0
	if single {
		sizeSQ = max(sizeSQ, sizeCQ)
	}
	if r.memSQ, err = mapMemory(r.fd, offSQRing, sizeSQ, flags); err != nil {
		return err
	}
	rings := r.memSQ
	if !single {
		if r.memCQ, err = mapMemory(r.fd, offCQRing, sizeCQ, flags); err != nil {
			return err
		}
		rings = r.memCQ
	}
	if r.memEntries, err = mapMemory(r.fd, offEntries, int(kp.sqEntries)*int(unsafe.Sizeof(SQE{})), flags); err != nil {
		return err
	}
	slot := int(unsafe.Sizeof(Msghdr{})+unsafe.Sizeof(Timespec{})) + r.perSlot*int(unsafe.Sizeof(Iovec{}))
	if r.arena, err = NewArena(4096 + int(kp.sqEntries)*slot); err != nil {
		return err
	}
	r.sqes = unsafe.Slice((*SQE)(at(r.memEntries, 0)), kp.sqEntries)
	r.sqMask = kp.sqEntries - 1
	r.kSQHead, r.kSQTail = word(r.memSQ, kp.sq.head), word(r.memSQ, kp.sq.tail)
	r.kFlags, r.kDropped = word(r.memSQ, kp.sq.flags), word(r.memSQ, kp.sq.dropped)
	r.sqHead = atomic.LoadUint32(r.kSQHead)
	r.sqShown, r.sqTail = r.sqHead, r.sqHead
	// Entry i of the index array stays i for good: entries are used in order.
	for i, array := 0, unsafe.Slice(word(r.memSQ, kp.sq.array), kp.sqEntries); i < len(array); i++ {
		array[i] = uint32(i)
	}
	r.cqes = unsafe.Slice((*CQE)(at(rings, kp.cq.cqes)), kp.cqEntries)
	r.cqMask = kp.cqEntries - 1
	r.kCQHead, r.kCQTail = word(rings, kp.cq.head), word(rings, kp.cq.tail)
	r.kLost = word(rings, kp.cq.overflow)
	r.cqHead = atomic.LoadUint32(r.kCQHead)

	r.control = Alloc[control](r.arena)
	r.control.arg.ts = addrOf(&r.control.ts)
	r.times = AllocSlice[Timespec](r.arena, len(r.sqes))
	r.msgs = AllocSlice[Msghdr](r.arena, len(r.sqes))
	r.iovecs = AllocSlice[Iovec](r.arena, len(r.sqes)*r.perSlot)
	return nil
}

// Fd is the ring's descriptor, the target of another ring's PrepMsgRing.
func (r *Ring) Fd() int { return r.fd }

// Flags are the set-up flags that the ring got.
func (r *Ring) Flags() uint32 { return r.flags }

// SQEntries and CQEntries are the sizes of the two queues, powers of two.
func (r *Ring) SQEntries() int { return len(r.sqes) }

// CQEntries is the size of the completion queue.
func (r *Ring) CQEntries() int { return len(r.cqes) }

// Lost counts the completions that the kernel had to throw away for want of memory. Never 0 → the ring cannot be trusted
// any more: operations are in flight that will never be heard of.
func (r *Ring) Lost() uint32 { return atomic.LoadUint32(r.kLost) + atomic.LoadUint32(r.kDropped) }

// Close cancels what is still in flight, lets the kernel finish it, and gives back descriptor, queues and buffer rings. Completions not
// read by then are gone. Memory that operations used may be freed afterwards, and sockets are closed for good: without
// the cancel the kernel would hold both until a worker of its own has cleaned up. Closing twice is allowed.
func (r *Ring) Close() error {
	if r.closed {
		return nil
	}
	r.closed = true
	if r.fd == noKernel {
		return r.arena.Free()
	}
	r.cancelEverything()
	return r.release()
}

func (r *Ring) release() (err error) {
	for _, mem := range [...]*[]byte{&r.memSQ, &r.memCQ, &r.memEntries} {
		if *mem != nil {
			err = errors.Join(err, unmapMemory(*mem))
			*mem = nil
		}
	}
	r.sqes, r.cqes = nil, nil
	err = errors.Join(err, os.NewSyscallError("close", unix.Close(r.fd)))
	for _, b := range r.bufRings {
		err = errors.Join(err, b.unmap())
	}
	if r.arena != nil {
		err = errors.Join(err, r.arena.Free())
	}
	return err
}

func at(mem []byte, off uint32) unsafe.Pointer { return unsafe.Pointer(&mem[off]) }

func word(mem []byte, off uint32) *uint32 { return (*uint32)(at(mem, off)) }
