package e2e

import (
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"
)

// survivorsLimit is how long those that nobody has cut may take after the last fault; judged in thorough runs.
const survivorsLimit = 5 * time.Second

// perform plays a script on every subject.
func (s *script) perform(t *testing.T) {
	subjects := engines
	if !slices.Contains(subjects, relay) {
		subjects = append([]string{relay}, subjects...)
	}
	for _, subject := range subjects {
		t.Run(subject, func(t *testing.T) {
			t.Parallel()
			s.performOn(t, subject)
		})
	}
}

// stage is where a script is played on one subject.
type stage struct {
	*script
	t       *testing.T
	subject string
	network *network // nil: that of this process
	p       *proxy
	u       *upstream // away when nil
	addr    string    // of the upstream, wherever it is
	log     string    // path, "" = the subject writes none
	acts    []*act
	began   time.Time
	lift    chan struct{} // closed when the faults are over
	lifted  time.Time
	visits  sync.WaitGroup // clients that are faults
	active  []scriptFault  // those that go on for a while
	nofile  uint64         // descriptors that the subject may have when there is no shortage
}

func (s *script) performOn(t *testing.T, subject string) {
	g := &stage{script: s, t: t, subject: subject, lift: make(chan struct{})}
	g.open()
	for i := range s.Conns {
		a := newAct(g, i, &s.Conns[i])
		g.acts = append(g.acts, a)
		if a.At > 0 {
			continue
		}
		ok(t, a.enters())
		_, err := a.meets(g.u.accept(), "")
		ok(t, err)
	}
	g.u.serve(g.receives)
	g.began = time.Now()
	played := make(chan error, 1)
	go func() {
		played <- forAll(len(g.acts), func(i int) error {
			if g.acts[i].At == 0 {
				go g.acts[i].serves(nil)
			}
			return g.acts[i].play()
		})
	}()
	ok(t, g.inflict())
	g.lifted = time.Now()
	close(g.lift)
	ok(t, <-played)
	if took := time.Since(g.lifted); thorough && took > survivorsLimit {
		t.Errorf("%v after the last fault they have finished, at most %v is wanted", took, survivorsLimit)
	}
	g.visits.Wait()
	g.p.quiet()
	g.p.reaches(stats{"connections": 0})
	s.spliced.Add(int64(g.p.ask()["spliced_bytes"]))
	g.judge()
}

// open starts the upstream and the subject, in a network of their own if packets are to be lost.
func (g *stage) open() {
	flags := slices.Clone(g.Flags)
	for i, flag := range flags {
		if flag == flagLog && g.subject != relay {
			g.log = filepath.Join(g.t.TempDir(), "log")
			flags[i] = "--log=" + g.log
		}
	}
	if slices.ContainsFunc(g.Faults, func(f scriptFault) bool { return f.Kind == faultLoss }) {
		g.network = newNetwork(g.t)
	}
	ok(g.t, g.away(func() error {
		g.addr = closedPort(g.t) // so that nobody takes it while the upstream is gone
		return nil
	}))
	ok(g.t, g.arrives())
	start := func() error {
		g.p = launch(g.t, g.subject, g.addr, flags)
		return nil
	}
	if g.network == nil {
		ok(g.t, start())
	} else {
		ok(g.t, g.network.do(start)) // the child ends with the thread that started it
	}
	g.t.Cleanup(g.p.check)
}

// away runs f where the script is played.
func (g *stage) away(f func() error) error {
	if g.network == nil {
		return f()
	}
	return g.network.visit(f)
}

// dial connects a client to the subject.
func (g *stage) dial(rcvbuf int) (c *peer, err error) {
	err = g.away(func() error {
		c, err = connect(g.p.addr, rcvbuf)
		return err
	})
	return c, err
}

// arrives has the upstream listen.
func (g *stage) arrives() error {
	return g.away(func() error {
		l, err := net.Listen("tcp", g.addr)
		if err != nil {
			return err
		}
		g.t.Cleanup(func() { l.Close() })
		g.u = &upstream{t: g.t, l: l, addr: g.addr}
		return nil
	})
}

// receives is the server of clients that come amid the faults: those of the script, whose names it reads, and those that are
// faults.
func (g *stage) receives(s *peer) {
	var head []byte
	for c := make([]byte, 1); len(head) < 1000 && !late.Match(head); {
		s.soon()
		if _, err := s.Read(c); err != nil {
			break
		}
		head = append(head, c...)
	}
	if m := late.FindSubmatch(head); m != nil {
		conn, _ := strconv.Atoi(string(m[1]))
		if in, err := g.acts[conn].meets(s, string(head)); in {
			g.acts[conn].serves(err)
			return
		}
	}
	_, _, _ = s.rest()
	s.Close()
}
