package concept

import (
	"bytes"
	"fmt"

	"golang.org/x/sys/unix"

	"fooproxy/bench/sys"
)

// alteredSize is how many bytes altered sends: what fits every buffer at once.
const alteredSize = 16 << 10

// altered has a file sent by sendfile(2), looks at it on its way through a pipe as splicer does, changes the file, lets the bytes
// go on, and counts those that arrive changed: within one machine a page that is not copied remains the sender's, who may write
// to it after it was inspected.
func altered(p *path) (arrived int, err error) {
	source, from, to, sink, disconnect, err := p.open()
	if err != nil {
		return 0, err
	}
	defer disconnect()
	file, err := unix.MemfdCreate("foobench", unix.MFD_CLOEXEC)
	if err != nil {
		return 0, err
	}
	defer unix.Close(file)
	before, after := bytes.Repeat([]byte{'a'}, alteredSize), bytes.Repeat([]byte{'b'}, alteredSize)
	if _, err := unix.Pwrite(file, before, 0); err != nil {
		return 0, err
	}
	m, stop, err := lookingSplicer(1<<20, func(seen []byte) error {
		if !bytes.Equal(seen, before[:len(seen)]) {
			return fmt.Errorf("%d bytes were not what was sent", len(seen))
		}
		_, err := unix.Pwrite(file, after, 0)
		return err
	})
	if err != nil {
		return 0, err
	}
	defer stop()
	if n, errno := sys.SendFile(source, file, 0, alteredSize); errno != 0 || n != alteredSize {
		return 0, fmt.Errorf("sent %d of %d bytes: %w", n, alteredSize, errno)
	}
	moved := 0
	for moved == 0 { // until the first segment has come
		if moved, err = m.move(from, to); err != nil && err != unix.EAGAIN {
			return 0, err
		}
	}
	got := make([]byte, moved)
	for n := 0; n < moved; {
		k, errno := sys.Read(sink, got[n:])
		if errno != 0 && errno != unix.EAGAIN {
			return 0, errno
		}
		n += k
	}
	return bytes.Count(got, after[:1]), nil
}
