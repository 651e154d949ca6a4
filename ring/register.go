package ring

import (
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// register is io_uring_register(2). The kernel reads and writes arg only during the call, so it may lie in the Go heap.
func (r *Ring) register(op uintptr, arg unsafe.Pointer, n int) (int, unix.Errno) {
	if r.fd == noKernel {
		return 0, 0
	}
	res, _, errno := unix.Syscall6(unix.SYS_IO_URING_REGISTER, uintptr(r.fd), op, uintptr(arg), uintptr(n), 0, 0)
	return int(res), errno
}

// RegisterBuffers pins memory for PrepSendZCFixed; the index is the place in bufs. It must lie outside the Go heap, and
// counts against RLIMIT_MEMLOCK for users without CAP_IPC_LOCK: ENOMEM means that limit.
func (r *Ring) RegisterBuffers(bufs ...[]byte) error {
	vec := make([]Iovec, len(bufs))
	for i, b := range bufs {
		vec[i] = Iovec{Base: Addr(b), Len: uint64(len(b))}
	}
	_, errno := r.register(registerBuffers, unsafe.Pointer(unsafe.SliceData(vec)), len(vec))
	runtime.KeepAlive(vec)
	return registerError(errno)
}

// UnregisterBuffers unpins what RegisterBuffers pinned, once the operations that use it are done.
func (r *Ring) UnregisterBuffers() error {
	_, errno := r.register(unregisterBuffers, nil, 0)
	return registerError(errno)
}

// supports asks the kernel whether it knows an opcode (IORING_REGISTER_PROBE, 5.6).
func (r *Ring) supports(op uint8) (bool, unix.Errno) {
	var p opProbe
	if _, errno := r.register(registerProbe, unsafe.Pointer(&p), len(p.ops)); errno != 0 {
		return false, errno
	}
	return op < p.opsLen && p.ops[op].flags&probeOpSupported != 0, 0
}

// cancelEverything ends all operations of the ring, waits at most a second for those past stopping, and runs the completion
// work that lets go of their files and memory. Before 6.0 there is no such call; then the kernel cleans up after close.
func (r *Ring) cancelEverything() {
	c := syncCancel{fd: -1, flags: CancelAny | CancelAll, timeout: Timespec{Sec: 1}}
	if _, errno := r.register(registerSyncCancel, unsafe.Pointer(&c), 1); errno == unix.EINVAL {
		return
	}
	r.hook = nil
	for range 2 * len(r.cqes) {
		if errno := r.enter(0, 0, enterGetEvents, 0, false); errno != 0 || !r.Pending() {
			return
		}
		r.Advance(len(r.Ready()))
	}
}

func registerError(errno unix.Errno) error {
	if errno == 0 {
		return nil
	}
	return os.NewSyscallError("io_uring_register", errno)
}
