package e2e

import (
	"fmt"
	"testing"
)

// canary is a healthy connection that plays one request and answer after the other beside a fault. It needs an upstream that
// serves echo on the canary's connection.
type canary struct {
	t      testing.TB
	peer   *peer
	stop   chan struct{}
	rounds chan int64 // how many round trips so far, whoever wants to know
	result chan error
}

// newCanary connects a canary and returns after its first answers. The upstream must serve.
func newCanary(t testing.TB, p *proxy) *canary {
	t.Helper()
	return singOn(t, p.dial())
}

// singOn makes a canary of a connection.
func singOn(t testing.TB, c *peer) *canary {
	t.Helper()
	k := &canary{t: t, peer: c, stop: make(chan struct{}), rounds: make(chan int64), result: make(chan error, 1)}
	k.peer.name = "canary"
	go func() { k.result <- k.sing() }()
	k.live()
	return k
}

// sing plays rounds until it is stopped. A wait of the suite's limit in any of them is an error.
func (k *canary) sing() error {
	for i := int64(0); ; i++ {
		m := appendMessage(nil, "REQ", 777_000, int(i), 20)
		if err := k.peer.send(m); err != nil {
			return fmt.Errorf("round %d: %w", i, err)
		}
		if err := k.peer.expect(answersTo(m)); err != nil {
			return fmt.Errorf("round %d: %w", i, err)
		}
		select {
		case <-k.stop:
			return nil
		case k.rounds <- i:
		default:
		}
	}
}

// live wants more rounds than one to complete from now on.
func (k *canary) live() {
	k.t.Helper()
	for range 3 {
		select {
		case <-k.rounds:
		case err := <-k.result:
			k.t.Fatalf("the canary: %v", err)
		}
	}
}

// check wants the canary to be alive and every answer to have been right, and ends it.
func (k *canary) check() {
	k.t.Helper()
	k.live()
	close(k.stop)
	ok(k.t, <-k.result)
	k.peer.Close()
}
