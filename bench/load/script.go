package load

import (
	"fmt"
	"strconv"

	"golang.org/x/sys/unix"
)

// scriptMax bounds the size of a thread's script to what stays in the CPUs' caches. From a larger one the target would get its
// data from memory, where a copy that the generator has just made is nearer: at 1 MiB per request a proxy needed a third more CPU time.
const scriptMax = 4 << 20

// script holds the requests of a loop whose requests are all of one large size, ready to be sent, in a file in memory:
// sendfile(2) gives the socket the file's own pages, where send(2) would copy them, and that copy was most of what a large
// request cost the generator.
//
//	connection 0: │ request 0 │ request 1 │ … │ request slots-1 │   connection 1: │ request 0 │ …
//
// Request n of a connection lies in place n mod slots. What precedes it there must have been answered, since the kernel
// may hold those very bytes until then; only the head, which is all that differs, is written anew.
type script struct {
	fd    int
	bytes []byte // the file, mapped
	size  int    // of a request
	slots uint64 // requests per connection, a power of two
}

// scriptable says whether a script can hold the requests: not small ones, mixed sizes, data that is compared with the answer's, or
// so much outstanding that the file would be huge.
func (o *Options) scriptable() bool {
	slots := windowFor(o.Depth)
	return len(o.Mix.sizes) == 1 && o.Mix.Max() > copyMax && !o.Verify && o.Depth <= slots && o.Conns*slots*o.Mix.Max() <= scriptMax
}

// newScript returns nil when requests are copied, as those of most clients are.
func newScript(opt *Options, conns int) (*script, error) {
	if !opt.SendFile || conns == 0 {
		return nil, nil
	}
	size := opt.Mix.Max()
	slots := windowFor(opt.Depth)
	fd, err := unix.MemfdCreate("foobench", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("a file in memory for the requests: %w", err)
	}
	s := &script{fd: fd, size: size, slots: uint64(slots)}
	if err = unix.Ftruncate(fd, int64(conns*slots*size)); err == nil {
		s.bytes, err = unix.Mmap(fd, 0, conns*slots*size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
	}
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("a file of %d bytes in memory for the requests: %w", conns*slots*size, err)
	}
	text := newPattern(size)
	for i := range conns * slots {
		request := s.bytes[i*size:][:size]
		copy(request, text[i%patternLen*patternStride:])
		request[size-1] = '\n'
	}
	return s, nil
}

// request is the place of request n of the connection in slot.
func (s *script) request(slot int32, n uint64) []byte {
	i := int(uint64(slot)*s.slots + n&(s.slots-1))
	return s.bytes[i*s.size:][:s.size:s.size]
}

func (s *script) close() {
	if s != nil {
		_ = unix.Munmap(s.bytes)
		unix.Close(s.fd)
	}
}

// has tells whether request n of c can be sent from its place.
func (s *script) has(c *conn, n uint64) bool {
	return s != nil && (n < s.slots || n-s.slots < c.oldest || c.at(n-s.slots).sent == 0)
}

// gather is loop.gather from the script: it stamps the requests that begin now, and returns where in the file the bytes lie
// that are offered. They end where the places of c do, so that they are one piece.
func (s *script) gather(l *loop, c *conn, last uint64, now int64) (at int64, offered int) {
	l.ends = l.ends[:0]
	at = (int64(c.slot)*int64(s.slots)+int64(c.sent&(s.slots-1)))*int64(s.size) + int64(c.rest)
	skip := c.rest
	for n := c.sent; n < last && offered < gatherMax && s.has(c, n) && (n == c.sent || n&(s.slots-1) != 0); n++ {
		if skip == 0 {
			r := c.at(n)
			r.size, r.sent = int32(s.size), now
			// Numbers grow, so that a head covers the one before it.
			head := append(s.request(c.slot, n)[:0], 'R', 'E', 'Q', ' ')
			_ = append(strconv.AppendUint(head, l.seqOf(c, n), 10), ' ')
		}
		offered += s.size - skip
		l.ends = append(l.ends, int32(offered))
		skip = 0
	}
	return at, offered
}
