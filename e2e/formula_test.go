package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// load is what the formula of SECURITY.md counts.
type load struct {
	loops       int
	buffer      int  // --max-buffer
	logged      bool // --log
	matched     bool // requests with their answers
	excerpt     int  // --log-data
	pipes       bool // tunnels, or long Data that goes on within the kernel
	conns       int  // at once
	flows       int  // that hold something; those of a connection are two
	came        int  // bytes, of all flows; 0 = any
	stalled     int  // flows whose destination is slow
	addresses   int  // remembered, by --maxconn-per-ip and --rate-per-ip
	outstanding int  // requests
}

// The terms of the formula, in bytes, and what bounds them.
const (
	perHeap      = 4 << 20 // what the runtime collects no garbage below
	perLoop      = 32 << 20
	perRing      = 512 << 10 // a loop's buffers that wait for data
	perFlow      = 3 << 19   // beside one and a half of --max-buffer
	perStalled   = 8 << 10
	perLog       = 4 << 20
	perPipes     = 32 << 20  // of a loop, in no process's memory
	perHistogram = 512 << 10 // of how long requests took, a loop's
	perConn      = 7 << 10 / 10
	perAddress   = 100
	perRequest   = 250

	addressesMost = 1 << 16 // without a connection
	requestsMost  = 1 << 16 // of a connection
	bufferDefault = 512 << 10
)

// growth is what memory may grow by after the start, as SECURITY.md has it: nothing here is looser.
func (l load) growth() int64 {
	held := l.flows * (l.buffer*3/2 + perFlow)
	if l.came > 0 {
		held = min(held, 4*l.came+l.flows*perStalled)
	}
	inTransit := min(l.loops*perLoop+l.stalled*perStalled, l.loops*perRing+held)
	scratch := l.loops * l.buffer
	if l.matched {
		scratch += l.loops * (l.buffer + perHistogram)
	}
	kept := l.conns*perConn + l.addresses*perAddress
	if l.matched {
		kept += l.outstanding * (perRequest + l.excerpt)
	}
	if l.logged {
		kept += l.loops * perLog
	}
	return int64(perHeap + inTransit + scratch + kept)
}

// flags is the part of a load that the child's flags say.
func (p *proxy) flags() (l load, limited bool) {
	p.t.Helper()
	number := func(text string) int {
		n, err := strconv.Atoi(text)
		ok(p.t, err)
		return n
	}
	l.buffer = bufferDefault
	spliced, tunnel := false, false
	for _, arg := range p.cmd.Args {
		switch name, value, _ := strings.Cut(arg, "="); name {
		case "--max-buffer":
			l.buffer = number(value)
		case "--log":
			l.logged, l.matched = true, true
		case "--admin":
			l.matched = true
		case "--track":
			l.matched = l.logged || value == "on"
		case "--log-data":
			l.excerpt = number(value)
		case "--splice":
			spliced = value != "off"
		case "--tunnel", "--arbitrary":
			tunnel = tunnel || value != "close"
		case "--maxconn-per-ip", "--rate-per-ip":
			limited = true
		}
	}
	l.pipes = spliced || tunnel
	return l, limited
}

// most is the largest load that the child can have had so far, by its flags and figures.
func (p *proxy) most() load {
	p.t.Helper()
	l, limited := p.flags()
	s := p.ask() // the canary's part is in its memory, too
	l.loops = int(s["loops"])
	// The kernel's table of descriptors only grows, by powers of two, and a connection has two.
	l.conns = int(min(s["connections_total"], float64(p.status("FDSize"))/2))
	l.came = int(s["bytes_request"] + s["bytes_response"] + s["bytes_tunnel_in"] + s["bytes_tunnel_out"])
	l.flows = min(2*l.conns, l.came)
	l.stalled = int(min(float64(l.flows), s["read_pauses"]))
	l.outstanding = int(min(s["msg_req"], float64(l.conns*requestsMost)))
	if limited {
		l.addresses = int(min(s["connections_total"], float64(addressesMost+l.conns)))
	}
	return l
}

// isReal says whether the child is what users run: the race detector multiplies a program's memory.
func (p *proxy) isReal() bool {
	exe, _ := os.Readlink(fmt.Sprintf("/proc/%d/exe", p.pid()))
	return p.engine != relay && (!raceEnabled || filepath.Base(exe) == "fooproxy-plain")
}

// remember takes the base line of memory. From here on the kernel keeps the peak (proc_pid_clear_refs(5)).
func (p *proxy) remember() {
	p.t.Helper()
	ok(p.t, os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", p.pid()), []byte("5"), 0))
	p.base, p.files = p.own(), p.status("RssFile")
}

// grown is by how much memory, without pages of files, has grown since the start: now, and at its peak. The kernel's peak is with
// them. They hardly ever become fewer, so that as many as now are the most that there can have been.
func (p *proxy) grown() (now, peak int64) {
	p.t.Helper()
	now = p.own()
	peak = max(now, (p.status("VmHWM")-max(p.files, p.status("RssFile")))<<10)
	return now - p.base, peak - p.base
}

// within wants that memory has never been beyond the formula for l, and that pipes are not now: theirs is in no process's memory.
func (p *proxy) within(what string, l load) {
	p.t.Helper()
	if !p.isReal() {
		return
	}
	most := 0
	if l.pipes {
		most = l.loops * perPipes
	}
	if n, pages := p.pipes(); pages*os.Getpagesize() > most {
		p.t.Errorf("%s: %d pipes can hold %d KiB; the formula allows %d", what, n, pages*os.Getpagesize()>>10, most>>10)
	}
	now, peak := p.grown()
	p.t.Logf("%s: memory has grown by %d KiB, and now is %d, of %d allowed", what, peak>>10, now>>10, l.growth()>>10)
	if peak > l.growth() {
		p.t.Errorf("%s: memory has grown by %d KiB, and now is %d; the formula allows %d for %+v", what, peak>>10, now>>10, l.growth()>>10, l)
	}
}
