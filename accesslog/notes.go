package accesslog

import (
	"bytes"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// What the writer writes by itself: LOG lines, which say that a log is not complete, so that whoever counts its lines knows.
//
//	2026-01-02T03:04:05.123456Z LOG sample=100      at the start of each file: one in 100 requests is logged
//	2026-01-02T03:04:05.123456Z LOG dropped=17      17 lines found no room since the last such line
//
// writer.own holds these lines until they are all written, ownDone says how much of it is: a file that fails within a line
// can so be left, and the line goes whole into the next one.

// noteFile prepares what comes first in a file: an LF if it was found to end within a line, and a sampled log's header.
func (w *writer) noteFile(mend bool) {
	var first []byte
	if mend {
		first = append(first, '\n')
	}
	if n := w.log.sample; n > 1 {
		first = w.appendNote(first, w.log.shape.sample, uint64(n))
	}
	w.own = append(first, w.own...)
}

// noteDropped prepares a line that tells of the lines dropped since the last one, unless one waits already.
func (w *writer) noteDropped() {
	if n := w.log.Dropped(); n > w.noted && len(w.own) == 0 {
		w.own = w.appendNote(w.own, w.log.shape.dropped, n-w.noted)
		w.noted = n
	}
}

func (w *writer) appendNote(b []byte, name string, n uint64) []byte {
	s := w.log.shape
	b = append(b, s.begin...)
	b = time.Now().UTC().AppendFormat(b, stampLayout)
	b = append(b, s.note...)
	b = strconv.AppendUint(append(b, name...), n, 10)
	return append(b, s.end...)
}

// writeOwn writes what the writer has to say.
func (w *writer) writeOwn() error {
	for w.ownDone < len(w.own) {
		n, err := w.write([][]byte{w.own[w.ownDone:]})
		w.ownDone += n
		if err != nil {
			return err
		}
	}
	w.own, w.ownDone = w.own[:0], 0
	return nil
}

// leaveOwn is called before the file is left. What stays unwritten, or was begun, is written to the next file.
func (w *writer) leaveOwn() {
	_ = w.writeOwn()
	w.own = w.own[bytes.LastIndexByte(w.own[:w.ownDone], '\n')+1:]
	w.ownDone = 0
}

// endsWithinLine reports whether fd is a regular file at path whose last byte is no LF: what another process left behind
// when it was killed or its disk was full.
func endsWithinLine(path string, fd int) bool {
	var st unix.Stat_t
	if unix.Fstat(fd, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFREG || st.Size == 0 {
		return false
	}
	own, err := openPath(path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK)
	if err != nil {
		return false // not readable: then it cannot be known
	}
	defer unix.Close(own)
	var last [1]byte
	n, _ := unix.Pread(own, last[:], st.Size-1)
	return n == 1 && last[0] != '\n'
}
