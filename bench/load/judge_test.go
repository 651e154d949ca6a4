package load

import (
	"bytes"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A generator that believes a broken target is worse than none: each way to be wrong must end the run and be named.
func TestBrokenTargetsAreFound(t *testing.T) {
	const at = 100 // the request of a connection that is treated wrongly
	for _, test := range []struct {
		name   string
		handle func(p *peer, request []byte)
		change func(o *Options)
		kinds  []FailureKind
	}{
		{
			name: "lost", kinds: []FailureKind{Late},
			handle: func(p *peer, request []byte) {
				if p.count != at {
					p.ack(request)
				}
			},
			change: func(o *Options) { o.Timeout = 300 * time.Millisecond },
		},
		{
			name: "doubled", kinds: []FailureKind{Doubled},
			handle: func(p *peer, request []byte) {
				p.ack(request)
				if p.count == at {
					p.ack(request)
				}
			},
		},
		{
			name: "doubled after the last answer", kinds: []FailureKind{Doubled},
			handle: func(p *peer, request []byte) {
				p.ack(request)
				if p.count == at {
					p.ack(request)
				}
			},
			change: func(o *Options) { o.Conns, o.Messages = 1, at },
		},
		{
			name: "wrong seq", kinds: []FailureKind{Unknown, Doubled, WrongConn},
			handle: func(p *peer, request []byte) {
				if p.count == at {
					request = bytes.Replace(request, seqText(request), []byte("7777777"), 1)
				}
				p.ack(request)
			},
		},
		{
			name: "seq of the future", kinds: []FailureKind{Unknown},
			handle: func(p *peer, request []byte) {
				if p.count == at {
					request = []byte("REQ 8888888")
				}
				p.ack(request)
			},
			change: func(o *Options) { o.Conns = 1 },
		},
		{
			name: "on the wrong connection", kinds: []FailureKind{WrongConn},
			handle: func(p *peer, request []byte) {
				if other := p.fake.other(p); p.count > at && other != nil {
					p = other
				}
				p.ack(request)
			},
		},
		{
			name: "not an answer", kinds: []FailureKind{Malformed},
			handle: func(p *peer, request []byte) {
				if p.count == at {
					p.put("OK " + string(seqText(request)) + "\n")
					return
				}
				p.ack(request)
			},
		},
		{
			name: "a request as an answer", kinds: []FailureKind{Malformed},
			handle: func(p *peer, request []byte) { p.put(string(request) + "\n") },
		},
		{
			name: "ends in the middle of the run", kinds: []FailureKind{Closed},
			handle: func(p *peer, request []byte) {
				if p.count == at {
					p.Close()
					return
				}
				p.ack(request)
			},
		},
		{
			name: "resets in the middle of the run", kinds: []FailureKind{Closed},
			handle: func(p *peer, request []byte) {
				if p.count == at {
					_ = p.Conn.(*net.TCPConn).SetLinger(0)
					p.Close()
					return
				}
				p.ack(request)
			},
		},
		{
			name: "ends in the middle of the last answer", kinds: []FailureKind{Closed, Malformed},
			handle: func(p *peer, request []byte) {
				p.ack(request)
				if p.count == at {
					p.put("ACK 1")
					p.Close()
				}
			},
			change: func(o *Options) { o.Conns, o.Messages = 1, at },
		},
		{
			name: "changes the data", kinds: []FailureKind{WrongData},
			handle: func(p *peer, request []byte) {
				answer := append([]byte("ACK"), request[3:]...)
				if p.count == at {
					answer[len(answer)-1] ^= 1
				}
				p.put(string(answer) + "\n")
			},
			change: func(o *Options) { o.Verify = true },
		},
		{
			name: "cuts the data", kinds: []FailureKind{WrongData},
			handle: func(p *peer, request []byte) {
				answer := append([]byte("ACK"), request[3:]...)
				if p.count == at {
					answer = answer[:len(answer)-1]
				}
				p.put(string(answer) + "\n")
			},
			change: func(o *Options) { o.Verify = true },
		},
		{
			name: "never ends a churned connection", kinds: []FailureKind{Late},
			handle: func(p *peer, request []byte) {
				p.ack(request)
				hold, err := p.Conn.(*net.TCPConn).File() // a second descriptor keeps the connection when serve closes its own
				if err != nil {
					panic(err)
				}
				held = append(held, hold)
			},
			change: func(o *Options) { o.Churn, o.Conns, o.Depth, o.Timeout = 1, 1, 1, 300*time.Millisecond },
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := startFake(t, test.handle)
			o := plain(t, f.addr())
			if test.change != nil {
				test.change(&o)
			}
			failure := mustFail(t, o, test.kinds...)
			if failure.Text == "" || failure.Conn < 0 {
				t.Fatalf("the failure does not say what and where: %+v", failure)
			}
		})
		for _, file := range held {
			file.Close()
		}
		held = nil
	}
}

// held keeps connections open that a fake server must not end.
var held []*os.File

// Every answer is looked up by itself, also while requests before and after it are outstanding.
func TestSettle(t *testing.T) {
	for _, test := range []struct {
		name  string
		slot  int32    // the connection that the answers arrive on
		seqs  []uint64 // answers in a row; all but the last are right
		wrong FailureKind
	}{
		{"in order", 1, []uint64{0<<1 | 1, 1<<1 | 1, 2<<1 | 1}, ""},
		{"any order", 1, []uint64{2<<1 | 1, 0<<1 | 1, 1<<1 | 1}, ""},
		{"doubled, all before answered", 1, []uint64{0<<1 | 1, 0<<1 | 1}, Doubled},
		{"doubled, one before outstanding", 1, []uint64{1<<1 | 1, 1<<1 | 1}, Doubled},
		{"not sent yet", 1, []uint64{3<<1 | 1}, Unknown},
		{"far beyond", 1, []uint64{1<<62 | 1}, Unknown},
		{"another connection's", 1, []uint64{1 << 1}, WrongConn},
		{"another connection's, not sent", 1, []uint64{5 << 1}, Unknown},
	} {
		m, err := ParseMix("16")
		if err != nil {
			t.Fatal(err)
		}
		l, err := newLoop(&Options{Conns: 2, Depth: 4, Threads: 1, Mix: m}, 0, nil)
		if err != nil {
			t.Fatal(err)
		}
		l.poll.Close()
		for i := range l.conns {
			for range 3 {
				l.conns[i].enqueue(16, 0)
				l.conns[i].at(l.conns[i].sent).sent = 1
				l.conns[i].sent++
			}
		}
		for i, seq := range test.seqs {
			err := l.settle(&l.conns[test.slot], head{seq: seq}, 2)
			var f *Failure
			switch last := i == len(test.seqs)-1; {
			case !last || test.wrong == "":
				if err != nil {
					t.Errorf("%s: answer %d: %v", test.name, i, err)
				}
			case !errors.As(err, &f) || f.Kind != test.wrong:
				t.Errorf("%s: %v, want %q", test.name, err, test.wrong)
			}
		}
	}
}

func TestRefused(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := listener.Addr().String()
	listener.Close()
	mustFail(t, plain(t, addr), Refused)
	mustFail(t, plain(t, "unix:"+filepath.Join(t.TempDir(), "nobody")), Refused)
}

// The built-in upstream is a judge as well: what reaches it must be requests.
func TestUpstreamRefusesWhatIsNoRequest(t *testing.T) {
	upstream := unixAddr(t)
	f := startFake(t, func(p *peer, request []byte) {
		behind, err := net.Dial("unix", strings.TrimPrefix(upstream, "unix:"))
		if err != nil {
			return
		}
		defer behind.Close()
		_, _ = behind.Write(append([]byte("QER"), request[3:]...))
		_, _ = behind.Read(make([]byte, 1))
	})
	o := plain(t, f.addr())
	o.Respond = upstream
	mustFail(t, o, WrongAsked)
}

func TestMeasuredProcessGone(t *testing.T) {
	o := self(t)
	o.PIDs = []int{1 << 30}
	if f := mustFail(t, o, TargetEnded); !strings.Contains(f.Error(), "gone") {
		t.Fatal(f)
	}
}

func TestFailureIsAnError(t *testing.T) {
	f := &Failure{Doubled, 3, "a second answer to seq 7"}
	if got := f.Error(); got != "connection 3: a second answer to seq 7" {
		t.Fatal(got)
	}
	if errors.Is(f, unix.EPIPE) {
		t.Fatal("a failure is no errno")
	}
}
