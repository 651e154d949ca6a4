package codec

// Scanner checks one direction of one connection. It is a value of 48 bytes
// without pointers; a copy continues on its own. The zero Scanner is not
// ready: use NewScanner.
//
// Invariant between calls: the off bytes of line number line seen so far are a
// prefix of a valid message and led the automaton to state.
type Scanner struct {
	maxLine uint64 // longest line in bytes with its LF, never 0
	line    uint64 // 1-based
	off     uint64
	badLine uint64 // place of the last violation
	badOff  uint64
	dir     Dir
	state   uint8
	nak     uint8 // 1 when the current line's type is NAK
	badWant Want
	slow    uint16 // bytes to go line by line before a kernel is tried again
	penalty uint16 // what slow was set to when a kernel last met a bad line
}

// NewScanner makes the scanner of one stream. maxLine is the longest line
// allowed, in bytes with its LF; 0 means no limit.
func NewScanner(dir Dir, maxLine uint64) Scanner {
	if maxLine == 0 {
		maxLine = 1<<64 - 1
	}
	s := Scanner{maxLine: maxLine, line: 1, dir: dir}
	s.state = s.start()
	return s
}

// startOf is the automaton's state at the begin of a line.
func startOf(dir Dir) uint8 {
	if dir == Requests {
		return stRequests
	}
	return stAnswers
}

func (s *Scanner) start() uint8 { return startOf(s.dir) }

// Feed takes the next bytes of the stream and returns how many of them
// continue valid Foo; messages whose LF lies in chunk[:valid] are added to c.
// If valid < len(chunk), chunk[valid] is the first byte that cannot be Foo:
// see Violation. An unfinished line, and an unfinished UTF-8 sequence at the
// end of chunk, is valid so far. After a violation the scanner stands where
// it was, just before the bad byte; Resync takes it to the next line.
func (s *Scanner) Feed(chunk []byte, c *Counts) (valid int) {
	var p pass
	valid = s.feed(chunk, &p)
	s.count(&p, c)
	return valid
}

// FeedLines is Feed and also records in ends the offset in chunk just after
// each LF of chunk[:valid]; n is how many. ends must hold at least
// len(chunk)/6+1 offsets (the shortest message has 6 bytes, and one line may
// have begun before chunk), and chunk at most 2 GiB.
func (s *Scanner) FeedLines(chunk []byte, c *Counts, ends []int32) (valid, n int) {
	p := pass{ends: ends[:len(chunk)/6+1]}
	valid = s.feed(chunk, &p)
	s.count(&p, c)
	return valid, int(p.lines)
}

// Violation is that of the last Feed that returned valid < len(chunk).
func (s *Scanner) Violation() Violation {
	return Violation{Line: s.badLine, Offset: s.badOff, Want: s.badWant}
}

// Resync goes on after a violation: it skips to just after the next LF. The n
// bytes skipped belong to the bad line. If done is false the LF is still to
// come: call Resync again with the next chunk. After done, Feed goes on with
// a fresh line.
func (s *Scanner) Resync(chunk []byte) (n int, done bool) {
	n = lineFeed(chunk)
	if n < 0 {
		s.off += uint64(len(chunk))
		return len(chunk), false
	}
	s.off = 0
	s.line++
	s.state = s.start()
	return n + 1, true
}

// Line is the 1-based number of the current line.
func (s *Scanner) Line() uint64 { return s.line }

// Offset is how many bytes of the current line have been seen; 0 is a line's
// start.
func (s *Scanner) Offset() uint64 { return s.off }

// pass is what one Feed gathers.
type pass struct {
	lines uint64  // messages completed
	naks  uint64  // those of them that are NAK
	begin int     // where the current line begins in the chunk; negative if it began before
	ends  []int32 // nil if not wanted
}

// end notes that the current line's LF is at chunk[at-1].
func (p *pass) end(at int, nak uint8) {
	if p.ends != nil {
		p.ends[p.lines] = int32(at)
	}
	p.lines++
	p.naks += uint64(nak)
	p.begin = at
}

// count adds a pass to c.
func (s *Scanner) count(p *pass, c *Counts) {
	switch {
	case p.lines == 0:
	case s.dir == Requests:
		c.Req += p.lines
	default:
		c.Ack += p.lines - p.naks
		c.Nak += p.naks
	}
	s.line += p.lines
}

// feed takes chunk as far as it is valid. It cuts it into pieces that end no
// later than the current line's limit: inside such a piece no line can be too
// long, the current one by the cut, and every later one because the whole piece
// is no longer than the limit.
func (s *Scanner) feed(chunk []byte, p *pass) (at int) {
	p.begin = -int(s.off)
	for at < len(chunk) {
		stop := len(chunk)
		if left := s.maxLine - uint64(at-p.begin); left < uint64(stop-at) {
			stop = at + int(left)
		}
		var want Want
		switch from := at; {
		case at == stop:
			want = WantShorterLine
		case s.slow > 0:
			at, want = s.scanLines(chunk[:min(stop, at+int(s.slow))], at, p)
			s.slow -= uint16(at - from)
		case stop-at >= leastVector && kernel != portable:
			at, want = s.scanBlocks(chunk[:stop], at, p)
		case stop-at < least: // too short for a line
			at, want = s.partLine(chunk[:stop], at, p)
		default:
			at, want = s.scanLines(chunk[:stop], at, p)
		}
		if want != WantNone {
			s.badLine, s.badOff, s.badWant = s.line+p.lines, uint64(at-p.begin), want
			break
		}
	}
	s.off = uint64(at - p.begin)
	return at
}
