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
)

// The naive relay: package net, two goroutines for each connection, no checks. It takes the proxy's --listen and --forward,
// ignores its other flags, and answers SIGUSR1 with what it counted: complete lines by their first three bytes.
type relayState struct {
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
	state := &relayState{}
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
	state.all.Wait()
	return 0
}

func (s *relayState) print() {
	req, ack, nak := s.types[0].Load(), s.types[1].Load(), s.types[2].Load()
	fmt.Printf("msg_total %d\nmsg_req %d\nmsg_ack %d\nmsg_nak %d\n"+
		"request_rate_1s 0\nrequest_rate_10s 0\nresponse_rate_1s 0\nresponse_rate_10s 0\nconnections %d\nbuffered 0\nbad 0\n",
		req+ack+nak, req, ack, nak, s.connections.Load())
}

func (s *relayState) acceptAll(l net.Listener, forward string) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		s.connections.Add(1)
		s.all.Go(func() {
			defer s.connections.Add(-1)
			defer c.Close()
			network, address := split(forward)
			u, err := net.Dial(network, address)
			if err != nil {
				return
			}
			defer u.Close()
			_ = together(
				func() error { return s.relayOne(u.(stream), c.(stream)) },
				func() error { return s.relayOne(c.(stream), u.(stream)) },
			)
		})
	}
}

// relayOne moves bytes from src to dst, and then src's kind of end.
func (s *relayState) relayOne(dst, src stream) error {
	buf, at := make([]byte, 32<<10), 0
	var typ [4]byte // of the line being read
	for {
		n, err := src.Read(buf)
		if _, werr := dst.Write(buf[:n]); werr != nil {
			return werr
		}
		for _, b := range buf[:n] {
			typ[min(at, 3)] = b
			at++
			if b == '\n' {
				if i := strings.Index("REQACKNAK", string(typ[:3])); i >= 0 && at > 3 {
					s.types[i/3].Add(1)
				}
				at = 0
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return dst.CloseWrite()
		case err != nil:
			p := &peer{dst, "relay"}
			if err := p.delivered(); err != nil {
				return err
			}
			_ = src.Close()
			return p.reset()
		}
	}
}
