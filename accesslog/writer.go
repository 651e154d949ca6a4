package accesslog

import (
	"io"
	"log/slog"
	"time"

	"golang.org/x/sys/unix"
)

// States of the writer, for the producers: when may it need to be woken?
const (
	busy      = iota // not at all
	gathering        // when a ring is half full
	asleep           // at the first line
)

const (
	gatherTime = 3 * time.Millisecond   // from the first line after a rest, or from one write, to the next write
	retryTime  = time.Second            // between two attempts on a device that failed
	pollTime   = 100 * time.Millisecond // after which a full pipe's writer looks for Reopen and Close
	quietTime  = time.Minute            // between two warnings
)

// writer is the goroutine that empties the rings. torn is the ring whose next line, the one at its tail, has its first
// tornBytes in the file already; nil when the file ends with a whole line. Nothing else may be written before its rest.
type writer struct {
	log     *Log
	logger  *slog.Logger
	fd      int
	own     []byte // what the writer itself has to say, before any ring's lines (notes.go)
	ownDone int    // bytes of own that are in the file
	noted   uint64 // dropped lines that the log tells of, or will by own

	torn      *Ring
	tornBytes uint64

	regular   bool // fd is a regular file
	trimmers  trimmers
	trimmer   *trimmer // of fd; nil until cacheStep bytes were written
	untrimmed int      // bytes written since the trimmer last heard of it

	timer  *time.Timer
	warned time.Time
	told   bool // the failure under way was logged
}

func (w *writer) run() {
	l := w.log
	w.timer = time.NewTimer(time.Hour)
	var err error
	for !l.closed.Load() {
		switch {
		case err != nil && !temporary(err):
			w.rest(busy, retryTime)
		case err != nil || w.most() > 0:
			w.rest(gathering, gatherTime)
		default:
			w.rest(asleep, 0)
			w.rest(gathering, gatherTime)
		}
		w.takeOver()
		err = w.drain()
		w.report(err)
	}
	w.takeOver()
	l.result = w.drain()
	w.release()
	w.trimmers.end()
	close(l.done)
}

// most returns how many bytes the fullest ring holds.
func (w *writer) most() uint64 {
	var n uint64
	for _, r := range w.log.rings {
		n = max(n, r.head.Load()-r.tail.Load())
	}
	return n
}

// rest sleeps until there is a reason to go on, at most for d, or without limit when asleep.
func (w *writer) rest(state uint32, d time.Duration) {
	l := w.log
	defer l.state.Store(busy)
	l.state.Store(state)
	// A line that came before the state was visible has woken nobody.
	if most := w.most(); state == asleep && most > 0 || state == gathering && most > w.log.rings[0].size/2 {
		return
	}
	if state == asleep {
		<-l.wake
		return
	}
	w.timer.Reset(d)
	select {
	case <-l.wake:
	case <-w.timer.C:
	}
}

// drain writes what the rings hold at its first look at each, so that no busy ring starves the others.
func (w *writer) drain() error {
	if w.torn != nil {
		if err := w.drainRing(w.torn); err != nil {
			return err
		}
	}
	if err := w.writeOwn(); err != nil {
		return err
	}
	for _, r := range w.log.rings {
		if err := w.drainRing(r); err != nil {
			return err
		}
	}
	w.noteDropped()
	return w.writeOwn()
}

func (w *writer) drainRing(r *Ring) error {
	head, tail := r.head.Load(), r.tail.Load()
	for tail != head {
		at := tail + w.tornBytes
		s := r.segments(at, head)
		n, err := w.write(s[:])
		if n > 0 {
			at += uint64(n)
			end := head
			if at != head {
				end = r.lineEnd(tail, at)
			}
			w.torn, w.tornBytes = nil, at-end
			if w.tornBytes > 0 {
				w.torn = r
			}
			tail = end
			r.tail.Store(tail)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// write writes some of the pieces. It returns EAGAIN when a full pipe's reader has not taken anything while there is
// something else to do for the writer.
func (w *writer) write(pieces [][]byte) (int, error) {
	for {
		n, err := unix.Writev(w.fd, pieces)
		switch {
		case err == nil && n > 0:
			w.grown(n)
			return n, nil
		case err == nil:
			return 0, io.ErrShortWrite
		case err == unix.EINTR:
		case err != unix.EAGAIN:
			return 0, err
		case !w.awaitReader():
			return 0, err
		}
	}
}

// awaitReader waits until the pipe has room or has failed, which the next write then tells. It gives up for a Reopen, and
// for a Close whose time is over.
func (w *writer) awaitReader() bool {
	l := w.log
	for {
		poll := []unix.PollFd{{Fd: int32(w.fd), Events: unix.POLLOUT}}
		if n, err := unix.Poll(poll, int(pollTime.Milliseconds())); n > 0 || err != nil && err != unix.EINTR {
			return true
		}
		if l.next.Load() != 0 || l.closed.Load() && time.Now().UnixNano() >= l.deadline.Load() {
			return false
		}
	}
}

func temporary(err error) bool { return err == unix.EAGAIN }

// report makes a failure known: to the producers, who then do not wait for room, and to the operator, once per failure and
// at most once per quietTime. Lines stay in the rings as long as they have room.
func (w *writer) report(err error) {
	l := w.log
	if err != nil && !temporary(err) {
		if !l.failed.Swap(true) && time.Since(w.warned) >= quietTime {
			w.warned, w.told = time.Now(), true
			w.logger.Warn("the access log cannot be written; lines that find no room are dropped and counted",
				"path", l.path, "err", err, "retry", retryTime)
		}
		return
	}
	if l.failed.Swap(false) && w.told {
		w.told = false
		w.logger.Info("the access log is written again", "path", l.path, "dropped", l.Dropped())
	}
}

// takeOver goes over to a file that Reopen has opened, after finishing the line begun in the old one. Where that fails, the
// line is still whole in its ring. The new file stays in sight until then, so that a full pipe is not waited for.
func (w *writer) takeOver() {
	l := w.log
	if l.next.Load() == 0 {
		return
	}
	if w.torn != nil && w.drainRing(w.torn) != nil {
		w.torn, w.tornBytes = nil, 0
	}
	w.leaveOwn()
	next := l.next.Swap(0)
	w.release()
	w.use(int(int32(next)))
	l.taken.Store(next >> 32)
	select {
	case l.moved <- struct{}{}:
	default:
	}
}

// grown keeps the page cache of a file that grows by much small.
func (w *writer) grown(n int) {
	if w.untrimmed += n; w.untrimmed < cacheStep || !w.regular {
		return
	}
	w.untrimmed = 0
	if w.trimmer == nil {
		t, err := w.trimmers.trim(w.fd)
		if err != nil {
			return // no descriptor left: later perhaps
		}
		w.trimmer = t
	}
	if end, err := unix.Seek(w.fd, 0, io.SeekCurrent); err == nil {
		select {
		case w.trimmer.ends <- end:
		default:
		}
	}
}

func (w *writer) use(fd int) {
	w.fd = fd
	var st unix.Stat_t
	w.regular = unix.Fstat(fd, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFREG
	w.trimmer, w.untrimmed = nil, 0
	w.noteFile(endsWithinLine(w.log.path, fd))
}

func (w *writer) release() {
	if w.trimmer != nil {
		w.trimmer.leave()
	}
	if w.log.path != Stdout {
		_ = unix.Close(w.fd) // a write that the file system put off and lost is not ours to repeat
	}
}
