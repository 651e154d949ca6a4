package proxy

import (
	"hash/maphash"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"fooproxy/stats"
)

const (
	gateShards = 16
	// gateIdle bounds the addresses without a connection that a shard remembers because they used up some of their rate lately.
	gateIdle = 4096
	// gateLook is how many addresses are looked at when there are too many.
	gateLook = 8
	// gateQuiet is how long after a line about refused connections there is no other.
	gateQuiet = 10 * time.Second
)

// gate bounds what one address may take: connections at once, and new ones per second. All loops share it; they enter it when a
// connection comes or goes, never for a byte. Its memory is bounded by the connections there are and gateIdle: from an address
// sweep that exceeds it the addresses forgotten are any, which then have their whole rate again.
//
// The rate is a bucket of one second's connections, kept as the time at which it is full again.
type gate struct {
	perAddr  int32
	interval int64 // ns that one connection costs, 0 = no limit on the rate
	seed     maphash.Seed
	shards   [gateShards]gateShard
	refused  atomic.Uint64
	alarm    chan netip.Addr // the first address refused since the last report
}

type gateShard struct {
	mu    sync.Mutex
	addrs map[netip.Addr]gateEntry
	idle  int // entries without a connection
}

// gateEntry is one address. It says nothing any more once conns is 0 and full has passed.
type gateEntry struct {
	conns int32
	full  int64 // ns of the loops' clock when the bucket is full
}

// newGate returns nil when there is nothing to bound.
func newGate(cfg *Config) *gate {
	if cfg.MaxConnPerIP == 0 && cfg.RatePerIP == 0 {
		return nil
	}
	g := &gate{perAddr: int32(cfg.MaxConnPerIP), seed: maphash.MakeSeed(), alarm: make(chan netip.Addr, 1)}
	if cfg.RatePerIP > 0 {
		g.interval = int64(time.Second) / int64(cfg.RatePerIP)
	}
	for i := range g.shards {
		g.shards[i].addrs = make(map[netip.Addr]gateEntry)
	}
	return g
}

// gateKey is who is meant by an address: of IPv6 the first 64 bits, since the rest is the client's to choose.
func gateKey(a netip.Addr) netip.Addr {
	if a.Is4() {
		return a
	}
	p, _ := a.WithZone("").Prefix(64)
	return p.Addr()
}

func (g *gate) shard(key netip.Addr) *gateShard {
	return &g.shards[maphash.Comparable(g.seed, key)%gateShards]
}

// enter takes a place for a connection from a, or returns the counter of the reason why not. Unix clients have no address and
// no bound.
func (g *gate) enter(a netip.Addr, now int64) (why stats.Counter, ok bool) {
	if !a.IsValid() {
		return 0, true
	}
	key := gateKey(a)
	h := g.shard(key)
	h.mu.Lock()
	defer h.mu.Unlock()
	e, known := h.addrs[key]
	full := max(e.full, now) + g.interval
	switch {
	case g.perAddr > 0 && e.conns >= g.perAddr:
		g.refuse(key)
		return stats.RefusedConns, false
	case g.interval > 0 && full-now > int64(time.Second):
		g.refuse(key)
		return stats.RefusedRate, false
	case !known && h.idle >= gateIdle:
		h.forget(now)
	case known && e.conns == 0:
		h.idle--
	}
	h.addrs[key] = gateEntry{conns: e.conns + 1, full: full}
	return 0, true
}

// leave gives the place of a connection back.
func (g *gate) leave(a netip.Addr, now int64) {
	if !a.IsValid() {
		return
	}
	key := gateKey(a)
	h := g.shard(key)
	h.mu.Lock()
	defer h.mu.Unlock()
	e := h.addrs[key]
	if e.conns <= 0 {
		panic("more connections of an address end than began")
	}
	switch e.conns--; {
	case e.conns == 0 && e.full <= now:
		delete(h.addrs, key)
		return
	case e.conns == 0:
		h.idle++
	}
	h.addrs[key] = e
}

// forget makes room: of a few addresses, those that say nothing any more, or one that does.
func (h *gateShard) forget(now int64) {
	looked, forgotten := 0, 0
	for key, e := range h.addrs { // from a random one on
		if looked++; looked > gateLook && forgotten > 0 {
			return
		}
		if e.conns == 0 && (e.full <= now || forgotten == 0) {
			delete(h.addrs, key)
			h.idle--
			forgotten++
		}
	}
}

func (g *gate) refuse(key netip.Addr) {
	g.refused.Add(1)
	select {
	case g.alarm <- key:
	default:
	}
}

// report logs refused connections until done: the first at once, and from then on a line for all of gateQuiet together.
func (g *gate) report(log *slog.Logger, done <-chan struct{}) {
	for told := uint64(0); ; {
		select {
		case <-done:
			return
		case key := <-g.alarm:
			n := g.refused.Load()
			log.Warn("connections refused by the limits on one address", "count", n-told, "one_of", key.String())
			told = n
		}
		select {
		case <-done:
			return
		case <-time.After(gateQuiet):
		}
	}
}
