package server

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// patience ends a test that hangs; nothing that works comes near it.
const patience = 60 * time.Second

func start(t *testing.T, o Options) *Server {
	t.Helper()
	if o.Listen == "" {
		o.Listen = "127.0.0.1:0"
	}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(s.Kill)
	return s
}

type client struct {
	net.Conn
	t *testing.T
	r *bufio.Reader
}

func connect(t *testing.T, s *Server) *client {
	t.Helper()
	network, addr := "tcp", s.Addr()
	if path, ok := strings.CutPrefix(addr, "unix:"); ok {
		network, addr = "unix", path
	}
	c, err := net.Dial(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	_ = c.SetDeadline(time.Now().Add(patience))
	t.Cleanup(func() { _ = c.Close() })
	return &client{c, t, bufio.NewReaderSize(c, 64<<10)}
}

func (c *client) send(text string) {
	c.t.Helper()
	if _, err := io.WriteString(c.Conn, text); err != nil {
		c.t.Fatal(err)
	}
}

func (c *client) fin() {
	c.t.Helper()
	if err := c.Conn.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		c.t.Fatal(err)
	}
}

func (c *client) line() string {
	c.t.Helper()
	l, err := c.r.ReadString('\n')
	if err != nil {
		c.t.Fatalf("got %.100q and %v", l, err)
	}
	return l
}

// rest is everything up to the server's FIN.
func (c *client) rest() string {
	c.t.Helper()
	b, err := io.ReadAll(c.r)
	if err != nil {
		c.t.Fatal(err)
	}
	return string(b)
}

// ask sends everything and returns the answer to it, received meanwhile, up to the server's FIN.
func (c *client) ask(text string) string {
	c.t.Helper()
	failed := make(chan error, 1)
	go func() {
		_, err := io.WriteString(c.Conn, text)
		if err == nil {
			err = c.Conn.(interface{ CloseWrite() error }).CloseWrite()
		}
		failed <- err
	}()
	answer := c.rest()
	if err := <-failed; err != nil {
		c.t.Fatal(err)
	}
	return answer
}

func same(t *testing.T, got, want string) {
	t.Helper()
	if got == want {
		return
	}
	i := 0
	for i < len(got) && i < len(want) && got[i] == want[i] {
		i++
	}
	from := max(0, i-20)
	t.Fatalf("%d bytes instead of %d, other from byte %d on:\n got …%.80q\nwant …%.80q", len(got), len(want), i, got[from:], want[from:])
}

func requests(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "REQ %d hello %d\n", i, i*i)
	}
	return b.String()
}

// await waits for a condition.
func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not reached: %s", what)
		}
	}
}
