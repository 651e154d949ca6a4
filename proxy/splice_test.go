package proxy

import (
	"syscall"
	"testing"
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

// However many tunnels stall, what their pipes hold is bounded, and none goes without.
func TestPipesHoldABoundedSum(t *testing.T) {
	const most = 256
	l := &pipePool{sys: &pipeMaker{left: most}, most: most}
	for range most {
		p := l.get(0)
		n := l.limit(p)
		if n < pipeSizeMin {
			t.Fatalf("a pipe may hold %d bytes while others hold %d", n, l.held)
		}
		p.held = n
		l.held += n
	}
	if l.held > pipesHold {
		t.Errorf("%d pipes hold %d bytes, more than %d", most, l.held, pipesHold)
	}
	if l.get(0) != nil {
		t.Errorf("there are more than %d pipes", most)
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
	pipes[0].held, l.held = 1, 1
	for _, p := range pipes {
		l.put(p)
	}
	if l.made != pipesSpare || l.spare != pipesSpare || k.open != 2*pipesSpare || l.held != 0 {
		t.Errorf("%d pipes made, %d spare, %d descriptors, %d bytes held", l.made, l.spare, k.open, l.held)
	}
	if l.clear(); l.made != 0 || k.open != 0 {
		t.Errorf("%d pipes, %d descriptors after all were closed", l.made, k.open)
	}
}
