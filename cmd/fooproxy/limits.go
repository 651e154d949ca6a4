package main

import (
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// maxConnMost caps maxconn where the descriptor limit is no limit in practice.
const maxConnMost = 1 << 20

// A session has two descriptors, its client's and its server's.
const descriptorsPerSession = 2

// Descriptors that are not connections. The process: standard streams 3, the runtime's poller 2, request log 2 (the new one
// is open before the old one goes), admin listener and clients 17, short-lived files 8. Each loop: listener, poller or
// ring, wake-up, and one in the kernel's hands while it is accepted or connected, doubled.
const (
	descriptorsProcess = 32
	descriptorsPerLoop = 8
)

// A loop's tunnels may have pipesMost pipes for bytes that a slow side has not taken yet, two descriptors each, but no more than
// an eighth of all descriptors.
const (
	pipesMost          = 256
	descriptorsPerPipe = 2
	pipesShare         = 8
)

// limitOrigin is where a maxconn comes from that nobody set.
const limitOrigin = "the descriptor limit"

// raiseDescriptors raises the soft limit of descriptors to the hard one and returns what then holds. The Go runtime does the
// first by itself today, but only as a side effect that it does not promise.
func raiseDescriptors() (uint64, error) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 0, fmt.Errorf("cannot read the descriptor limit: %w", err)
	}
	limit.Cur = limit.Max
	// Failing leaves the soft limit, which is then read back and worked with.
	_ = unix.Setrlimit(unix.RLIMIT_NOFILE, &limit)
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 0, fmt.Errorf("cannot read the descriptor limit: %w", err)
	}
	return limit.Cur, nil
}

// maxConnFor returns how many connections the descriptors allow, at most maxConnMost.
func maxConnFor(descriptors uint64, loops int) int {
	reserve := uint64(descriptorsProcess + descriptorsPerLoop*loops)
	if descriptors <= reserve {
		return 0
	}
	return int(min((descriptors-reserve)/descriptorsPerSession, maxConnMost))
}

// pipesFor returns how many pipes each loop may have: fewer where they are for long Data only, which seldom stays in one.
func (o *options) pipesFor(descriptors uint64, loops int) int {
	most := int(min(descriptors/pipesShare/descriptorsPerPipe/uint64(loops), pipesMost))
	switch {
	case o.cfg.MayTunnel():
		return most
	case o.cfg.MayPeek():
		return most / 4
	}
	return 0
}

// limit settles maxconn by the descriptor limit.
func (o *options) limit(log *slog.Logger) error {
	descriptors, err := raiseDescriptors()
	if err != nil {
		return err
	}
	loops := o.cfg.Loops
	if loops == 0 {
		loops = runtime.NumCPU()
	}
	o.cfg.MaxPipes = o.pipesFor(descriptors, loops)
	most := maxConnFor(descriptors-uint64(descriptorsPerPipe*loops*o.cfg.MaxPipes), loops)
	setting := o.setting("maxconn")
	switch asked := o.cfg.MaxConn; {
	case most == 0:
		return fmt.Errorf("the limit of %d descriptors leaves none for connections; raise it (ulimit -n, LimitNOFILE=)", descriptors)
	case asked == 0:
		o.cfg.MaxConn = most
		setting.from.where = limitOrigin
	case asked > most:
		log.Warn("maxconn lowered to what the descriptor limit allows; raise it with ulimit -n or LimitNOFILE=",
			"asked", asked, "maxconn", most, "descriptors", descriptors)
		o.cfg.MaxConn = most
		setting.from.where = limitOrigin
	}
	return nil
}

// warnBacklog says when the kernel will not give the backlog asked for.
func (o *options) warnBacklog(log *slog.Logger) {
	text, err := os.ReadFile("/proc/sys/net/core/somaxconn")
	if err != nil {
		return
	}
	if most, err := strconv.Atoi(strings.TrimSpace(string(text))); err == nil && o.cfg.Backlog > most {
		log.Warn("the kernel cuts backlog to net.core.somaxconn; raise it with sysctl", "asked", o.cfg.Backlog, "backlog", most)
	}
}
