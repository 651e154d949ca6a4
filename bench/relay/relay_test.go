package relay

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"fooproxy/bench/load"
)

var kinds = map[string]func(ctx context.Context, listen, forward string) error{"go": Goroutines, "poll": Poll}

func address(t *testing.T, unix bool) string {
	t.Helper()
	if unix {
		dir, err := os.MkdirTemp("", "fb")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.RemoveAll(dir) })
		return "unix:" + filepath.Join(dir, "s")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// start runs a relay until the test ends, and waits until it takes connections.
func start(t *testing.T, kind, listen, forward string) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := kinds[kind](ctx, listen, forward); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
	})
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	for ctx.Err() == nil {
		network, address := split(listen)
		conn, err := net.Dial(network, address)
		if err == nil {
			conn.Close()
			return
		}
	}
}

// Under the generator every answer is checked, so a relay that loses or mixes anything fails here.
func TestRelaysAreExact(t *testing.T) {
	for kind := range kinds {
		for _, unix := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/unix=%v", kind, unix), func(t *testing.T) {
				listen, forward := address(t, unix), address(t, unix)
				start(t, kind, listen, forward)
				for _, o := range []load.Options{
					{Conns: 10, Depth: 20, Messages: 5000},
					{Conns: 8, Depth: 1, Messages: 400, Churn: 2},
				} {
					mix, err := load.ParseMix("16:5,3000:3,200000:0.2")
					if err != nil {
						t.Fatal(err)
					}
					o.Target, o.Respond, o.Mix, o.Echo, o.Verify, o.Alone = listen, forward, mix, true, true, -1
					o.Timeout = 20 * time.Second
					r, err := load.Run(t.Context(), o)
					if err != nil {
						t.Fatal(err)
					}
					if r.Answers != o.Messages || r.Unended != 0 {
						t.Fatalf("%d of %d answers, %d connections not ended", r.Answers, o.Messages, r.Unended)
					}
				}
			})
		}
	}
}

// A client that ends first still gets all that the server has to say.
func TestHalfClose(t *testing.T) {
	answer := make([]byte, 3<<20)
	for i := range answer {
		answer[i] = byte(rand.Uint32())
	}
	for kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			server, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			var serving sync.WaitGroup
			defer serving.Wait()
			defer server.Close()
			serving.Go(func() {
				for {
					conn, err := server.Accept()
					if err != nil {
						return
					}
					question, _ := io.ReadAll(conn)
					if string(question) == "tell me" {
						_, _ = conn.Write(answer)
					}
					conn.Close()
				}
			})
			listen := address(t, false)
			start(t, kind, listen, server.Addr().String())
			client, err := net.Dial("tcp", listen)
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			if _, err := io.Copy(client, strings.NewReader("tell me")); err != nil {
				t.Fatal(err)
			}
			if err := client.(*net.TCPConn).CloseWrite(); err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(client)
			if err != nil || !bytes.Equal(got, answer) {
				t.Fatalf("%d bytes that may differ from the %d sent, %v", len(got), len(answer), err)
			}
		})
	}
}

// A relay of one process must not stop for a server that is not there.
func TestUpstreamRefuses(t *testing.T) {
	for kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			listen := address(t, false)
			start(t, kind, listen, address(t, false))
			for range 3 {
				client, err := net.Dial("tcp", listen)
				if err != nil {
					t.Fatal(err)
				}
				if n, err := client.Read(make([]byte, 1)); n != 0 || err == nil {
					t.Fatalf("read %d bytes, %v", n, err)
				}
				client.Close()
			}
		})
	}
}
