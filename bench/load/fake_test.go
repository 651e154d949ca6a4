package load

import (
	"bufio"
	"bytes"
	"errors"
	"net"
	"sync"
	"testing"
	"time"
)

// peer is one connection of a fake server. handle is called for each request line, without its LF, and may write anything.
type peer struct {
	net.Conn
	index int // in the order of arrival
	count int // requests so far, this one included
	fake  *fakeServer
}

// fakeServer is an upstream whose every answer a test decides.
type fakeServer struct {
	listener net.Listener
	handle   func(p *peer, request []byte)
	mu       sync.Mutex
	peers    []*peer
}

// startFake starts a fake server that ends with the test.
func startFake(t *testing.T, handle func(p *peer, request []byte)) *fakeServer {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &fakeServer{listener: listener, handle: handle}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			f.mu.Lock()
			p := &peer{Conn: conn, index: len(f.peers), fake: f}
			f.peers = append(f.peers, p)
			f.mu.Unlock()
			serving.Go(p.serve)
		}
	})
	t.Cleanup(func() {
		listener.Close()
		serving.Wait()
	})
	return f
}

func (f *fakeServer) addr() string { return f.listener.Addr().String() }

// other is a connection that is not p, nil when there is none yet.
func (f *fakeServer) other(p *peer) *peer {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, q := range f.peers {
		if q != p {
			return q
		}
	}
	return nil
}

func (p *peer) serve() {
	defer p.Close()
	in := bufio.NewReaderSize(p, 1<<16)
	for {
		request, err := in.ReadBytes('\n')
		if err != nil {
			return
		}
		p.count++
		p.fake.handle(p, request[:len(request)-1])
	}
}

// ack is the right answer.
func (p *peer) ack(request []byte) { p.put("ACK " + string(seqText(request)) + "\n") }

func (p *peer) put(text string) { _, _ = p.Write([]byte(text)) }

// seqText is the Seq of a request of the generator, which has one blank before and after it.
func seqText(request []byte) []byte { return bytes.Fields(request)[1] }

// plain is a short closed-loop run against addr.
func plain(t *testing.T, addr string) Options {
	t.Helper()
	return Options{Target: addr, Conns: 2, Depth: 4, Messages: 1000, Mix: mix(t, "64"), Timeout: 20 * time.Second, Alone: -1}
}

func mix(t *testing.T, text string) Mix {
	t.Helper()
	m, err := ParseMix(text)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// mustFail runs o and wants a failure of one of the kinds.
func mustFail(t *testing.T, o Options, kinds ...FailureKind) *Failure {
	t.Helper()
	result, err := Run(t.Context(), o)
	var f *Failure
	if !errors.As(err, &f) {
		t.Fatalf("got result %+v and error %v, want a failure of kind %q", result, err, kinds)
	}
	for _, k := range kinds {
		if f.Kind == k {
			return f
		}
	}
	t.Fatalf("got %q (%v), want %q", f.Kind, f, kinds)
	return nil
}

// mustRun runs o and wants no failure.
func mustRun(t *testing.T, o Options) *Result {
	t.Helper()
	r, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}
