package ring

import "unsafe"

// The kernel's interface as of include/uapi/linux/io_uring.h, as far as this package uses it. The comment at a constant
// gives the kernel version that brought it.

// Flags of io_uring_setup(2).
const (
	SetupCQSize       uint32 = 1 << 3  // 5.5: Params.CQEntries counts
	SetupClamp        uint32 = 1 << 4  // 5.6: too large sizes are cut, not refused
	SetupSubmitAll    uint32 = 1 << 7  // 5.18: a bad entry does not stop the ones after it
	SetupCoopTaskrun  uint32 = 1 << 8  // 5.19: no interrupt when an operation completes
	SetupTaskrunFlag  uint32 = 1 << 9  // 5.19: flagTaskrun says when the kernel has work to run
	SetupSingleIssuer uint32 = 1 << 12 // 6.0: only the thread that set the ring up submits
	SetupDeferTaskrun uint32 = 1 << 13 // 6.1: completion work runs only inside io_uring_enter with GETEVENTS
)

// Feature bits that io_uring_setup(2) answers.
const (
	featSingleMmap   uint32 = 1 << 0 // 5.4
	featNoDrop       uint32 = 1 << 1 // 5.5
	featSubmitStable uint32 = 1 << 2 // 5.5
	featFastPoll     uint32 = 1 << 5 // 5.7
	featExtArg       uint32 = 1 << 8 // 5.11
)

// Offsets of mmap(2) on the ring's descriptor.
const (
	offSQRing  int64 = 0
	offCQRing  int64 = 0x8000000
	offEntries int64 = 0x10000000
)

// Bits the kernel sets in the submission ring's flags.
const (
	flagOverflow uint32 = 1 << 1 // completions wait outside the ring for room
	flagTaskrun  uint32 = 1 << 2 // completion work waits for an enter with GETEVENTS
)

// Flags of io_uring_enter(2).
const (
	enterGetEvents uint32 = 1 << 0
	enterExtArg    uint32 = 1 << 3 // 5.11
)

// Opcodes of submission entries.
const (
	OpNop         uint8 = 0
	OpPollAdd     uint8 = 6
	OpSendmsg     uint8 = 9
	OpTimeout     uint8 = 11
	OpAccept      uint8 = 13
	OpAsyncCancel uint8 = 14
	OpConnect     uint8 = 16
	OpSend        uint8 = 26
	OpRecv        uint8 = 27
	OpSplice      uint8 = 30
	OpMsgRing     uint8 = 40 // 5.18
	OpSendZC      uint8 = 47 // 6.0
	OpSendmsgZC   uint8 = 48 // 6.1
)

// Flags of a submission entry.
const (
	EntryLink         uint8 = 1 << 2 // the next entry starts when this one has succeeded
	EntryAsync        uint8 = 1 << 4 // straight to a kernel worker thread
	EntryBufferSelect uint8 = 1 << 5 // the kernel takes a buffer of group BufIndex
	EntrySkipSuccess  uint8 = 1 << 6 // 5.17: no completion on success
)

// Values of SQE.IOPrio for receive, send and accept.
const (
	RecvSendPollFirst uint16 = 1 << 0 // 5.19: wait for readiness before the first attempt
	RecvMultishot     uint16 = 1 << 1 // 6.0
	SendFixedBuffer   uint16 = 1 << 2 // 6.0: BufIndex is a registered buffer
	SendReportUsage   uint16 = 1 << 3 // 6.2: a zero-copy notification says in Res whether it copied
	RecvBundle        uint16 = 1 << 4 // 6.10
	AcceptMultishot   uint16 = 1 << 0 // 5.19
)

// PollMultishot in SQE.Len of a poll (5.13): one entry, many completions.
const PollMultishot uint32 = 1 << 0

// Flags of a cancel.
const (
	CancelAll uint32 = 1 << 0 // 5.19: every match, not the first
	CancelFd  uint32 = 1 << 1 // 5.19: match the descriptor, not the user data
	CancelAny uint32 = 1 << 2 // 5.19: match everything
)

// Flags of a time-out.
const (
	TimeoutAbs          uint32 = 1 << 0 // the time is a point on the monotonic clock
	TimeoutETimeSuccess uint32 = 1 << 5 // 5.16: expiry does not fail a link
	TimeoutMultishot    uint32 = 1 << 6 // 6.4
)

// SpliceFMore is SPLICE_F_MORE of splice(2). It holds small data back by up to 200 ms; not for request and response traffic.
const SpliceFMore uint32 = 4

// Flags of a completion.
const (
	FlagBuffer   uint32 = 1 << 0 // the upper half of Flags is a buffer id
	FlagMore     uint32 = 1 << 1 // the same entry will complete again
	FlagNonempty uint32 = 1 << 2 // the socket held more data after this receive
	FlagNotif    uint32 = 1 << 3 // zero-copy send: the kernel has let go of the buffer
	FlagBufMore  uint32 = 1 << 4 // 6.12: the kernel keeps the rest of this incremental buffer

	bufferShift = 16
)

// NotifCopied in the Res of a zero-copy notification: the kernel copied after all.
const NotifCopied uint32 = 1 << 31

// Opcodes of io_uring_register(2).
const (
	registerBuffers      uintptr = 0
	unregisterBuffers    uintptr = 1
	registerProbe        uintptr = 8
	registerBufRing      uintptr = 22 // 5.19
	unregisterBufRing    uintptr = 23
	registerSyncCancel   uintptr = 24 // 6.0
	registerBufRingState uintptr = 26 // 6.8
)

// bufRingInc is IOU_PBUF_RING_INC (6.12): buffers are consumed bit by bit.
const bufRingInc uint16 = 2

const probeOpSupported uint16 = 1 << 0

// SQE is struct io_uring_sqe: one submission entry. The Prep methods fill all of it; callers may add flags to what they
// return.
type SQE struct {
	Opcode      uint8
	Flags       uint8
	IOPrio      uint16
	Fd          int32
	Off         uint64 // also addr2
	Addr        uint64 // also splice_off_in
	Len         uint32
	OpFlags     uint32 // msg_flags, accept_flags, poll32_events, …
	UserData    uint64
	BufIndex    uint16 // also buf_group
	Personality uint16
	SpliceFd    int32 // also file_index
	Addr3       uint64
	_           uint64
}

// CQE is struct io_uring_cqe: one completion.
type CQE struct {
	UserData uint64
	Res      int32 // what the system call would have returned, or the negated errno
	Flags    uint32
}

type sqOffsets struct {
	head, tail, ringMask, ringEntries, flags, dropped, array, _ uint32
	userAddr                                                    uint64
}

type cqOffsets struct {
	head, tail, ringMask, ringEntries, overflow, cqes, flags, _ uint32
	userAddr                                                    uint64
}

// setupParams is struct io_uring_params.
type setupParams struct {
	sqEntries, cqEntries, flags, threadCPU, threadIdle, features, wqFd uint32
	_                                                                  [3]uint32
	sq                                                                 sqOffsets
	cq                                                                 cqOffsets
}

// eventsArg is struct io_uring_getevents_arg, the argument of an enter with enterExtArg.
type eventsArg struct {
	_  uint64 // sigmask
	_  uint32 // sigmask_sz
	_  uint32
	ts uint64
}

// Timespec is struct __kernel_timespec: 64 bits on every architecture.
type Timespec struct{ Sec, Nsec int64 }

// Iovec is struct iovec without Go pointers, for memory outside the Go heap.
type Iovec struct{ Base, Len uint64 }

// Msghdr is struct msghdr without Go pointers, for memory outside the Go heap.
type Msghdr struct {
	Name       uint64
	Namelen    uint32
	_          uint32
	Iov        uint64
	Iovlen     uint64
	Control    uint64
	Controllen uint64
	Flags      int32
	_          int32
}

// bufEntry is struct io_uring_buf. In entry 0 tail is the ring's tail; in the others it is reserved.
type bufEntry struct {
	addr uint64
	len  uint32
	id   uint16
	tail uint16
}

// bufReg is struct io_uring_buf_reg.
type bufReg struct {
	addr    uint64
	entries uint32
	group   uint16
	flags   uint16
	_       [3]uint64
}

// bufStatus is struct io_uring_buf_status.
type bufStatus struct {
	group, head uint32
	_           [8]uint32
}

// syncCancel is struct io_uring_sync_cancel_reg.
type syncCancel struct {
	addr    uint64
	fd      int32
	flags   uint32
	timeout Timespec
	opcode  uint8
	_       [7]uint8
	_       [3]uint64
}

type probeOp struct {
	op    uint8
	_     uint8
	flags uint16
	_     uint32
}

// opProbe is struct io_uring_probe with room for every opcode.
type opProbe struct {
	lastOp, opsLen uint8
	_              uint16
	_              [3]uint32
	ops            [256]probeOp
}

// Sizes and offsets are the kernel's; a wrong one does not compile.
const (
	_ = -(unsafe.Sizeof(SQE{}) ^ 64)
	_ = -(unsafe.Offsetof(SQE{}.Off) ^ 8)
	_ = -(unsafe.Offsetof(SQE{}.Addr) ^ 16)
	_ = -(unsafe.Offsetof(SQE{}.Len) ^ 24)
	_ = -(unsafe.Offsetof(SQE{}.OpFlags) ^ 28)
	_ = -(unsafe.Offsetof(SQE{}.UserData) ^ 32)
	_ = -(unsafe.Offsetof(SQE{}.BufIndex) ^ 40)
	_ = -(unsafe.Offsetof(SQE{}.SpliceFd) ^ 44)
	_ = -(unsafe.Offsetof(SQE{}.Addr3) ^ 48)
	_ = -(unsafe.Sizeof(CQE{}) ^ 16)
	_ = -(unsafe.Offsetof(CQE{}.Res) ^ 8)
	_ = -(unsafe.Offsetof(CQE{}.Flags) ^ 12)
	_ = -(unsafe.Sizeof(setupParams{}) ^ 120)
	_ = -(unsafe.Offsetof(setupParams{}.features) ^ 20)
	_ = -(unsafe.Offsetof(setupParams{}.sq) ^ 40)
	_ = -(unsafe.Offsetof(setupParams{}.cq) ^ 80)
	_ = -(unsafe.Offsetof(sqOffsets{}.array) ^ 24)
	_ = -(unsafe.Offsetof(cqOffsets{}.cqes) ^ 20)
	_ = -(unsafe.Sizeof(eventsArg{}) ^ 24)
	_ = -(unsafe.Offsetof(eventsArg{}.ts) ^ 16)
	_ = -(unsafe.Sizeof(Timespec{}) ^ 16)
	_ = -(unsafe.Sizeof(Iovec{}) ^ 16)
	_ = -(unsafe.Sizeof(Msghdr{}) ^ 56)
	_ = -(unsafe.Offsetof(Msghdr{}.Iov) ^ 16)
	_ = -(unsafe.Offsetof(Msghdr{}.Flags) ^ 48)
	_ = -(unsafe.Sizeof(bufEntry{}) ^ 16)
	_ = -(unsafe.Offsetof(bufEntry{}.id) ^ 12)
	_ = -(unsafe.Offsetof(bufEntry{}.tail) ^ 14)
	_ = -(unsafe.Sizeof(bufReg{}) ^ 40)
	_ = -(unsafe.Offsetof(bufReg{}.group) ^ 12)
	_ = -(unsafe.Sizeof(bufStatus{}) ^ 40)
	_ = -(unsafe.Sizeof(syncCancel{}) ^ 64)
	_ = -(unsafe.Sizeof(probeOp{}) ^ 8)
	_ = -(unsafe.Offsetof(opProbe{}.ops) ^ 16)
	_ = -(unsafe.Sizeof(uintptr(0)) ^ 8)
)
