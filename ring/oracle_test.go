//go:build giouring

package ring

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"github.com/pawelgaczynski/giouring"
)

// arguments are random arguments of a Prep method.
type arguments struct {
	fd, other  int
	flags      uint32
	number     uint32
	group      uint16
	data, user uint64
	bytes      []byte
	addr       *Sockaddr
	msg        *Msghdr
}

// The bits giouring does not know, from include/uapi/linux/io_uring.h.
const oracleBundle = 1 << 4

// Each Prep method writes the 64 bytes that giouring writes. Where giouring passes the address of a Go variable instead of
// the address it was given (PrepareSendZC, PrepareTimeout), only that field is set right before comparing.
var encodings = map[string]struct {
	ours   func(r *Ring, a *arguments) *SQE
	theirs func(e *giouring.SubmissionQueueEntry, a *arguments, ours *SQE)
}{
	"nop": {
		func(r *Ring, a *arguments) *SQE { return r.PrepNop(a.user) },
		func(e *giouring.SubmissionQueueEntry, _ *arguments, _ *SQE) { e.PrepareNop() },
	},
	"accept": {
		func(r *Ring, a *arguments) *SQE { return r.PrepAccept(a.fd, a.flags, a.user) },
		func(e *giouring.SubmissionQueueEntry, a *arguments, _ *SQE) { e.PrepareAccept(a.fd, 0, 0, a.flags) },
	},
	"multishot accept": {
		func(r *Ring, a *arguments) *SQE { return r.PrepAcceptMultishot(a.fd, a.flags, a.user) },
		func(e *giouring.SubmissionQueueEntry, a *arguments, _ *SQE) {
			e.PrepareMultishotAccept(a.fd, 0, 0, int(a.flags))
		},
	},
	"connect": {
		func(r *Ring, a *arguments) *SQE { return r.PrepConnect(a.fd, a.addr, a.user) },
		func(e *giouring.SubmissionQueueEntry, a *arguments, _ *SQE) {
			e.PrepareConnect(a.fd, (*syscall.Sockaddr)(unsafe.Pointer(&a.addr.raw)), uint64(a.addr.size))
		},
	},
	"recv": {
		func(r *Ring, a *arguments) *SQE { return r.PrepRecv(a.fd, a.group, false, a.user) },
		func(e *giouring.SubmissionQueueEntry, a *arguments, _ *SQE) {
			e.PrepareRecv(a.fd, 0, 0, 0)
			e.Flags, e.BufIG = giouring.SqeBufferSelect, a.group
		},
	},
	"multishot recv": {
		func(r *Ring, a *arguments) *SQE { return r.PrepRecvMultishot(a.fd, a.group, false, a.user) },
		func(e *giouring.SubmissionQueueEntry, a *arguments, _ *SQE) {
			e.PrepareRecvMultishot(a.fd, 0, 0, 0)
			e.Flags, e.BufIG = giouring.SqeBufferSelect, a.group
		},
	},
	"multishot recv of bundles": {
		func(r *Ring, a *arguments) *SQE { return r.PrepRecvMultishot(a.fd, a.group, true, a.user) },
		func(e *giouring.SubmissionQueueEntry, a *arguments, _ *SQE) {
			e.PrepareRecvMultishot(a.fd, 0, 0, 0)
			e.Flags, e.BufIG, e.IoPrio = giouring.SqeBufferSelect, a.group, e.IoPrio|oracleBundle
		},
	},
	"send": {
		func(r *Ring, a *arguments) *SQE { return r.PrepSend(a.fd, a.bytes, a.flags, a.user) },
		func(e *giouring.SubmissionQueueEntry, a *arguments, _ *SQE) {
			e.PrepareSend(a.fd, uintptr(Addr(a.bytes)), uint32(len(a.bytes)), int(a.flags))
		},
	},
	"send without copy": {
		func(r *Ring, a *arguments) *SQE { return r.PrepSendZC(a.fd, a.bytes, a.flags, a.user) },
		func(e *giouring.SubmissionQueueEntry, a *arguments, _ *SQE) {
			e.PrepareSendZC(a.fd, a.bytes, int(a.flags), 0)
			e.Addr = Addr(a.bytes)
		},
	},
	"send without copy from a registered buffer": {
		func(r *Ring, a *arguments) *SQE { return r.PrepSendZCFixed(a.fd, a.bytes, a.group, a.flags, a.user) },
		func(e *giouring.SubmissionQueueEntry, a *arguments, _ *SQE) {
			e.PrepareSendZCFixed(a.fd, a.bytes, int(a.flags), 0, uint32(a.group))
			e.Addr = Addr(a.bytes)
		},
	},
	"sendmsg": {
		func(r *Ring, a *arguments) *SQE { return r.PrepSendmsg(a.fd, a.msg, a.flags, a.user) },
		func(e *giouring.SubmissionQueueEntry, a *arguments, _ *SQE) {
			e.PrepareSendMsg(a.fd, (*syscall.Msghdr)(unsafe.Pointer(a.msg)), a.flags)
		},
	},
	"sendmsg without copy": {
		func(r *Ring, a *arguments) *SQE {
			e := r.PrepSendmsg(a.fd, a.msg, a.flags, a.user)
			e.Opcode = OpSendmsgZC
			return e
		},
		func(e *giouring.SubmissionQueueEntry, a *arguments, _ *SQE) {
			e.PrepareSendmsgZC(a.fd, (*syscall.Msghdr)(unsafe.Pointer(a.msg)), a.flags)
		},
	},
	"gathered send": {
		func(r *Ring, a *arguments) *SQE { return r.PrepSendv(a.fd, 2, a.flags, a.user) },
		func(e *giouring.SubmissionQueueEntry, a *arguments, ours *SQE) {
			e.PrepareSendMsg(a.fd, *(**syscall.Msghdr)(unsafe.Pointer(&ours.Addr)), a.flags)
		},
	},
	"splice": {
		func(r *Ring, a *arguments) *SQE {
			return r.PrepSplice(a.fd, int64(a.data), a.other, -1, a.number, a.flags, a.user)
		},
		func(e *giouring.SubmissionQueueEntry, a *arguments, _ *SQE) {
			e.PrepareSplice(a.fd, int64(a.data), a.other, -1, a.number, a.flags)
		},
	},
	"poll": {
		func(r *Ring, a *arguments) *SQE { return r.PrepPollAdd(a.fd, a.flags, a.user) },
		func(e *giouring.SubmissionQueueEntry, a *arguments, _ *SQE) { e.PreparePollAdd(a.fd, a.flags) },
	},
	"multishot poll": {
		func(r *Ring, a *arguments) *SQE { return r.PrepPollMultishot(a.fd, a.flags, a.user) },
		func(e *giouring.SubmissionQueueEntry, a *arguments, _ *SQE) { e.PreparePollMultishot(a.fd, a.flags) },
	},
	"cancel": {
		func(r *Ring, a *arguments) *SQE { return r.PrepCancel(a.data, a.flags, a.user) },
		func(e *giouring.SubmissionQueueEntry, a *arguments, _ *SQE) { e.PrepareCancel64(a.data, int(a.flags)) },
	},
	"cancel by descriptor": {
		func(r *Ring, a *arguments) *SQE { return r.PrepCancelFd(a.fd, a.flags, a.user) },
		func(e *giouring.SubmissionQueueEntry, a *arguments, _ *SQE) { e.PrepareCancelFd(a.fd, a.flags) },
	},
	"time-out": {
		func(r *Ring, a *arguments) *SQE {
			return r.PrepTimeout(time.Duration(a.number), a.number, a.flags, a.user)
		},
		func(e *giouring.SubmissionQueueEntry, a *arguments, ours *SQE) {
			e.PrepareTimeout(&syscall.Timespec{}, a.number, a.flags)
			e.Addr = ours.Addr
		},
	},
	"message to a ring": {
		func(r *Ring, a *arguments) *SQE { return r.PrepMsgRing(a.fd, a.number, a.data, a.flags, a.user) },
		func(e *giouring.SubmissionQueueEntry, a *arguments, _ *SQE) {
			e.PrepareMsgRing(a.fd, a.number, a.data, a.flags)
		},
	},
}

func TestOracleEncodings(t *testing.T) {
	r := newRing(t, Params{Entries: 8, Iovecs: 2})
	arena := newArena(t, 1<<16)
	memory := arena.Bytes(1<<12, 64)
	msg := Alloc[Msghdr](arena)
	addrs := []*Sockaddr{
		NewSockaddr(arena, netip.MustParseAddrPort("127.0.0.1:80"), 0),
		NewSockaddr(arena, netip.MustParseAddrPort("[2001:db8::1]:8000"), 3),
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for name, c := range encodings {
		for range 1000 {
			a := &arguments{
				fd: rng.IntN(1 << 31), other: rng.IntN(1 << 31), flags: rng.Uint32() >> 1, number: rng.Uint32(),
				group: uint16(rng.Uint32()), data: rng.Uint64(), user: rng.Uint64(),
				bytes: memory[rng.IntN(100) : 100+rng.IntN(1000)], addr: addrs[rng.IntN(2)], msg: msg,
			}
			slot := &r.sqes[r.sqTail&r.sqMask]
			for i := range unsafe.Slice((*byte)(unsafe.Pointer(slot)), 64) { // what an earlier entry may have left
				unsafe.Slice((*byte)(unsafe.Pointer(slot)), 64)[i] = 0xa5
			}
			ours := c.ours(r, a)
			theirs := &giouring.SubmissionQueueEntry{}
			c.theirs(theirs, a, ours)
			theirs.SetData64(a.user)
			got, want := *(*[64]byte)(unsafe.Pointer(ours)), *(*[64]byte)(unsafe.Pointer(theirs))
			if got != want {
				t.Fatalf("%s of %+v:\n%x, giouring\n%x", name, a, got, want)
			}
			r.sqTail = r.sqShown // never submitted
		}
	}
}

func TestOracleConstants(t *testing.T) {
	for name, pair := range map[string][2]any{
		"SetupCQSize": {SetupCQSize, giouring.SetupCQSize}, "SetupClamp": {SetupClamp, giouring.SetupClamp},
		"SetupSubmitAll": {SetupSubmitAll, giouring.SetupSubmitAll}, "SetupCoopTaskrun": {SetupCoopTaskrun, giouring.SetupCoopTaskrun},
		"SetupTaskrunFlag": {SetupTaskrunFlag, giouring.SetupTaskrunFlag}, "SetupSingleIssuer": {SetupSingleIssuer, giouring.SetupSingleIssuer},
		"SetupDeferTaskrun": {SetupDeferTaskrun, giouring.SetupDeferTaskrun}, "featSingleMmap": {featSingleMmap, giouring.FeatSingleMMap},
		"featNoDrop": {featNoDrop, giouring.FeatNoDrop}, "featSubmitStable": {featSubmitStable, giouring.FeatSubmitStable},
		"featFastPoll": {featFastPoll, giouring.FeatFastPoll}, "featExtArg": {featExtArg, giouring.FeatExtArg},
		"flagOverflow": {flagOverflow, giouring.SQCQOverflow}, "flagTaskrun": {flagTaskrun, giouring.SQTaskrun},
		"enterGetEvents": {enterGetEvents, giouring.EnterGetEvents}, "enterExtArg": {enterExtArg, giouring.EnterExtArg},
		"OpNop": {OpNop, giouring.OpNop}, "OpPollAdd": {OpPollAdd, giouring.OpPollAdd}, "OpSendmsg": {OpSendmsg, giouring.OpSendmsg},
		"OpTimeout": {OpTimeout, giouring.OpTimeout}, "OpAccept": {OpAccept, giouring.OpAccept},
		"OpAsyncCancel": {OpAsyncCancel, giouring.OpAsyncCancel}, "OpConnect": {OpConnect, giouring.OpConnect},
		"OpSend": {OpSend, giouring.OpSend}, "OpRecv": {OpRecv, giouring.OpRecv}, "OpSplice": {OpSplice, giouring.OpSplice},
		"OpMsgRing": {OpMsgRing, giouring.OpMsgRing}, "OpSendZC": {OpSendZC, giouring.OpSendZC},
		"OpSendmsgZC": {OpSendmsgZC, giouring.OpSendMsgZC},
		"EntryLink":   {EntryLink, giouring.SqeIOLink}, "EntryAsync": {EntryAsync, giouring.SqeAsync},
		"EntryBufferSelect": {EntryBufferSelect, giouring.SqeBufferSelect}, "EntrySkipSuccess": {EntrySkipSuccess, giouring.SqeCQESkipSuccess},
		"RecvSendPollFirst": {RecvSendPollFirst, giouring.RecvsendPollFirst}, "RecvMultishot": {RecvMultishot, giouring.RecvMultishot},
		"SendFixedBuffer": {SendFixedBuffer, giouring.RecvsendFixedBuf}, "SendReportUsage": {SendReportUsage, giouring.SendZCReportUsage},
		"AcceptMultishot": {AcceptMultishot, giouring.AcceptMultishot}, "PollMultishot": {PollMultishot, giouring.PollAddMulti},
		"CancelAll": {CancelAll, giouring.AsyncCancelAll}, "CancelFd": {CancelFd, giouring.AsyncCancelFd},
		"CancelAny": {CancelAny, giouring.AsyncCancelAny}, "TimeoutAbs": {TimeoutAbs, giouring.TimeoutAbs},
		"TimeoutETimeSuccess": {TimeoutETimeSuccess, giouring.TimeoutETimeSuccess}, "TimeoutMultishot": {TimeoutMultishot, giouring.TimeoutMultishot},
		"FlagBuffer": {FlagBuffer, giouring.CQEFBuffer}, "FlagMore": {FlagMore, giouring.CQEFMore},
		"FlagNonempty": {FlagNonempty, giouring.CQEFSockNonempty}, "FlagNotif": {FlagNotif, giouring.CQEFNotif},
		"bufferShift": {bufferShift, giouring.CQEBufferShift}, "NotifCopied": {NotifCopied, giouring.NotifUsageZCCopied},
		"registerBuffers": {registerBuffers, giouring.RegisterBuffers}, "unregisterBuffers": {unregisterBuffers, giouring.UnregisterBuffers},
		"registerProbe": {registerProbe, giouring.RegisterProbe}, "registerBufRing": {registerBufRing, giouring.RegisterPbufRing},
		"unregisterBufRing": {unregisterBufRing, giouring.UnregisterPbufRing}, "registerSyncCancel": {registerSyncCancel, giouring.RegisterSyncCancel},
	} {
		if ours, theirs := fmt.Sprint(pair[0]), fmt.Sprint(pair[1]); ours != theirs {
			t.Errorf("%s is %s, giouring has %s", name, ours, theirs)
		}
	}
}

// Structures that the kernel reads or writes agree in size and in the offset of every field this package uses.
func TestOracleStructures(t *testing.T) {
	for _, c := range []struct {
		ours, theirs any
		fields       map[string]string
	}{
		{SQE{}, giouring.SubmissionQueueEntry{}, map[string]string{
			"Opcode": "OpCode", "Flags": "Flags", "IOPrio": "IoPrio", "Fd": "Fd", "Off": "Off", "Addr": "Addr", "Len": "Len",
			"OpFlags": "OpcodeFlags", "UserData": "UserData", "BufIndex": "BufIG", "Personality": "Personality",
			"SpliceFd": "SpliceFdIn", "Addr3": "Addr3",
		}},
		{CQE{}, giouring.CompletionQueueEvent{}, map[string]string{"UserData": "UserData", "Res": "Res", "Flags": "Flags"}},
		{setupParams{}, giouring.Params{}, map[string]string{
			"sqEntries": "sqEntries", "cqEntries": "cqEntries", "flags": "flags", "threadCPU": "sqThreadCPU",
			"threadIdle": "sqThreadIdle", "features": "features", "wqFd": "wqFd", "sq": "sqOff", "cq": "cqOff",
		}},
		{sqOffsets{}, giouring.SQRingOffsets{}, map[string]string{
			"head": "head", "tail": "tail", "ringMask": "ringMask", "ringEntries": "ringEntries", "flags": "flags",
			"dropped": "dropped", "array": "array", "userAddr": "userAddr",
		}},
		{cqOffsets{}, giouring.CQRingOffsets{}, map[string]string{
			"head": "head", "tail": "tail", "ringMask": "ringMask", "ringEntries": "ringEntries", "overflow": "overflow",
			"cqes": "cqes", "flags": "flags", "userAddr": "userAddr",
		}},
		{eventsArg{}, giouring.GetEventsArg{}, map[string]string{"ts": "ts"}},
		{bufEntry{}, giouring.BufAndRing{}, map[string]string{"addr": "Addr", "len": "Len", "id": "Bid", "tail": "Tail"}},
		{bufReg{}, giouring.BufReg{}, map[string]string{"addr": "RingAddr", "entries": "RingEntries", "group": "Bgid", "flags": "Pad"}},
		{syncCancel{}, giouring.SyncCancelReg{}, map[string]string{
			"addr": "Addr", "fd": "Fd", "flags": "Flags", "timeout": "Timeout", "opcode": "Pad",
		}},
		{probeOp{}, giouring.ProbeOp{}, map[string]string{"op": "Op", "flags": "Flags"}},
		{opProbe{}, giouring.Probe{}, map[string]string{"lastOp": "LastOp", "opsLen": "OpsLen", "ops": "Ops"}},
		{Msghdr{}, syscall.Msghdr{}, map[string]string{
			"Name": "Name", "Namelen": "Namelen", "Iov": "Iov", "Iovlen": "Iovlen", "Control": "Control",
			"Controllen": "Controllen", "Flags": "Flags",
		}},
		{Iovec{}, syscall.Iovec{}, map[string]string{"Base": "Base", "Len": "Len"}},
		{Timespec{}, syscall.Timespec{}, map[string]string{"Sec": "Sec", "Nsec": "Nsec"}},
	} {
		ours, theirs := reflect.TypeOf(c.ours), reflect.TypeOf(c.theirs)
		if ours.Size() != theirs.Size() {
			t.Errorf("%v has %d bytes, %v %d", ours, ours.Size(), theirs, theirs.Size())
		}
		for i := range ours.NumField() {
			f := ours.Field(i)
			if f.Name == "_" {
				continue
			}
			g, ok := theirs.FieldByName(c.fields[f.Name])
			if !ok || f.Offset != g.Offset {
				t.Errorf("%v.%s is at %d, %v.%s at %d (found: %v)", ours, f.Name, f.Offset, theirs, g.Name, g.Offset, ok)
			}
		}
	}
}

// A buffer ring filled by both holds the same bytes, tail included, around its end too.
func TestOracleBufferRing(t *testing.T) {
	const count, size = 8, 64
	r := newRing(t, Params{})
	ours := newBuffers(t, r, count, size, false)
	places := len(ours.entries)
	memory := newArena(t, 4096).Bytes(places*16, 4096)
	theirs := (*giouring.BufAndRing)(unsafe.Pointer(&memory[0]))
	theirs.BufRingInit()
	head, tail := 0, 0
	add := func(buffers ...int32) {
		for i, n := range buffers {
			theirs.BufRingAdd(uintptr(Addr(ours.Buffer(n))), size, uint16((tail+i)%places), giouring.BufRingMask(uint32(places)), i)
		}
		theirs.BufRingAdvance(len(buffers))
		tail += len(buffers)
	}
	inRing := []int32{0, 1, 2, 3, 4, 5, 6, 7} // in the order in which the kernel uses them
	add(inRing...)
	for round := range 3 * places {
		if !bytes.Equal(ours.raw[:places*16], memory) {
			t.Fatalf("round %d: the ring holds\n%x, giouring's\n%x", round, ours.raw[:places*16], memory)
		}
		ids := slices.Clone(inRing[:1+round%count])
		for _, id := range ids {
			if s := ours.Segments(&CQE{Res: size, Flags: FlagBuffer | uint32(head%places)<<bufferShift}); !s.Next() || s.Buffer != id {
				t.Fatalf("round %d: segment %+v, want buffer %d", round, s, id)
			}
			head++
		}
		slices.Reverse(ids)
		for _, id := range ids {
			ours.Add(id)
		}
		inRing = append(inRing[len(ids):], ids...)
		ours.Publish()
		add(ids...)
	}
}

// The same operations give the same completions on rings of both.
func TestOracleCompletions(t *testing.T) {
	r := newRing(t, Params{Entries: 16})
	g := newTheirs(t, 16)
	bad := arguments{fd: 1 << 30, addr: NewSockaddr(newArena(t, 4096), netip.MustParseAddrPort("127.0.0.1:1"), 0)}
	for name, prep := range map[string]struct {
		ours   func() *SQE
		theirs func(e *giouring.SubmissionQueueEntry)
	}{
		"nop":            {func() *SQE { return r.PrepNop(7) }, func(e *giouring.SubmissionQueueEntry) { e.PrepareNop() }},
		"bad descriptor": {func() *SQE { return r.PrepAccept(bad.fd, 0, 7) }, func(e *giouring.SubmissionQueueEntry) { e.PrepareAccept(bad.fd, 0, 0, 0) }},
		"nothing to cancel": {
			func() *SQE { return r.PrepCancel(99, 0, 7) },
			func(e *giouring.SubmissionQueueEntry) { e.PrepareCancel64(99, 0) },
		},
	} {
		prep.ours()
		got := await(t, r, 1)[0]
		e := g.GetSQE()
		prep.theirs(e)
		e.SetData64(7)
		if _, err := g.SubmitAndWait(1); err != nil {
			t.Fatal(err)
		}
		c, err := g.PeekCQE()
		if err != nil {
			t.Fatal(err)
		}
		if want := (CQE{c.UserData, c.Res, c.Flags}); got != want {
			t.Errorf("%s: completion %s, giouring %s", name, describe([]CQE{got}), describe([]CQE{want}))
		}
		g.CQESeen(c)
	}
}

// Both ask the kernel for the same opcodes and hear the same.
func TestOracleProbe(t *testing.T) {
	r := newRing(t, Params{})
	probe, err := giouring.GetProbe()
	if err != nil {
		t.Fatal(err)
	}
	for op := range 256 {
		ours, errno := r.supports(uint8(op))
		if theirs := probe.IsSupported(uint8(op)); errno != 0 || ours != theirs {
			t.Errorf("opcode %d: %v (%v), giouring %v", op, ours, errno, theirs)
		}
	}
}
