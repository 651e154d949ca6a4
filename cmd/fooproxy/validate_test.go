package main

import (
	"net/netip"
	"testing"
)

func TestSameEndpoint(t *testing.T) {
	local := []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")}
	for _, c := range []struct {
		listen, forward string
		same            bool
	}{
		{":8001", "127.0.0.1:8001", true},
		{":8001", "127.0.0.1:8000", false},
		{"0.0.0.0:8001", "127.0.0.9:8001", true},
		{"[::]:8001", "[::1]:8001", true},
		{":8001", "192.0.2.1:8001", true},
		{":8001", "[2001:db8::1]:8001", true},
		{":8001", "192.0.2.2:8001", false},
		{"127.0.0.1:8001", "127.0.0.1:8001", true},
		{"127.0.0.1:8001", "[::ffff:127.0.0.1]:8001", true},
		{"127.0.0.1:8001", "127.0.0.2:8001", false},
		{"192.0.2.1:8001", "127.0.0.1:8001", false},
		{":8001", "0.0.0.0:8001", true},
		{":0", "127.0.0.1:8001", false},
		{"unix:/a", "unix:/a", true},
		{"unix:/a", "unix:/b", false},
		{"unix:/a", "127.0.0.1:8001", false},
		{":8001", "unix:/a", false},
	} {
		if got := sameEndpoint(c.listen, c.forward, local); got != c.same {
			t.Errorf("listen %s, forward %s: %v", c.listen, c.forward, got)
		}
	}
}

func TestIsPrivate(t *testing.T) {
	for addr, want := range map[string]bool{
		"127.0.0.1:1": true, "127.9.9.9:1": true, "[::1]:1": true, "localhost:1": true,
		"0.0.0.0:1": false, "[::]:1": false, "192.0.2.1:1": false, "example:1": false, "unix:/x": true,
	} {
		if got := isPrivate(addr); got != want {
			t.Errorf("%s: %v", addr, got)
		}
	}
}

func TestResolveKeepsWhatIsNoName(t *testing.T) {
	for _, addr := range []string{":1", "127.0.0.1:1", "[::1]:1", "[fe80::1%lo]:1", "unix:/localhost"} {
		if got, err := resolveAddr(t.Context(), "--listen", addr); err != nil || got != addr {
			t.Errorf("%s: %s, %v", addr, got, err)
		}
	}
	if got, err := resolveAddr(t.Context(), "--forward", "localhost:7"); err != nil || got != "127.0.0.1:7" {
		t.Errorf("localhost: %s, %v", got, err)
	}
}
