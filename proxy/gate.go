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
	gateShardBits = 4
	gateShards    = 1 << gateShardBits
	// gateIdle bounds the addresses without a connection that a shard remembers because they used up some of their rate lately.
	gateIdle = 4096
	// gateLook is how many addresses are looked at when there are too many.
	gateLook = 8
	// gateQuiet is how long after a line about refused connections there is no other.
	gateQuiet = 10 * time.Second
)

// gate bounds what one address may take: connections at once, and new ones per second. All loops share it; they enter it when a
// connection comes or goes, never for a byte. Its memory is bounded by the connections there are and gateIdle: in an address
// sweep that exceeds it some are forgotten, mostly those that came first, which then have their whole rate again.
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
	addrs addrTable
	idle  int // entries without a connection
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
		g.shards[i].addrs = newAddrTable(g.seed)
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

func (g *gate) shard(key addrKey) *gateShard {
	return &g.shards[maphash.Comparable(g.seed, key)%gateShards]
}

// enter takes a place for a connection from a, or returns the counter of the reason why not. Unix clients have no address and
// no bound.
func (g *gate) enter(a netip.Addr, now int64) (why stats.Counter, ok bool) {
	if !a.IsValid() {
		return 0, true
	}
	who := gateKey(a)
	key := addrKey(who.As16())
	h := g.shard(key)
	h.mu.Lock()
	defer h.mu.Unlock()
	e := h.addrs.find(key)
	full := now + g.interval
	if e != nil {
		full = max(e.full, now) + g.interval
	}
	switch {
	case g.perAddr > 0 && e != nil && e.conns >= g.perAddr:
		g.refuse(who)
		return stats.RefusedConns, false
	case g.interval > 0 && full-now > int64(time.Second):
		g.refuse(who)
		return stats.RefusedRate, false
	case e == nil:
		if h.idle >= gateIdle {
			h.forget(now)
		}
		e = h.addrs.add(key)
	case e.conns == 0:
		h.idle--
	}
	e.conns++
	e.full = full
	return 0, true
}

// leave gives the place of a connection back.
func (g *gate) leave(a netip.Addr, now int64) {
	if !a.IsValid() {
		return
	}
	key := addrKey(gateKey(a).As16())
	h := g.shard(key)
	h.mu.Lock()
	defer h.mu.Unlock()
	e := h.addrs.find(key)
	if e == nil || e.conns <= 0 {
		panic("more connections of an address end than began")
	}
	switch e.conns--; {
	case e.conns == 0 && e.full <= now:
		h.addrs.remove(key)
	case e.conns == 0:
		h.idle++
	}
}

// forget makes room: of a few addresses, those that say nothing any more, or one that does.
func (h *gateShard) forget(now int64) {
	for looked, forgotten := 0, 0; looked < gateLook || forgotten == 0; looked++ {
		if e := h.addrs.look(); e.conns == 0 && (e.full <= now || forgotten == 0) {
			h.addrs.remove(e.key)
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
