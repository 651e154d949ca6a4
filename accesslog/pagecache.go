package accesslog

import "golang.org/x/sys/unix"

// A log that grows by hundreds of megabytes a second fills the page cache with what is seldom read again, and each page of
// it is one that the kernel has to find, which on a virtual machine often means that the host has to: that costs several
// times as much as copying the lines. So the log keeps only its end in the page cache: what was written is sent to the
// disk at once and, when cacheBytes have come after it, given back.

const (
	cacheStep  = 4 << 20  // bytes of the log between two calls on the page cache
	cacheBytes = 16 << 20 // of the end of the log that stay cached, for those who read it as it grows
)

// trimmer keeps the page cache of one file small. It is a goroutine of its own, since starting a write can wait for the disk,
// as long as a disk that hangs: the writer never waits for it and passes over it when it is busy.
type trimmer struct {
	fd   int
	ends chan int64 // where the file ended; closed when the writer has left the file
}

// trim starts the trimmer of the file fd.
func trim(fd int) (*trimmer, error) {
	own, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	t := &trimmer{fd: own, ends: make(chan int64, 1)}
	go t.run()
	return t, nil
}

func (t *trimmer) run() {
	defer unix.Close(t.fd)
	started := int64(-1)
	for end := range t.ends {
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
