package top

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"

	"fooproxy/admin"
)

const (
	// answerLimit is how long an admin address may take to answer.
	answerLimit = 3 * time.Second
	// statsMost bounds the answer; it has a few hundred bytes for each loop.
	statsMost = 16 << 20
)

// Source is a proxy's admin address.
type Source struct {
	addr   string
	client http.Client
}

// NewSource returns the source at "host:port" or "unix:/path". It does not connect yet.
func NewSource(addr string) *Source {
	network, address := "tcp", addr
	if path, ok := strings.CutPrefix(addr, "unix:"); ok {
		network, address = "unix", path
	}
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, address)
	}
	return &Source{addr: addr, client: http.Client{Timeout: answerLimit, Transport: &http.Transport{DialContext: dial}}}
}

// Stats asks for the figures. The error is one line that says what to do.
func (s *Source) Stats() (*admin.Stats, error) {
	host := s.addr
	if strings.HasPrefix(host, "unix:") {
		host = "localhost"
	}
	answer, err := s.client.Get("http://" + host + "/stats")
	if err != nil {
		return nil, s.explain(err)
	}
	defer answer.Body.Close()
	out := new(admin.Stats)
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s is no admin address of fooproxy: it answers %s", s.addr, answer.Status)
	}
	if err := json.NewDecoder(io.LimitReader(answer.Body, statsMost)).Decode(out); err != nil || out.Engine == "" {
		return nil, fmt.Errorf("%s is no admin address of fooproxy: its answer has no figures", s.addr)
	}
	return out, nil
}

func (s *Source) explain(err error) error {
	why := err
	if inner := errors.Unwrap(err); inner != nil {
		why = inner
	}
	switch {
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ENOENT):
		return fmt.Errorf("nothing listens on %s: start fooproxy with --admin %s, or say where its admin address is: fooproxy top ADDR", s.addr, s.addr)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("%s: %w: only the user that fooproxy runs as, and root, may connect", s.addr, syscall.EACCES)
	}
	return fmt.Errorf("%s does not answer: %w", s.addr, why)
}
