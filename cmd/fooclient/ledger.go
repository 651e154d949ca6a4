package main

import (
	"sync"
	"time"

	"fooproxy/codec"
)

// A ledger knows which requests have no answer yet. Sender and receiver use it at the same time. Requests are matched by
// Seq; those whose Seq does not fit 64 bits are only counted.
type ledger struct {
	mu      sync.Mutex
	open    map[int64]entry
	missing int // requests without an answer
	untold  int // those of them whose Seq does not fit
	naks    int
	strays  int // answers to no request
	sentAll bool
	last    time.Time // when something was last sent or answered
}

// entry is the requests of one Seq that are open.
type entry struct {
	count int
	sent  time.Time // the last of them
}

func newLedger() *ledger { return &ledger{open: map[int64]entry{}, last: time.Now()} }

// sending notes requests that are about to be sent.
func (l *ledger) sending(requests []codec.Message) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last = time.Now()
	for _, m := range requests {
		l.missing++
		if !m.Fits {
			l.untold++
			continue
		}
		e := l.open[m.Seq]
		l.open[m.Seq] = entry{e.count + 1, l.last}
	}
}

// answered notes an answer. took is the time since its request was sent; ok is false if there was no such request.
func (l *ledger) answered(m codec.Message) (took time.Duration, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last = time.Now()
	if m.Type == codec.NAK {
		l.naks++
	}
	if !m.Fits {
		if l.untold == 0 {
			l.strays++
			return 0, false
		}
		l.untold--
		l.missing--
		return 0, true
	}
	e, ok := l.open[m.Seq]
	if !ok {
		l.strays++
		return 0, false
	}
	l.missing--
	if e.count--; e.count == 0 {
		delete(l.open, m.Seq)
	} else {
		l.open[m.Seq] = e
	}
	return l.last.Sub(e.sent), true
}

// finish notes that nothing more will be sent.
func (l *ledger) finish() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sentAll = true
}

// done is whether everything is sent and answered.
func (l *ledger) done() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sentAll && l.missing == 0
}

// overdue is whether a request is open and nothing has been sent or answered for so long.
func (l *ledger) overdue(limit time.Duration) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.missing > 0 && time.Since(l.last) >= limit
}

// sum is how many requests have no answer, and how many answers were NAKs or strays.
func (l *ledger) sum() (missing, naks, strays int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.missing, l.naks, l.strays
}
