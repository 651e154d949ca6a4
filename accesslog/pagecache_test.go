package accesslog

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

const tmpfsMagic = 0x01021994 // of statfs(2): files of a tmpfs live in the page cache

// cached returns how many bytes of the file are in the page cache.
func cached(t *testing.T, path string) int {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	b, err := unix.Mmap(int(f.Fd()), 0, int(info.Size()), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Munmap(b) }()
	page := os.Getpagesize()
	resident := make([]byte, (len(b)+page-1)/page)
	if _, _, errno := unix.Syscall(unix.SYS_MINCORE, uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), uintptr(unsafe.Pointer(&resident[0]))); errno != 0 {
		t.Fatal(errno)
	}
	n := 0
	for _, r := range resident {
		n += int(r&1) * page
	}
	return n
}

// A log of any size leaves no more than its end in the page cache, and what was given back is on the disk as it was written.
func TestPageCacheStaysSmall(t *testing.T) {
	dir := t.TempDir()
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "log")
	l := open(t, Options{Path: path, Overflow: Block, Rings: 2})
	const step = 100_000
	lines := 0
	grow := func() int {
		produceOn(l, 0, step)
		produceOn(l, 1, step)
		lines += 2 * step
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		return int(info.Size())
	}
	for grow() < 6*cacheBytes {
	}
	if fs.Type != tmpfsMagic {
		eventually(t, "half of the log has left the page cache", func() bool {
			size := grow() // a disk that is slow has only some of it when its turn comes
			return size > 100*cacheBytes || 2*cached(t, path) < size
		})
		if info, err := os.Stat(path); err != nil || info.Size() > 100*cacheBytes {
			t.Errorf("most of the log is still in the page cache: %v", err)
		}
	}
	closeLog(t, l)
	log := read(t, path)
	if n := strings.Count(log, "\n"); n != lines {
		t.Errorf("%d lines, want %d", n, lines)
	}
	if totals := recountOf(t, log); totals.Malformed > 0 || totals.Req != uint64(lines) {
		t.Errorf("%+v", totals)
	}
}

// A trimmer that the disk holds up is passed over: the writer goes on.
func TestWriterPassesOverABusyTrimmer(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	l := open(t, Options{Path: path, Overflow: Block, Rings: 1})
	produce(l, 1)
	eventually(t, "the writer sleeps", func() bool { return l.state.Load() == asleep })
	w := writer{log: l, regular: true, trimmer: &trimmer{ends: make(chan int64, 1)}}
	for range 3 {
		w.grown(cacheStep)
	}
	if len(w.trimmer.ends) != 1 || w.untrimmed != 0 {
		t.Errorf("%d ends wait, %d bytes are untold", len(w.trimmer.ends), w.untrimmed)
	}
}

// A trimmer whose file is left is there for the next one, and rotating leaves nothing for the collector.
func TestTrimmersAreKept(t *testing.T) {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	var l trimmers
	idle := func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return len(l.idle) == 1
	}
	rotate := func() {
		k, err := l.trim(int(null.Fd()))
		if err != nil {
			t.Fatal(err)
		}
		k.ends <- cacheStep
		k.leave()
		for !idle() {
			runtime.Gosched()
		}
	}
	if n := testing.AllocsPerRun(100, rotate); n > 0 {
		t.Errorf("%v objects for each file", n)
	}
	k := l.idle[0]
	l.end()
	if _, open := <-k.ends; open {
		t.Error("a trimmer waits for another file after the end")
	}
	if _, err := unix.FcntlInt(uintptr(k.fd), unix.F_GETFD, 0); err == nil {
		t.Error("its descriptor is still open")
	}
}
