package relay

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
)

// Goroutines relays every connection to listen on to forward with two goroutines, until ctx ends. Addresses are "host:port"
// or "unix:/path".
func Goroutines(ctx context.Context, listen, forward string) error {
	network, address := split(listen)
	listener, err := net.Listen(network, address)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { listener.Close() })
	defer stop()
	for {
		client, err := listener.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if errors.Is(err, net.ErrClosed) {
			return err
		}
		if err != nil {
			continue // a connection that was gone before it was accepted
		}
		go relayOne(client, forward)
	}
}

func relayOne(client net.Conn, forward string) {
	defer client.Close()
	network, address := split(forward)
	server, err := net.Dial(network, address)
	if err != nil {
		return
	}
	defer server.Close()
	var both sync.WaitGroup
	both.Go(func() { pipe(server, client) })
	both.Go(func() { pipe(client, server) })
	both.Wait()
}

// pipe copies until from ends and passes the end on.
func pipe(to, from net.Conn) {
	_, err := io.Copy(to, from)
	if half, ok := to.(interface{ CloseWrite() error }); ok && err == nil {
		half.CloseWrite()
		return
	}
	to.Close()
	from.Close()
}

func split(text string) (network, address string) {
	if path, ok := strings.CutPrefix(text, "unix:"); ok {
		return "unix", path
	}
	return "tcp", text
}
