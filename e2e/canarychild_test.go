package e2e

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// The descriptors that a canary process inherits: both ends of one proxied connection.
const (
	canaryClient = 3
	canaryServer = 4
	canaryRest   = time.Millisecond // between two rounds while nobody measures
)

// canaryMain is the whole canary process. It plays rounds for as long as its standard input is open, slowly, and without a
// pause for as many nanoseconds as each line of it says; then it writes a line of
// rounds, median, p99, p99.9 and longest. It ends by
// FIN both ways and says what it did in all. One thread with blocking calls: nothing of the Go scheduler is in its times.
func canaryMain(limit time.Duration) int {
	runtime.LockOSThread()
	timeout := unix.NsecToTimeval(int64(limit))
	for _, fd := range []int{canaryClient, canaryServer} {
		_ = unix.SetNonblock(fd, false)
		_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout)
		_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &timeout)
	}
	orders := make(chan time.Duration)
	go func() {
		defer close(orders)
		for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
			ns, _ := strconv.ParseInt(lines.Text(), 10, 64)
			orders <- time.Duration(ns)
		}
	}()
	s := &song{worst: make([]time.Duration, 0, 1<<20)}
	if err := s.play(orders); err != nil {
		fmt.Fprintf(os.Stderr, "round %d: %v\n", s.round, err)
		return 1
	}
	fmt.Printf("%d rounds, longest %v\n", s.round, s.longest)
	return 0
}

// song is a canary's rounds so far.
type song struct {
	round   int
	longest time.Duration
	worst   []time.Duration // of the current order
	request []byte
	answer  []byte
	got     [256]byte
}

func (s *song) play(orders <-chan time.Duration) error {
	for {
		select {
		case span, more := <-orders:
			if !more {
				return s.end()
			}
			if err := s.fly(span); err != nil {
				return err
			}
		default:
			if _, err := s.once(); err != nil {
				return err
			}
			time.Sleep(canaryRest)
		}
	}
}

func (s *song) fly(span time.Duration) error {
	s.worst = s.worst[:0]
	for began := time.Now(); len(s.worst) < 3 || time.Since(began) < span; {
		took, err := s.once()
		if err != nil {
			return err
		}
		s.worst = append(s.worst, took)
	}
	slices.Sort(s.worst)
	n := len(s.worst)
	fmt.Println(n, int64(s.worst[n/2]), int64(s.worst[n*99/100]), int64(s.worst[n*999/1000]), int64(s.worst[n-1]))
	return nil
}

// once is one round: a request through the proxy and its answer back.
func (s *song) once() (time.Duration, error) {
	s.request = appendMessage(s.request[:0], "REQ", 777_000, s.round, 20)
	s.answer = append(append(s.answer[:0], "ACK"...), s.request[3:]...)
	s.round++
	began := time.Now()
	if err := s.carry(canaryClient, canaryServer, s.request); err != nil {
		return 0, err
	}
	if err := s.carry(canaryServer, canaryClient, s.answer); err != nil {
		return 0, err
	}
	took := time.Since(began)
	s.longest = max(s.longest, took)
	return took, nil
}

// carry sends m into one end and wants it out of the other.
func (s *song) carry(from, to int, m []byte) error {
	if n, err := retry(func() (int, error) { return unix.Write(from, m) }); n != len(m) {
		return fmt.Errorf("%d of %d bytes sent: %w", n, len(m), err)
	}
	for have := 0; have < len(m); {
		n, err := retry(func() (int, error) { return unix.Read(to, s.got[have:len(m)]) })
		if n <= 0 {
			return fmt.Errorf("%q has come of %q: end or %w", s.got[:have], m, err)
		}
		have += n
		if !bytes.Equal(s.got[:have], m[:have]) {
			return fmt.Errorf("%q has come instead of %q", s.got[:have], m)
		}
	}
	return nil
}

func retry(call func() (int, error)) (n int, err error) {
	for {
		if n, err = call(); err != unix.EINTR {
			return n, err
		}
	}
}

// end relays a FIN each way.
func (s *song) end() error {
	for _, way := range [][2]int{{canaryClient, canaryServer}, {canaryServer, canaryClient}} {
		if err := unix.Shutdown(way[0], unix.SHUT_WR); err != nil {
			return fmt.Errorf("shutdown: %w", err)
		}
		if n, err := retry(func() (int, error) { return unix.Read(way[1], s.got[:]) }); n != 0 {
			return fmt.Errorf("%d bytes instead of FIN: %w", n, err)
		}
	}
	return nil
}
