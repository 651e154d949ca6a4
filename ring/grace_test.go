package ring

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// What fails for want of memory is tried again for a while, and for no other reason.
func TestGrace(t *testing.T) {
	tries := func(g *Grace, errs ...error) (n int, err error) {
		err = g.Try(func() error {
			n++
			return errs[min(n, len(errs))-1]
		})
		return n, err
	}
	full := fmt.Errorf("step: %w", unix.ENOMEM)
	g := NewGrace()
	if n, err := tries(g, full, full, nil); n != 3 || err != nil {
		t.Errorf("%d tries, %v", n, err)
	}
	if n, err := tries(g, full, unix.EPERM); n != 2 || err != unix.EPERM {
		t.Errorf("%d tries, %v", n, err)
	}
	g.left = graceOnce + gracePause
	began := time.Now()
	if n, err := tries(g, full); n < 4 || !errors.Is(err, unix.ENOMEM) || time.Since(began) < graceOnce || g.left != gracePause {
		t.Errorf("%d tries in %v, %v, %v are left", n, time.Since(began), err, g.left)
	}
	if n, err := tries(g, full); n < 2 || !errors.Is(err, unix.ENOMEM) || g.left != 0 {
		t.Errorf("%d tries, %v, %v are left", n, err, g.left)
	}
	for _, spent := range []*Grace{g, new(Grace)} {
		if n, err := tries(spent, full, nil); n != 1 || !errors.Is(err, unix.ENOMEM) {
			t.Errorf("without grace %d tries, %v", n, err)
		}
	}
}
