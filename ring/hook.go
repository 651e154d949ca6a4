package ring

import "golang.org/x/sys/unix"

// Hook lets tests bend what passes between a loop and the kernel, in ways the kernel itself might. Package ringtest has
// one with seeded faults. Without a hook each enter and each batch pay one compare with nil.
type Hook interface {
	// Submission is called once for each entry just before the kernel may see it, and may change it and what it points to:
	// shorten a send, take the multishot flag away, name a buffer group that does not exist.
	Submission(e *SQE)
	// Enter is called before each enter; if it returns an errno, that is the result and the kernel is not called.
	Enter() unix.Errno
	// Completions is called with each batch that Ready is about to return. It may change the order, except between
	// completions of one entry and between those that carry buffers.
	Completions(batch []CQE)
}

// SetHook puts a hook in; nil takes it out.
func (r *Ring) SetHook(h Hook) { r.hook = h }
