package ring

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"
)

// Grace is for how long ENOMEM may mean "not yet". Where rings count as locked memory (6.18: they do), the kernel takes one off the
// account some 20 to 40 ms after close(2) has returned. So whoever makes rings one after the other, or starts where another process
// of the same user has just ended, meets a limit that will be free again. The zero value waits for nothing.
type Grace struct{ left time.Duration }

const (
	graceLimit = time.Second            // over all that is tried with one grace
	graceOnce  = 250 * time.Millisecond // for one thing
	// gracePause is the longest pause between two tries: more than the kernel takes, since a set-up that fails half-way makes a
	// ring to be let go of too.
	gracePause = 64 * time.Millisecond
)

// NewGrace is what the rings of one purpose share.
func NewGrace() *Grace { return &Grace{graceLimit} }

// Try does what may fail for want of locked memory, again and again until it fails for another reason or not at all, or the grace
// is over.
func (g *Grace) Try(do func() error) error {
	once := min(graceOnce, g.left)
	for pause := time.Millisecond; ; pause = min(2*pause, gracePause) {
		err := do()
		if !errors.Is(err, unix.ENOMEM) || once <= 0 {
			return err
		}
		pause = min(pause, once)
		time.Sleep(pause)
		once -= pause
		g.left -= pause
	}
}
