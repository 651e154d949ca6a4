package proxy

import (
	"syscall"

	"fooproxy/stats"
)

// simPipe is a pipe as the kernel keeps it.
type simPipe struct {
	data []byte   // in it
	cn   *simConn // that it is of
	d    side
	size int // as it was set, in bytes
	most int // more than that it does not get
	open [2]bool
}

// simFirstPipe is the descriptor of the first pipe's end to read from; the one to write to follows.
const simFirstPipe = 100_000

// simPage is what one place of a pipe holds, in bytes.
const simPage = 4096

func (k simKernel) pipe(fds *[2]int32) syscall.Errno {
	if oneIn(k, 8) {
		k.noPipes++
		return syscall.EMFILE
	}
	first := int32(simFirstPipe + 2*len(k.simPipes))
	fds[0], fds[1] = first, first+1
	most := []int{1 << 20, 256 << 10, 64 << 10, 1 << 20, 256 << 10, 64 << 10, 64 << 10, 2 * simPage}[k.pick(8)]
	if most < pipeSizeMin {
		k.noPipes++
	}
	k.simPipes = append(k.simPipes, &simPipe{size: 2 * simPage, most: most, open: [2]bool{true, true}})
	return 0
}

// pipeOf is the pipe that an open descriptor belongs to.
func (k simKernel) pipeOf(fd int32) *simPipe {
	i := int(fd) - simFirstPipe
	if i/2 >= len(k.simPipes) || !k.simPipes[i/2].open[i%2] {
		k.Fatalf("%d is no open end of a pipe", fd)
	}
	return k.simPipes[i/2]
}

func (k simKernel) closePipe(fd int32) {
	k.pipeOf(fd).open[(fd-simFirstPipe)%2] = false
}

func (k simKernel) setPipeSize(fd int32, size int) syscall.Errno {
	p := k.pipeOf(fd)
	if size > p.most {
		return syscall.EPERM
	}
	p.size = size
	return 0
}

func (k simKernel) splice(from, to int32, most int) (int, syscall.Errno) {
	if from < simFirstPipe {
		return k.spliceIn(from, k.pipeOf(to), most)
	}
	if oneIn(k, 64) {
		return 0, syscall.EINTR
	}
	return k.spliceOut(k.pipeOf(from), to, most)
}

// spliceIn takes what lies in a socket in pieces of up to a page, of which each takes a place of the pipe.
func (k simKernel) spliceIn(fd int32, p *simPipe, most int) (int, syscall.Errno) {
	cn, d, sock := k.socket(fd)
	k.checkEmptyPipe(cn, d)
	switch {
	case !sock.nonblock:
		k.Fatalf("a splice from side %d may wait", d)
	case cn.class != classTunnel && most > sock.looked:
		k.Fatalf("%d bytes are spliced from side %d, which is no tunnel, and %d were inspected", most, d, sock.looked)
	case len(p.data) > 0:
		k.Fatalf("a pipe that holds %d bytes takes more", len(p.data))
	}
	sock.tried = true
	if oneIn(k, 64) {
		return 0, syscall.EINTR
	}
	from, n := sock.read, 0
	piece := []int{simPage, simPage, 100, 1}[k.pick(4)]
	most = sock.reach(most)
	if sock.atUrgent() {
		most = 0
	}
	for place := 0; place < p.size/simPage && n < most; place++ {
		n += min(piece, most-n)
	}
	switch {
	case n > 0:
	case sock.err:
		sock.err = false
		if cn.class == classTunnel {
			k.ended(cn, d, syscall.ECONNRESET)
		}
		return 0, syscall.ECONNRESET
	case sock.fin || sock.rst:
		return 0, 0 // or so it looks: there may be more behind an urgent byte
	default:
		return 0, syscall.EAGAIN
	}
	sock.read += n
	p.data, p.cn, p.d = sock.stream.data[from:sock.read], cn, d
	if cn.class != classTunnel {
		k.spliceLong(cn, d, sock, n)
		return n, 0
	}
	k.heard(cn, d, n)
	k.spliced += n
	return n, 0
}

func (k simKernel) spliceOut(p *simPipe, fd int32, most int) (int, syscall.Errno) {
	cn, d, sock := k.socket(fd)
	switch {
	case !sock.nonblock:
		k.Fatalf("a splice to side %d may wait", d)
	case most > len(p.data) || most == 0:
		k.Fatalf("%d bytes are to come out of a pipe that holds %d", most, len(p.data))
	case p.cn != cn || p.d != d^1:
		k.Fatalf("side %d is sent what is not for it", d)
	}
	if k.pick(8) == 0 { // a signal comes in the middle
		most = (most + 1) / 2
	}
	n, errno := sock.send(k, most)
	switch errno {
	case 0:
		k.took(cn, d^1, p.data[:n])
		p.data = p.data[n:]
	case syscall.EAGAIN:
	default:
		k.untaken(cn, d^1, errno)
	}
	return n, errno
}

// checkPipes: every pipe that is open is spare or some flow's, which knows what is in it.
func (w *simWorld) checkPipes() {
	open, size, used := 0, 0, 0
	for _, p := range w.simPipes {
		if p.open[0] != p.open[1] {
			w.Fatalf("one end of a pipe is open")
		}
		if p.open[0] {
			open++
			size += p.size
		}
	}
	for _, cn := range w.conns {
		if cn.s == nil {
			continue
		}
		for d := range cn.s.flow {
			f := &cn.s.flow[d]
			if f.pipe == nil {
				continue
			}
			used++
			if p := w.simPipes[(f.pipe.in-simFirstPipe)/2]; f.pipe.held != len(p.data) || f.pipe.held == 0 || f.pipe.held > f.pipe.size || f.queue.bytes > 0 && cn.class == classTunnel {
				w.Fatalf("side %d: a pipe of %d bytes that holds %d is said to hold %d, and the queue has %d", d, f.pipe.size, len(p.data), f.pipe.held, f.queue.bytes)
			}
		}
	}
	l := &w.core.pipes
	if open != l.made || open != l.spare+used || size != l.size || size > pipesHold || open > max(l.most, 0) {
		w.Fatalf("%d pipes are open, %d made, %d spare, %d used, %d may be; they can hold %d bytes, %d are said to", open, l.made, l.spare, used, l.most, size, l.size)
	}
	if l.spare > 0 && l.lookAt == 0 || l.unused > l.spare || l.lookAt > w.now+pipeIdle {
		w.Fatalf("%d of %d spare pipes are unused, to be looked at in %d ns", l.unused, l.spare, l.lookAt-w.now)
	}
	if w.local[stats.NoPipe] < w.noPipes {
		w.Fatalf("%d pipes could not be had, and %v is %d", w.noPipes, stats.NoPipe, w.local[stats.NoPipe])
	}
	if w.local[stats.OpenTunnel] == 0 && !w.mayPeek && open > 0 {
		w.Fatalf("%d pipes are open without a tunnel", open)
	}
}
