package load

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"
)

// What the script gives to the kernel is the requests one after the other, however little the socket takes each time and in
// whatever order the answers come.
func TestScriptLosesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m, err := ParseMix("5000")
		if err != nil {
			t.Fatal(err)
		}
		l, err := newLoop(&Options{Conns: 3, Depth: 4, Threads: 1, Mix: m, Alone: -1, SendFile: true}, 0, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer l.close()
		c := &l.conns[rapid.IntRange(0, 2).Draw(t, "slot")]
		var got bytes.Buffer
		for done := 0; done < 40; {
			l.feed0(c)
			if c.sent < c.queued && l.script.has(c, c.sent) {
				at, offered := l.script.gather(l, c, c.queued, 1)
				n := rapid.IntRange(0, offered).Draw(t, "taken")
				got.Write(l.script.bytes[at:][:n])
				l.account(c, n)
			}
			// Of what has left whole, any may be answered.
			for n := c.oldest; n < c.sent; n++ {
				if c.at(n).sent != 0 && rapid.Bool().Draw(t, "answered") {
					if err := l.settle(c, head{seq: l.seqOf(c, n)}, 2); err != nil {
						t.Fatal(err)
					}
					done++
				}
			}
		}
		number := uint64(0)
		for line := range bytes.Lines(got.Bytes()) {
			if line[len(line)-1] != '\n' {
				break // the last one has not left whole
			}
			h, n, _, ok := parseHead(append([]byte("ACK"), line[3:]...))
			if len(line) != 5000 || !ok || h.seq != l.seqOf(c, number) || line[n] != ' ' {
				t.Fatalf("request %d: %d bytes, %s", number, len(line), excerpt(line))
			}
			number++
		}
		if number != c.sent {
			t.Fatalf("%d requests, %d sent", number, c.sent)
		}
	})
}

// feed0 fills the depth of a connection whose target has no socket.
func (l *loop) feed0(c *conn) {
	l.budget = 1 << 20
	l.feed(c)
}

// between is a target in this process that relays requests through change and answers as they are.
func between(t *testing.T, upstream string, change func(count int, request []byte) []byte) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer client.Close()
				server, err := net.Dial("tcp", upstream)
				if err != nil {
					return
				}
				defer server.Close()
				var back sync.WaitGroup
				back.Go(func() {
					_, _ = io.Copy(client, server)
					_ = client.(*net.TCPConn).CloseWrite()
				})
				in := bufio.NewReaderSize(client, 1<<16)
				for count := 1; ; count++ {
					request, err := in.ReadBytes('\n')
					if err != nil {
						break
					}
					_, _ = server.Write(change(count, request))
				}
				_ = server.(*net.TCPConn).CloseWrite()
				back.Wait()
			})
		}
	})
	t.Cleanup(func() {
		listener.Close()
		serving.Wait()
	})
	return listener.Addr().String()
}

// bulk is a run whose requests come from the script and whose upstream skims.
func bulk(t *testing.T, change func(count int, request []byte) []byte) Options {
	t.Helper()
	o := self(t)
	o.Respond = freePort(t)
	o.Target = between(t, o.Respond, change)
	o.Conns, o.Messages, o.Mix, o.SendFile = 2, 400, mix(t, "16384"), true
	return o
}

func TestSkimmingCounts(t *testing.T) {
	var mu sync.Mutex
	seen, bytesSeen := 0, 0
	r := mustRun(t, bulk(t, func(_ int, request []byte) []byte {
		mu.Lock()
		defer mu.Unlock()
		seen++
		bytesSeen += len(request)
		return request
	}))
	if r.Answers != 400 || seen != 400 || bytesSeen != 400*16384 {
		t.Errorf("%d answers to %d requests of %d bytes", r.Answers, seen, bytesSeen)
	}
}

// Heads and lengths are checked of every request, the data of one in wholeEach.
func TestSkimmingFindsBrokenTargets(t *testing.T) {
	const at = 100
	only := func(wanted int, do func(request []byte) []byte) func(int, []byte) []byte {
		return func(count int, request []byte) []byte {
			if count == wanted {
				return do(request)
			}
			return request
		}
	}
	for name, test := range map[string]struct {
		change func(int, []byte) []byte
		want   string
	}{
		"a byte lost": {only(at, func(b []byte) []byte { return append(b[:5000], b[5001:]...) }), "should end"},
		"a byte more": {only(at, func(b []byte) []byte { return append(b[:5000:5000], b[4999:]...) }), "should end"},
		"another seq": {only(at, func(b []byte) []byte { return append([]byte("REQ 9999999999 "), b[15:]...) }), "request"},
		"other data in a request read whole": {only(2*wholeEach, func(b []byte) []byte {
			b[9000] ^= 1
			return b
		}), "other data"},
		"other data behind the head": {only(at, func(b []byte) []byte { b[40] ^= 1; return b }), "other data"},
		"no request":                 {only(at, func(b []byte) []byte { b[0] = 'r'; return b }), "none of the generator's"},
	} {
		t.Run(name, func(t *testing.T) {
			f := mustFail(t, bulk(t, test.change), WrongAsked, Unknown, Doubled, WrongConn)
			if !strings.Contains(f.Text, test.want) {
				t.Errorf("%v, want %q", f, test.want)
			}
		})
	}
}

// Data that is compared with the answer's, small or mixed sizes, and what the caches cannot hold are not sent by sendfile.
func TestWhatHasAScript(t *testing.T) {
	for name, test := range map[string]struct {
		sizes  string
		change func(o *Options)
		want   bool
	}{
		"bulk":          {"16384", func(*Options) {}, true},
		"verified":      {"16384", func(o *Options) { o.Verify, o.Echo = true, true }, false},
		"small":         {"4096", func(*Options) {}, false},
		"mixed":         {"16384,16385", func(*Options) {}, false},
		"large":         {"1048576", func(o *Options) { o.Depth = 2 }, false},
		"without depth": {"16384", func(o *Options) { o.Conns, o.Depth, o.Rate = 1, 0, 1000 }, false},
	} {
		o := self(t)
		o.Conns, o.Depth, o.Mix = 8, 16, mix(t, test.sizes)
		test.change(&o)
		if err := o.Check(); err != nil {
			t.Errorf("%s, copied: %v", name, err)
		}
		if s, err := newScript(&o, o.Conns); s != nil || err != nil {
			t.Errorf("%s, copied: a script: %v, %v", name, s != nil, err)
		}
		o.SendFile = true
		if err := o.Check(); (err == nil) != test.want {
			t.Errorf("%s: %v", name, err)
		}
		if !test.want {
			continue
		}
		s, err := newScript(&o, o.Conns)
		if s == nil || err != nil {
			t.Errorf("%s: a script: %v, %v", name, s != nil, err)
		}
		s.close()
	}
}
