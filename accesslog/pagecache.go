package accesslog

import (
	"sync"

	"golang.org/x/sys/unix"
)

// A log that grows by hundreds of megabytes a second fills the page cache with what is seldom read again, and each page of
// it is one that the kernel has to find, which on a virtual machine often means that the host has to: that costs several
// times as much as copying the lines. So the log keeps only its end in the page cache: what was written is sent to the
// disk at once and, when cacheBytes have come after it, given back.

const (
	cacheStep  = 4 << 20  // bytes of the log between two calls on the page cache
	cacheBytes = 16 << 20 // of the end of the log that stay cached, for those who read it as it grows
)

// trimmer keeps the page cache of one file small, and then of another one. It is a goroutine of its own, since starting a write can
// wait for the disk, as long as a disk that hangs: the writer never waits for it and passes over it when it is busy.
type trimmer struct {
	fd   int        // its own descriptor of the file
	ends chan int64 // where the file ended, or fileLeft
}

// fileLeft is told to a trimmer when the writer has left its file.
const fileLeft = -1

// trimmers are those of a log: one for the file, and as many as still work on earlier ones. Who has nothing to do is kept for the
// next file, so that rotating a log leaves nothing behind.
type trimmers struct {
	mu   sync.Mutex
	idle []*trimmer
	over bool // the log is closed
}

// trim starts a trimmer of the file fd.
func (l *trimmers) trim(fd int) (*trimmer, error) {
	own, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := len(l.idle); n > 0 {
		t := l.idle[n-1]
		l.idle = l.idle[:n-1]
		t.fd = own
		return t, nil
	}
	t := &trimmer{fd: own, ends: make(chan int64, 1)}
	go t.run(l)
	return t, nil
}

// keep takes back a trimmer that has left its file; false when there will be no other file.
func (l *trimmers) keep(t *trimmer) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.over {
		l.idle = append(l.idle, t)
	}
	return !l.over
}

// end ends them all, each as soon as it has left its file.
func (l *trimmers) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.over = true
	for _, t := range l.idle {
		close(t.ends)
	}
}

// leave tells the trimmer that its file is left. That never waits: what it has not heard yet it need not hear.
func (t *trimmer) leave() {
	select {
	case <-t.ends:
	default:
	}
	t.ends <- fileLeft
}

func (t *trimmer) run(l *trimmers) {
	started := int64(-1)
	for end := range t.ends {
		if end == fileLeft {
			_ = unix.Close(t.fd)
			if !l.keep(t) {
				return
			}
			started = -1
			continue
		}
		if started < 0 || started > end {
			started = max(0, end-cacheStep) // the first time, or somebody has cut the file
		}
		// Neither call's failure is one of the log: a file system that knows no such thing caches as it likes.
		_ = unix.SyncFileRange(t.fd, started, end-started, unix.SYNC_FILE_RANGE_WRITE)
		started = end
		// What the disk has not taken by now stays cached; the next call finds it, as long as it lies within the same
		// distance again.
		if keep := end - cacheBytes; keep > 0 {
			from := max(0, keep-cacheBytes)
			_ = unix.Fadvise(t.fd, from, keep-from, unix.FADV_DONTNEED)
		}
	}
}
