package ring

import "unsafe"

// noKernel is the descriptor of a Detached ring.
const noKernel = -1

// Detached makes a ring that has no kernel: its hook gets every entry that is submitted and plays the kernel, all that is
// registered is taken for good, and completions come to their handlers another way than by Ready. For simulations of a loop.
func Detached(p Params, h Hook) (*Ring, error) {
	count := 1
	for count < int(p.Entries) {
		count <<= 1
	}
	words := new([5]uint32)
	r := &Ring{
		fd: noKernel, hook: h, quiet: true, perSlot: p.Iovecs, sqMask: uint32(count - 1),
		kSQHead: &words[0], kSQTail: &words[1], kFlags: &words[2], kCQHead: &words[3], kCQTail: &words[4],
	}
	slot := int(unsafe.Sizeof(SQE{})+unsafe.Sizeof(Msghdr{})+unsafe.Sizeof(Timespec{})) + p.Iovecs*int(unsafe.Sizeof(Iovec{}))
	var err error
	if r.arena, err = NewArena(4096 + count*slot); err != nil {
		return nil, err
	}
	r.sqes = AllocSlice[SQE](r.arena, count)
	r.times = AllocSlice[Timespec](r.arena, count)
	r.msgs = AllocSlice[Msghdr](r.arena, count)
	r.iovecs = AllocSlice[Iovec](r.arena, count*p.Iovecs)
	return r, nil
}
