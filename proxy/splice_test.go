package proxy

import (
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// pipeMaker is a kernel that has pipes, as long as left is above 0.
type pipeMaker struct {
	kernel
	left, open int
}

func (k *pipeMaker) pipe(*[2]int32) syscall.Errno {
	if k.left == 0 {
		return syscall.EMFILE
	}
	k.left--
	k.open += 2
	return 0
}

func (k *pipeMaker) setPipeSize(int32, int) syscall.Errno { return 0 }
func (k *pipeMaker) close(int32, bool)                    { k.open-- }

// However many tunnels stall, with whatever small pieces, their pipes take a bounded memory, and none goes without.
func TestPipesTakeABoundedMemory(t *testing.T) {
	for _, most := range []int{1, 5, 100, 256} {
		l := &pipePool{sys: &pipeMaker{left: most}, most: most}
		sum := 0
		for i := range most {
			p := l.get(0)
			if p.size < pipeSizeMin || i == 0 && p.size != pipeSize {
				t.Fatalf("pipe %d of %d holds %d bytes", i, most, p.size)
			}
			sum += p.size
		}
		if sum > pipesHold || sum != l.size {
			t.Errorf("%d pipes hold %d bytes, at most %d are wanted, and %d are said to be", most, sum, pipesHold, l.size)
		}
		if l.get(0) != nil {
			t.Errorf("there are more than %d pipes", most)
		}
	}
}

// What nobody has needed from one look to the next is closed, smaller ones first, and nobody looks where there is none.
func TestPipesGoWhenNobodyNeedsThem(t *testing.T) {
	k := &pipeMaker{left: 99}
	l := &pipePool{sys: k, most: 20}
	var pipes []*pipe
	for range l.most {
		pipes = append(pipes, l.get(0))
	}
	for _, p := range pipes {
		l.put(p, 1000)
	}
	if l.trim(1000 + pipeIdle - 1); l.spare != l.most {
		t.Fatalf("%d pipes are spare at once", l.spare)
	}
	if l.trim(1000 + pipeIdle); l.spare != l.most {
		t.Fatalf("%d pipes are left that were all in use", l.spare)
	}
	for range 3 { // two of them are needed
		a, b := l.get(0), l.get(0)
		if a.size != pipeSize || b.size != pipeSize {
			t.Fatalf("pipes of %d and %d bytes are taken when there are larger ones", a.size, b.size)
		}
		l.put(a, 0)
		l.put(b, 0)
	}
	l.trim(l.lookAt)
	if l.spare != 2 || l.made != 2 || l.size != 2*pipeSize || k.open != 4 {
		t.Fatalf("%d pipes are spare of %d, which hold %d bytes; %d descriptors", l.spare, l.made, l.size, k.open)
	}
	if l.trim(l.lookAt); l.spare != 0 || l.made != 0 || l.size != 0 || k.open != 0 || l.lookAt != 0 {
		t.Errorf("%d pipes are spare of %d, which hold %d bytes; %d descriptors, next look at %d", l.spare, l.made, l.size, k.open, l.lookAt)
	}
}

// Pipes that are closed and made again leave nothing for the collector.
func TestPipesLeaveNoGarbage(t *testing.T) {
	l := &pipePool{sys: &pipeMaker{left: 1000}, most: 20}
	if n := testing.AllocsPerRun(20, func() {
		a, b := l.get(0), l.get(0)
		l.put(a, 0)
		l.put(b, 0)
		l.clear()
	}); n > 0 {
		t.Errorf("%v objects for two pipes", n)
	}
	if l.made != 0 || l.size != 0 {
		t.Errorf("%d pipes are left, of %d bytes", l.made, l.size)
	}
}

// A pool that found none asks again, though not at once, and keeps only so many that are empty.
func TestPipesAreAskedForAgain(t *testing.T) {
	k := &pipeMaker{}
	l := &pipePool{sys: k, most: 2 * pipesSpare}
	if l.get(1) != nil {
		t.Fatal("a pipe from nowhere")
	}
	if k.left = 2 * pipesSpare; l.get(pipeRetry) != nil {
		t.Error("asked again at once")
	}
	var pipes []*pipe
	for range 2 * pipesSpare {
		p := l.get(1 + pipeRetry)
		if p == nil {
			t.Fatal("not asked again")
		}
		pipes = append(pipes, p)
	}
	pipes[0].held = 1
	for _, p := range pipes {
		l.put(p, 1+pipeRetry)
	}
	if l.made != pipesSpare || l.spare != pipesSpare || k.open != 2*pipesSpare {
		t.Errorf("%d pipes made, %d spare, %d descriptors", l.made, l.spare, k.open)
	}
	if l.clear(); l.made != 0 || k.open != 0 {
		t.Errorf("%d pipes, %d descriptors after all were closed", l.made, k.open)
	}
}

// Bytes that arrive one by one can take a page of a pipe each: here those of two connections lie in turn in the sender's memory, so
// that the kernel finds no neighbours to join. This is why pipes are bounded by what they could hold.
func TestOneByteMayTakeAPage(t *testing.T) {
	r := newLoopRig(t, EngineEpoll, func(cfg *Config) { cfg.Tunnel = true })
	p := r.open()
	l := &pipePool{sys: linux{}, most: 1}
	pipe := l.get(0)
	if pipe == nil {
		t.Fatal("no pipe")
	}
	defer l.close(pipe)
	const n = 2000
	arrived := func(fd int32) int {
		queued, err := unix.IoctlGetInt(int(fd), unix.TIOCINQ)
		if err != nil {
			t.Fatal(err)
		}
		return queued
	}
	from := r.core.table.at(0)
	for range n {
		for d := range p {
			if some(send, p[d], []byte{'x'}) != 1 {
				t.Fatal("a byte is not taken")
			}
		}
	}
	for arrived(from.fd[client]) < n {
	}
	got, errno := splice(from.fd[client], pipe.in, pipe.size)
	if errno != 0 || got < pipe.pages() || got > n {
		t.Fatalf("%d of %d bytes are in a pipe of %d pages: %v", got, n, pipe.pages(), errno)
	}
	t.Logf("%d bytes fill a pipe of %d pages", got, pipe.pages())
}
