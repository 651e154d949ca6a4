package e2e

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// The descriptors that a canary process inherits: both ends of one proxied connection.
const (
	canaryClient = 3
	canaryServer = 4
)

const (
	canaryRest  = 4 * time.Millisecond // between two rounds while nobody measures
	canaryLeast = 3                    // rounds of a flight
)

// What a canary process can be told, a line each; any other is two numbers of nanoseconds: for how long to
// fly, and from one round of that to the next.
const (
	orderHush = "hush" // play no more rounds; the answer is how many it were
	orderSing = "sing" // go on, without an answer
)

// canaryMain is the whole canary process. It plays rounds for as long as its standard input is open, slowly, and does as the
// lines of that tell it. It ends by FIN both ways and says how many rounds it were and how long the longest took. One thread with
// blocking calls: nothing of the Go scheduler is in its times.
func canaryMain(limit time.Duration) int {
	runtime.LockOSThread()
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
	timeout := unix.NsecToTimeval(int64(limit))
	for _, fd := range []int{canaryClient, canaryServer} {
		_ = unix.SetNonblock(fd, false)
		_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout)
		_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &timeout)
	}
	orders := make(chan string)
	go func() {
		defer close(orders)
		for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
			orders <- lines.Text()
		}
	}()
	s := &song{took: make([]time.Duration, 0, 1<<16)}
	if err := s.play(orders); err != nil {
		fmt.Fprintf(os.Stderr, "round %d: %v\n", s.round, err)
		return 1
	}
	fmt.Println(s.round, int64(s.longest))
	return 0
}

// song is a canary's rounds so far.
type song struct {
	round   int
	longest time.Duration
	took    []time.Duration // of the current flight
	request []byte
	answer  []byte
	got     [256]byte
}

func (s *song) play(orders <-chan string) error {
	rest := time.After(canaryRest)
	for {
		var err error
		select {
		case order, more := <-orders:
			switch {
			case !more:
				return s.end()
			case order == orderHush:
				rest = nil
				fmt.Println(s.round)
				continue
			case order == orderSing:
				_, err = s.once(time.Now())
			default:
				var span, period time.Duration
				if _, err = fmt.Sscan(order, &span, &period); err == nil {
					err = s.fly(span, period)
				}
			}
		case <-rest:
			_, err = s.once(time.Now())
		}
		if err != nil {
			return err
		}
		rest = time.After(canaryRest)
	}
}

// fly plays rounds by a timetable and writes how many, and their median, p99, p99.9 and longest. A round begins when it is due or,
// if that is later, when the one before it has ended, and is measured from when it was due: a stall is in the time of every round
// that was due in it. A canary that oversleeps moves the timetable: that is not the proxy's doing.
func (s *song) fly(span, period time.Duration) error {
	s.took = s.took[:0]
	due := time.Now()
	for end := due.Add(span); len(s.took) < canaryLeast || due.Before(end); due = due.Add(period) {
		if early := time.Until(due); early > 0 {
			nap := unix.NsecToTimespec(int64(early))
			_ = unix.Nanosleep(&nap, &nap) // may be cut short by a signal of the Go runtime: the timetable moves
			due = time.Now()
		}
		took, err := s.once(due)
		if err != nil {
			return err
		}
		s.took = append(s.took, took)
	}
	slices.Sort(s.took)
	n := len(s.took)
	fmt.Println(n, int64(s.took[n/2]), int64(s.took[n*99/100]), int64(s.took[n*999/1000]), int64(s.took[n-1]))
	return nil
}

// once is one round: a request through the proxy and its answer back. It returns the time since it was due.
func (s *song) once(due time.Time) (time.Duration, error) {
	s.request = appendMessage(s.request[:0], "REQ", 777_000, s.round, 20)
	s.answer = append(append(s.answer[:0], "ACK"...), s.request[3:]...)
	s.round++
	if err := s.carry(canaryClient, canaryServer, s.request); err != nil {
		return 0, err
	}
	if err := s.carry(canaryServer, canaryClient, s.answer); err != nil {
		return 0, err
	}
	took := time.Since(due)
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
