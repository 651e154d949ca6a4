package ring

import (
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Arena is a piece of anonymous memory outside the Go heap, handed out front to back and given back as a whole. The kernel
// may use it while Go moves and frees what it likes. Not safe for use by several goroutines at once.
//
// Invariant: mem[:used] has been handed out, mem[used:] is zero.
type Arena struct {
	mem  []byte
	used int
}

// NewArena maps size bytes, rounded up to whole pages. Pages cost memory only once they are touched.
func NewArena(size int) (*Arena, error) {
	size = wholePages(size)
	mem, err := mapMemory(-1, 0, size, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return nil, fmt.Errorf("mapping %d bytes of kernel-visible memory: %w", size, err)
	}
	return &Arena{mem: mem}, nil
}

func wholePages(size int) int {
	page := os.Getpagesize()
	return (size + page - 1) &^ (page - 1)
}

// Bytes hands out n zeroed bytes at a multiple of align, a power of two up to the page size. It panics when the arena is
// too small: sizes are fixed at set-up.
func (a *Arena) Bytes(n, align int) []byte {
	start := (a.used + align - 1) &^ (align - 1)
	if n < 0 || start+n > len(a.mem) {
		panic(fmt.Sprintf("ring: arena of %d bytes has no room for %d more after %d", len(a.mem), n, a.used))
	}
	a.used = start + n
	return a.mem[start:a.used:a.used]
}

// Left is the number of bytes not handed out yet.
func (a *Arena) Left() int { return len(a.mem) - a.used }

// Free unmaps the memory. Nothing handed out may be used afterwards, neither here nor by an operation in flight.
func (a *Arena) Free() error {
	if a.mem == nil {
		return nil
	}
	err := unmapMemory(a.mem)
	a.mem, a.used = nil, 0
	return err
}

// Alloc hands out one zeroed T. T must hold no Go pointers: the garbage collector does not look into an arena.
func Alloc[T any](a *Arena) *T { return &AllocSlice[T](a, 1)[0] }

// AllocSlice hands out n zeroed T that lie side by side. T must hold no Go pointers.
func AllocSlice[T any](a *Arena, n int) []T {
	var t T
	b := a.Bytes(n*int(unsafe.Sizeof(t)), max(int(unsafe.Alignof(t)), 64))
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(b))), n)
}

// Addr is the address of the first byte of b, which must be memory outside the Go heap (an Arena's); 0 for an empty b.
func Addr(b []byte) uint64 {
	if len(b) == 0 {
		return 0
	}
	return uint64(uintptr(unsafe.Pointer(unsafe.SliceData(b))))
}

func addrOf[T any](p *T) uint64 { return uint64(uintptr(unsafe.Pointer(p))) }

// mapMemory maps without the registry that unix.Mmap keeps behind a lock.
func mapMemory(fd int, off int64, size, flags int) ([]byte, error) {
	p, err := unix.MmapPtr(fd, off, nil, uintptr(size), unix.PROT_READ|unix.PROT_WRITE, flags)
	if err != nil {
		return nil, os.NewSyscallError("mmap", err)
	}
	return unsafe.Slice((*byte)(p), size), nil
}

func unmapMemory(mem []byte) error {
	return os.NewSyscallError("munmap", unix.MunmapPtr(unsafe.Pointer(unsafe.SliceData(mem)), uintptr(len(mem))))
}
