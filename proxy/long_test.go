package proxy

import "testing"

// SpliceAuto is for a processor whose L2 cache is known to be small.
func TestMayPeek(t *testing.T) {
	const small, large = 512 << 10, 1 << 20
	for _, c := range []struct {
		splice string
		l2     int
		want   bool
	}{
		{SpliceAuto, small, true},
		{SpliceAuto, large - 1, true},
		{SpliceAuto, large, false},
		{SpliceAuto, 0, false},
		{SpliceOn, large, true},
		{SpliceOn, 0, true},
		{SpliceOff, small, false},
		{"", small, false},
	} {
		cfg := Config{Splice: c.splice}
		if got := cfg.mayPeek(c.l2); got != c.want {
			t.Errorf("splice %q, %d bytes of L2: %v", c.splice, c.l2, got)
		}
		if here := l2Size(cpuCaches(-1)); cfg.MayPeek() != cfg.mayPeek(here) {
			t.Errorf("splice %q, %d bytes of L2 here: %v", c.splice, here, cfg.MayPeek())
		}
	}
}

// The proxy says where nothing can come of Splice.
func TestSpliceThatCannotBeIsOff(t *testing.T) {
	auto := SpliceOff
	if (&Config{Splice: SpliceAuto}).MayPeek() {
		auto = SpliceAuto
	}
	for _, c := range []struct{ engine, ring, splice, want string }{
		{EngineEpoll, "", SpliceOn, SpliceOn},
		{EngineUring, "", SpliceOn, SpliceOn},
		{EngineUring, "without=defer-taskrun", SpliceOn, SpliceOff},
		{EngineUring, "without=recv-multishot", SpliceOn, SpliceOff},
		{EngineUring, "without=recv-bundle", SpliceOn, SpliceOn},
		{EngineEpoll, "without=defer-taskrun", SpliceOn, SpliceOn},
		{EngineEpoll, "", SpliceAuto, auto},
		{EngineUring, "", "", SpliceOff},
	} {
		r := newLoopRig(t, c.engine, func(cfg *Config) { cfg.Splice, cfg.RingTest, cfg.MaxPipes = c.splice, c.ring, 1 })
		if got := r.proxy.splices(); got != c.want {
			t.Errorf("%+v: it is %q", c, got)
		}
	}
}
