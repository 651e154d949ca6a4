package proxy

import (
	"bytes"
	"encoding/binary"
	"hash/maphash"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"fooproxy/stats"
)

var addrA, addrB = netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")

func (g *gate) known() (entries, idle int) {
	for i := range g.shards {
		entries += g.shards[i].addrs.used
		idle += g.shards[i].idle
	}
	return entries, idle
}

func TestGateCountsConnectionsByAddress(t *testing.T) {
	g := newGate(&Config{MaxConnPerIP: 2})
	for range 2 {
		if _, ok := g.enter(addrA, 0); !ok {
			t.Fatal("refused below the limit")
		}
	}
	if why, ok := g.enter(addrA, 0); ok || why != stats.RefusedConns {
		t.Errorf("the third is let in (%v), or refused for %v", ok, why)
	}
	if _, ok := g.enter(addrB, 0); !ok {
		t.Error("another address is refused")
	}
	g.leave(addrA, 0)
	if _, ok := g.enter(addrA, 0); !ok {
		t.Error("refused after one has left")
	}
	for _, a := range []netip.Addr{addrA, addrA, addrB} {
		g.leave(a, 0)
	}
	if n, _ := g.known(); n != 0 {
		t.Errorf("%d addresses are remembered for nothing", n)
	}
	expectPanic(t, "one too many leaves", func() { g.leave(addrA, 0) })
}

func TestGateLimitsTheRate(t *testing.T) {
	g := newGate(&Config{RatePerIP: 10})
	now := testStart
	come := func(a netip.Addr, n int) (in int) {
		for range n {
			if why, ok := g.enter(a, now); ok {
				in++
				g.leave(a, now)
			} else if why != stats.RefusedRate {
				t.Errorf("refused for %v", why)
			}
		}
		return in
	}
	if n := come(addrA, 30); n != 10 {
		t.Errorf("%d of 30 at once come in, want 10", n)
	}
	if n := come(addrB, 1); n != 1 {
		t.Error("another address is refused")
	}
	now += second / 2
	if n := come(addrA, 30); n != 5 { // what was refused costs nothing
		t.Errorf("%d of 30 come in half a second later, want 5", n)
	}
	now += 10 * second
	if n := come(addrA, 30); n != 10 {
		t.Errorf("%d of 30 come in long after, want 10", n)
	}
}

// An IPv6 client has 2^64 addresses to choose from.
func TestGateTakesAnIPv6NetworkForOneAddress(t *testing.T) {
	g := newGate(&Config{MaxConnPerIP: 1})
	for _, c := range []struct {
		addr string
		ok   bool
	}{
		{"2001:db8::1", true},
		{"2001:db8::ffff:1", false},
		{"2001:db8::1%eth0", false},
		{"2001:db8:0:1::1", true},
		{"192.0.2.1", true},
		{"192.0.2.1", false},
	} {
		if _, ok := g.enter(netip.MustParseAddr(c.addr), 0); ok != c.ok {
			t.Errorf("%s: %v, want %v", c.addr, ok, c.ok)
		}
	}
	for range 3 {
		if _, ok := g.enter(netip.Addr{}, 0); !ok {
			t.Error("a unix client is refused")
		}
	}
}

// A sweep over more addresses than are remembered leaves memory bounded, and what has connections exact.
func TestGateIsBounded(t *testing.T) {
	g := newGate(&Config{MaxConnPerIP: 1, RatePerIP: 1})
	if _, ok := g.enter(addrA, 0); !ok {
		t.Fatal("refused")
	}
	for i := range uint32(4 * gateShards * gateIdle) {
		a := netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, 10<<24+i)))
		if _, ok := g.enter(a, 0); ok {
			g.leave(a, 0)
		}
		if entries, idle := g.known(); i%1000 == 0 && (entries > gateShards*gateIdle+1 || idle != entries-1) {
			t.Fatalf("%d addresses are remembered, %d said to be idle", entries, idle)
		}
	}
	if entries, _ := g.known(); entries < gateShards*gateIdle*9/10 {
		t.Errorf("only %d addresses are remembered", entries)
	}
	memory := 0
	for i := range g.shards {
		h := &g.shards[i].addrs
		memory += cap(h.entries)*int(unsafe.Sizeof(gateEntry{})) + cap(h.heads)*4
	}
	if most := gateShards * gateIdle * 64; memory > most {
		t.Errorf("they take %d bytes, want at most %d", memory, most)
	}
	if why, ok := g.enter(addrA, 10*second); ok || why != stats.RefusedConns {
		t.Error("the connection of an address was forgotten")
	}
}

// The table of addresses against a map: a few addresses come and go, more at once as it goes on, and then fewer.
func TestAddrTableAgainstAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		table, model := newAddrTable(maphash.MakeSeed()), map[addrKey]int32{}
		most := 0
		for i := range rapid.IntRange(1, 400).Draw(t, "steps") {
			key := addrKey{byte(rapid.IntRange(0, 99).Draw(t, "address"))}
			e := table.find(key)
			if n, known := model[key]; known != (e != nil) || known && (e.key != key || e.conns != n) {
				t.Fatalf("found %v, want %d (%v)", e, n, known)
			}
			if e == nil {
				table.add(key).conns = int32(i)
				model[key] = int32(i)
			} else {
				table.remove(key)
				delete(model, key)
			}
			most = max(most, len(model))
			if table.used != len(model) || len(table.entries) != most || len(table.heads) < most {
				t.Fatalf("%d of %d entries and %d lists for %d addresses, at most %d", table.used, len(table.entries), len(table.heads), len(model), most)
			}
		}
		for range table.entries {
			if e := table.look(); e.conns >= 0 {
				delete(model, e.key)
				table.remove(e.key)
			}
		}
		if len(model) != 0 || table.used != 0 {
			t.Errorf("a look around leaves %d of %d", table.used, len(model))
		}
	})
}

// Against a naive model: lists of times and counts.
func TestGateAgainstItsModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		perAddr, rate := rapid.IntRange(0, 3).Draw(t, "conns"), rapid.IntRange(0, 5).Draw(t, "rate")
		if perAddr+rate == 0 {
			rate = 1
		}
		g := newGate(&Config{MaxConnPerIP: perAddr, RatePerIP: rate})
		conns, tokens, at := map[netip.Addr]int{}, map[netip.Addr]int64{}, map[netip.Addr]int64{}
		now := testStart
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			a := []netip.Addr{addrA, addrB}[rapid.IntRange(0, 1).Draw(t, "address")]
			switch rapid.IntRange(0, 2).Draw(t, "step") {
			case 0:
				now += int64(rapid.IntRange(0, 400).Draw(t, "ms")) * 1e6
			case 1:
				if conns[a] > 0 {
					conns[a]--
					g.leave(a, now)
				}
			default: // tokens are in units of 1/(rate*1e9)
				if _, known := tokens[a]; !known {
					tokens[a] = second
				}
				cost := int64(0)
				if rate > 0 {
					cost = second / int64(rate)
				}
				tokens[a] = min(second, tokens[a]+now-at[a])
				at[a] = now
				want := (perAddr == 0 || conns[a] < perAddr) && tokens[a] >= cost
				if _, ok := g.enter(a, now); ok != want {
					t.Fatalf("let in: %v, want %v (%d connections, %d ns of tokens, one costs %d)", ok, want, conns[a], tokens[a], cost)
				}
				if want {
					conns[a]++
					tokens[a] -= cost
				}
			}
		}
	})
}

// The first refusal is reported at once, what follows once in a while, with how many there were.
func TestGateReportsSparingly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(&Config{MaxConnPerIP: 1})
		var out bytes.Buffer
		done := make(chan struct{})
		ended := make(chan struct{})
		go func() {
			g.report(slog.New(slog.NewTextHandler(&out, nil)), done)
			close(ended)
		}()
		_, _ = g.enter(addrA, 0)
		for range 1000 {
			_, _ = g.enter(addrA, 0)
			time.Sleep(26 * time.Millisecond) // 26 s in all
		}
		close(done)
		<-ended
		text := out.String()
		if strings.Count(text, "\n") != 3 || !strings.Contains(text, "count=1 one_of=192.0.2.1\n") || !strings.Contains(text, "count=384 ") || !strings.Contains(text, "count=385 ") {
			t.Errorf("reported:\n%s", text)
		}
	})
}

// What a refused client sees, and what remains of it.
func TestLoopRefusesByAddress(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		r := newLoopRig(t, engine, func(cfg *Config) { cfg.MaxConnPerIP = 1 })
		p := r.open()
		second := r.dial()
		r.until("reset", func() bool {
			_, errno := recv(second, make([]byte, 1))
			return errno == unix.ECONNRESET
		})
		r.expect(map[stats.Counter]uint64{stats.Accepted: 1, stats.RefusedConns: 1, stats.RefusedRate: 0})
		if n := r.core.conns.Load(); n != 1 {
			t.Errorf("%d connections are counted for maxconn", n)
		}
		r.hangUp(p[client], false)
		r.hangUp(p[server], false)
		r.gone()
		p = r.open()
		r.move(p, client, []byte("REQ 1\n"), make([]byte, 6))
	})
}

func TestLoopRefusesByRate(t *testing.T) {
	eachEngine(t, func(t *testing.T, engine string) {
		r := newLoopRig(t, engine, func(cfg *Config) { cfg.RatePerIP = 2 })
		start := stats.Now()
		_, _ = r.open(), r.open()
		late := r.dial()
		refused := false
		r.until("verdict", func() bool {
			_, errno := recv(late, make([]byte, 1))
			refused = errno == unix.ECONNRESET
			return refused || r.accepted() >= 0
		})
		if quick := stats.Now()-start < second/2; quick && !refused {
			t.Error("the third connection of a moment is let in")
		}
	})
}
