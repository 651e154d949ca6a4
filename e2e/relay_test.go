package e2e

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// The naive relay: package net, two goroutines for each connection, no checks. It takes the proxy's --listen and --forward,
// ignores its other flags, and answers SIGUSR1 with what it counted: complete lines by their first three bytes. The value of
// envRelay, when it names one, is a fault that it has on purpose.
type relayState struct {
	fault       string
	types       [3]atomic.Int64 // REQ, ACK, NAK
	connections atomic.Int64
	all         sync.WaitGroup
}

// relayMain is the whole program; it returns its exit code.
func relayMain(args []string) int {
	flags := flag.NewFlagSet("relay", flag.ContinueOnError)
	listen, forward := flags.String("listen", "", ""), flags.String("forward", "", "")
	known := args[:0:0]
	for _, a := range args {
		if strings.HasPrefix(a, "--listen=") || strings.HasPrefix(a, "--forward=") {
			known = append(known, a)
		}
	}
	if err := flags.Parse(known); err != nil {
		return 2
	}
	network, address := split(*listen)
	l, err := net.Listen(network, address)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGUSR1, syscall.SIGTERM)
	signal.Ignore(syscall.SIGHUP, syscall.SIGPIPE)
	state := &relayState{fault: os.Getenv(envRelay)}
	addr := l.Addr().String()
	if l.Addr().Network() == "unix" {
		addr = "unix:" + addr
	}
	fmt.Fprintf(os.Stderr, "level=INFO msg=listening addr=%s\n", addr)
	go state.acceptAll(l, *forward)
	for s := range signals {
		if s == syscall.SIGTERM {
			break
		}
		state.print()
	}
	l.Close()
	if state.fault != faultExit {
		state.all.Wait()
		return 0
	}
	return 1
}

func (s *relayState) print() {
	req, ack, nak := s.types[0].Load(), s.types[1].Load(), s.types[2].Load()
	fmt.Printf("msg_total %d\nmsg_req %d\nmsg_ack %d\nmsg_nak %d\n"+
		"request_rate_1s 0\nrequest_rate_10s 0\nresponse_rate_1s 0\nresponse_rate_10s 0\nconnections %d\nbuffered_bytes 0\nbad 0\n",
		req+ack+nak, req, ack, nak, s.connections.Load())
}

func (s *relayState) acceptAll(l net.Listener, forward string) {
	for {
		c, err := l.Accept()
		if errors.Is(err, syscall.EMFILE) {
			time.Sleep(10 * time.Millisecond)
			continue
		}
		if err != nil {
			return
		}
		s.connections.Add(1)
		s.all.Go(func() {
			defer s.connections.Add(-1)
			defer c.Close()
			if s.fault == faultLeak {
				_, _ = syscall.Open("/dev/null", syscall.O_RDONLY, 0)
			}
			network, address := split(forward)
			u, err := net.Dial(network, address)
			if err != nil {
				return
			}
			defer u.Close()
			_ = together(
				func() error { return errors.Join(asks(c), asks(u)) },
				func() error { return s.relayOne(u.(stream), c.(stream)) },
				func() error { return s.relayOne(c.(stream), u.(stream)) },
			)
		})
	}
}

// The faults that the relay can have on purpose.
const (
	faultDrop      = "drop"       // one byte of a long stream is lost
	faultDouble    = "double"     // one byte of a long stream is sent twice
	faultSwap      = "swap"       // two bytes of a long stream change places
	faultCount     = "count"      // answers are counted twice
	faultNoFIN     = "no FIN"     // FIN is not relayed
	faultRSTAsFIN  = "RST as FIN" // RST is relayed as FIN
	faultEarlyRST  = "early RST"  // RST overtakes the data before it
	faultHoard     = "hoard"      // reads without bound
	faultLeak      = "leak"       // a descriptor stays open for each connection
	faultExit      = "exit"       // TERM does not drain, and the exit code is 1
	faultHoldLines = "hold lines" // forwards whole lines only
	faultCrowd     = "crowd"      // whoever has neighbours waits for them, at each step
)

// crowdStep is longer than any round of a canary that nobody disturbs, and than most of one that the machine does.
const crowdStep = 5 * time.Millisecond

// faults are those that need no measuring to be seen.
var faults = []string{
	faultDrop, faultDouble, faultSwap, faultCount, faultNoFIN, faultRSTAsFIN, faultEarlyRST, faultHoard, faultLeak, faultExit, faultHoldLines,
}

// relayOne moves bytes from src to dst, and then src's kind of end.
func (s *relayState) relayOne(dst, src stream) error {
	out := &sabotaged{dst: dst, fault: s.fault}
	defer out.close()
	var line lineTypes
	buf := make([]byte, 32<<10)
	for {
		n, err := src.Read(buf)
		if s.fault == faultCrowd && s.connections.Load() > 1 {
			time.Sleep(crowdStep)
		}
		line.count(buf[:n], s)
		if werr := out.write(buf[:n]); werr != nil {
			return werr
		}
		switch {
		case errors.Is(err, io.EOF) && s.fault == faultNoFIN:
			return nil
		case errors.Is(err, io.EOF), err != nil && s.fault == faultRSTAsFIN:
			return dst.CloseWrite()
		case err != nil:
			p := &peer{dst, "relay"}
			if s.fault != faultEarlyRST {
				if err := p.delivered(); err != nil {
					return err
				}
			}
			_ = src.Close()
			return p.reset()
		}
	}
}

// lineTypes counts a stream's complete lines by their first three bytes.
type lineTypes struct {
	head [4]byte
	at   int
}

func (l *lineTypes) count(b []byte, s *relayState) {
	for _, c := range b {
		l.head[min(l.at, 3)] = c
		l.at++
		if c != '\n' {
			continue
		}
		if i := strings.Index("REQACKNAK", string(l.head[:3])); i >= 0 && i%3 == 0 && l.at > 3 {
			s.types[i/3].Add(1)
			if s.fault == faultCount && i > 0 {
				s.types[i/3].Add(1)
			}
		}
		l.at = 0
	}
}
