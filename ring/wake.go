package ring

import (
	"os"

	"golang.org/x/sys/unix"
)

// Waker wakes a thread that waits in its ring, from any other thread: an eventfd(2) polled by the ring. The ring's thread
// arms it once, and after each of its completions calls Drain (and arms it again if the completion lacks FlagMore).
type Waker struct{ fd int }

// NewWaker makes the eventfd.
func NewWaker() (*Waker, error) {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, os.NewSyscallError("eventfd2", err)
	}
	return &Waker{fd: fd}, nil
}

// Wake may be called from any goroutine, before or while the ring waits: no wake-up is lost. Many may show as one.
func (w *Waker) Wake() {
	one := [8]byte{1}
	// A full counter (EAGAIN) wakes as well.
	_, _ = unix.Write(w.fd, one[:])
}

// Arm prepares the poll on the ring; nil when the submission queue is full.
func (w *Waker) Arm(r *Ring, userData uint64) *SQE {
	return r.PrepPollMultishot(w.fd, unix.POLLIN, userData)
}

// Drain takes the wake-ups so far.
func (w *Waker) Drain() {
	var count [8]byte
	_, _ = unix.Read(w.fd, count[:])
}

// Close ends it. Nobody may call Wake during or after.
func (w *Waker) Close() error { return os.NewSyscallError("close", unix.Close(w.fd)) }
