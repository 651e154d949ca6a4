package accesslog

import (
	"errors"
	"fmt"
	"log/slog"
	"math/bits"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Stdout as Options.Path is standard output; it is not closed.
const Stdout = "-"

// Values of Options.Format and Options.Overflow; "" is the first of each.
const (
	Text = "text"
	JSON = "json" // one object per line, the same fields

	Drop  = "drop"  // a line that finds its ring full is dropped and counted
	Block = "block" // its producer waits
)

// Options say where and how to log.
type Options struct {
	Path      string
	Format    string
	Overflow  string
	Rings     int          // producers, at least 1
	RingBytes int          // of each ring, rounded up to a power of two; 0 = 1 MiB, at least 8 KiB
	Sample    int          // log one in so many requests and lone answers of each ring; 0 and 1 = all
	Data      int          // bytes of the messages' Data to print, 0 = none
	Logger    *slog.Logger // told when the device fails and when it is back; nil = slog.Default()
}

const (
	ringBytesDefault = 1 << 20
	ringLines        = 8 // of the longest that a ring must have room for
	ringBytesMin     = ringLines * lineMax
	ringBytesMax     = 1 << 30
)

// Log is an open access log.
type Log struct {
	path   string
	block  bool
	sample int
	shape  *shape
	rings  []*Ring

	_        pad
	state    atomic.Uint32 // of the writer: busy, gathering or asleep
	closed   atomic.Bool   // Close was called: nobody waits for room
	failed   atomic.Bool   // the last write failed: likewise
	finished atomic.Bool   // Close has returned: what the rings hold is lost
	_        pad

	wake     chan struct{} // holds a token when the writer has a reason to look; one is enough
	next     atomic.Int64  // the file to go on with: its turn << 32 | descriptor, 0 = the same
	taken    atomic.Int64  // the turn of the latest file that the writer has gone over to
	moved    chan struct{} // holds a token when that has changed
	deadline atomic.Int64  // when Close gives up, Unix ns
	done     chan struct{} // closed by the writer when it has ended, after result is set
	result   error

	mu       sync.Mutex    // serialises Reopen and Close
	patience time.Duration // how long these wait for a writer whose device is stuck
	waiting  *time.Timer   // theirs
	turn     int64         // files that Reopen has opened
}

// Open opens or creates the log, for appending, and starts its writer.
func Open(o Options) (*Log, error) {
	shape, block := &textShape, false
	switch o.Format {
	case "", Text:
	case JSON:
		shape = &jsonShape
	default:
		return nil, fmt.Errorf("log format %q is neither %s nor %s", o.Format, Text, JSON)
	}
	switch o.Overflow {
	case "", Drop:
	case Block:
		block = true
	default:
		return nil, fmt.Errorf("log overflow policy %q is neither %s nor %s", o.Overflow, Drop, Block)
	}
	if o.Rings < 1 {
		return nil, fmt.Errorf("log with %d rings", o.Rings)
	}
	if o.Sample < 0 {
		return nil, fmt.Errorf("log sample of one in %d", o.Sample)
	}
	if o.Data < 0 || o.Data > dataMost {
		return nil, fmt.Errorf("log with %d bytes of data: at most %d", o.Data, dataMost)
	}
	if o.RingBytes < 0 || o.RingBytes > ringBytesMax {
		return nil, fmt.Errorf("log ring of %d bytes: at most %d", o.RingBytes, ringBytesMax)
	}
	if o.RingBytes == 0 {
		o.RingBytes = ringBytesDefault
	}
	longest := lineMax + dataLine(o.Data)
	size := 1 << bits.Len(uint(max(o.RingBytes, ringLines*longest)-1))
	l := &Log{
		path: o.Path, block: block, sample: max(o.Sample, 1), shape: shape, rings: make([]*Ring, o.Rings),
		wake: make(chan struct{}, 1), moved: make(chan struct{}, 1), done: make(chan struct{}),
		patience: 2 * time.Second, waiting: time.NewTimer(time.Hour),
	}
	if err := l.mapRings(size, longest); err != nil {
		return nil, err
	}
	fd, err := openFile(o.Path)
	if err != nil {
		return nil, err
	}
	for _, r := range l.rings {
		r.format.dataMax = o.Data
	}
	w := writer{log: l, logger: o.Logger}
	if w.logger == nil {
		w.logger = slog.Default()
	}
	w.use(fd)
	go w.run()
	return l, nil
}

// mapRings makes the rings in one anonymous mapping. In the Go heap they would be half of what is live there, and let as much
// garbage again come together before it is collected; here a page costs nothing until a line first comes to it. The mapping is
// the Log's and goes with it, not with Close: producers may still write lines then, which are counted, and a writer that is stuck
// in a device reads them. Each of these refers to the Log.
func (l *Log) mapRings(size, longest int) error {
	page := os.Getpagesize()
	stride := (size + longest + page - 1) &^ (page - 1)
	mem, err := unix.Mmap(-1, 0, len(l.rings)*stride, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return fmt.Errorf("map %d KiB for the log's rings: %w", len(l.rings)*stride>>10, err)
	}
	runtime.AddCleanup(l, func(mem []byte) { _ = unix.Munmap(mem) }, mem)
	for i := range l.rings {
		l.rings[i] = newRing(l, l.shape, size, mem[i*stride:][:size+longest])
	}
	return nil
}

// openFile returns a descriptor to append to. Non-blocking, so that a pipe whose reader is slow cannot hold the writer;
// on a regular file this means nothing.
func openFile(path string) (int, error) {
	if path == Stdout {
		return unix.Stdout, nil
	}
	fd, err := openPath(path, unix.O_WRONLY|unix.O_APPEND|unix.O_CREAT|unix.O_CLOEXEC|unix.O_NONBLOCK)
	switch err {
	case nil:
		return fd, nil
	case unix.ENXIO:
		return -1, fmt.Errorf("open log %s: nothing reads from this pipe", path)
	}
	return -1, &os.PathError{Op: "open log", Path: path, Err: err}
}

// openPath is unix.Open, but that the path is not copied to the heap: a rotation is to leave nothing there.
func openPath(path string, flags uint) (int, error) {
	var name [unix.PathMax]byte // and a zero at its end
	if len(path) >= len(name) {
		return -1, unix.ENAMETOOLONG
	}
	copy(name[:], path)
	cwd := unix.AT_FDCWD
	for {
		fd, _, errno := unix.Syscall6(unix.SYS_OPENAT, uintptr(cwd), uintptr(unsafe.Pointer(&name[0])), uintptr(flags), 0o640, 0, 0)
		switch errno {
		case 0:
			return int(fd), nil
		case unix.EINTR:
		default:
			return -1, errno
		}
	}
}

// Ring returns the ring of producer i of [0, Rings).
func (l *Log) Ring(i int) *Ring { return l.rings[i] }

// Dropped returns the sum of all rings' Dropped.
func (l *Log) Dropped() uint64 {
	var n uint64
	for _, r := range l.rings {
		n += r.Dropped()
	}
	return n
}

// Reopen opens the log's path again and goes over to what is there now. No line is lost or split by that: a line already
// begun in the old file is finished there, or, should that fail, written whole to the new one. On an error the old file
// stays in use. On standard output Reopen does nothing.
func (l *Log) Reopen() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed.Load() {
		return os.ErrClosed
	}
	if l.path == Stdout {
		return nil
	}
	fd, err := openFile(l.path)
	if err != nil {
		return err
	}
	l.turn++
	if old := l.next.Swap(l.turn<<32 | int64(fd)); old != 0 {
		_ = unix.Close(int(int32(old))) // never used: nothing can be lost with it
	}
	l.nudge()
	l.waiting.Reset(l.patience)
	defer l.waiting.Stop()
	for l.taken.Load() != l.turn {
		select {
		case <-l.moved: // perhaps to a file before this one
		case <-l.waiting.C:
			return fmt.Errorf("log %s: a write to the old file is stuck; the new one is used as soon as it ends", l.path)
		}
	}
	return nil
}

var errStuck = errors.New("the device takes nothing")

// Close writes what the rings hold and ends the writer. Lines that come later are dropped and counted. If not all could be
// written the error says how many lines were lost, and Dropped counts them. Closing again is an error that changes nothing.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed.Load() {
		return os.ErrClosed
	}
	before := l.Dropped()
	l.deadline.Store(time.Now().Add(l.patience).UnixNano())
	l.closed.Store(true)
	l.nudge()
	// The writer of a pipe keeps the deadline by itself; only one that is stuck inside a write is left behind.
	l.waiting.Reset(2 * l.patience)
	defer l.waiting.Stop()
	err := errStuck
	select {
	case <-l.done:
		err = l.result
	case <-l.waiting.C:
	}
	l.finished.Store(true)
	if err != nil {
		return fmt.Errorf("log %s: %d lines lost at the end: %w", l.path, l.Dropped()-before, err)
	}
	return nil
}

// rouse wakes the writer unless it is busy; busy, it looks at the rings before it rests.
func (l *Log) rouse() {
	if s := l.state.Load(); s != busy && l.state.CompareAndSwap(s, busy) {
		l.nudge()
	}
}

func (l *Log) nudge() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}
