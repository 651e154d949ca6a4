package proxy

import (
	"time"

	"golang.org/x/sys/unix"
)

// What both engines do with a session's descriptors by plain system calls.

// recheckEvery is how often the kernel is asked whether everything has been delivered before an RST is relayed: nothing
// announces that.
const recheckEvery = int64(2 * time.Millisecond)

// delivered says whether the destination of flow d has acknowledged everything; if not, it is asked again a little later.
func (c *core) delivered(s *session, d side) bool {
	if c.sys.undelivered(s.fd[d^1], c.domain[d^1]) == 0 {
		return true
	}
	s.recheck = c.now + recheckEvery
	c.rearm(s)
	return false
}

// cork holds back small segments towards side d until uncork.
func (c *core) cork(s *session, d side) {
	if c.cfg.Cork && !s.eng.corked[d] && c.domain[d] != unix.AF_UNIX {
		s.eng.corked[d] = true
		setCork(s.fd[d], true)
	}
}

func (c *core) uncork(s *session) {
	for d := range s.fd {
		if s.eng.corked[d] {
			s.eng.corked[d] = false
			setCork(s.fd[d], false)
		}
	}
}

// closeSession closes both descriptors and frees the session; nothing of it may be in flight.
func (c *core) closeSession(s *session) {
	for d, fd := range s.fd {
		if fd >= 0 {
			c.sys.close(fd, s.abort[d])
		}
	}
	c.release(s)
}
