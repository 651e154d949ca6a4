package e2e

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// Who trusts whom with --splice: what was inspected may be changed by its sender before it is forwarded (docs/zerocopy.md), so by
// default it is done only between loopback addresses.

const elsewhere = "192.0.2.1" // an address of the namespace's that is not a loopback address

// The ways of --splice, and which sessions' long Data goes on within the kernel.
func TestSpliceOnlyWhereTrusted(t *testing.T) {
	const never, always = 0, 1
	pays := never
	if smallL2(t) {
		pays = always
	}
	rows := []struct {
		way, listen, from, forward string
		want                       int
	}{
		{"off", "127.0.0.1:0", "127.0.0.1", "127.0.0.1:0", never},
		{"off", elsewhere + ":0", elsewhere, elsewhere + ":0", never},
		{"on", "127.0.0.1:0", "127.0.0.1", "127.0.0.1:0", always},
		{"on", elsewhere + ":0", elsewhere, "127.0.0.1:0", always},
		{"on", "127.0.0.1:0", "127.0.0.1", elsewhere + ":0", always},
		{"on", "unix:", "", "127.0.0.1:0", always},
		{"on", "127.0.0.1:0", "127.0.0.1", "unix:", always},
		{"auto", "127.0.0.1:0", "127.0.0.1", "127.0.0.1:0", pays},
		{"auto", "0.0.0.0:0", "127.0.0.77", "127.0.0.1:0", pays},
		{"auto", "[::1]:0", "::1", "[::1]:0", pays},
		{"auto", "0.0.0.0:0", elsewhere, "127.0.0.1:0", never},
		{"auto", "[::]:0", elsewhere, "127.0.0.1:0", never},
		{"auto", elsewhere + ":0", elsewhere, "127.0.0.1:0", never},
		{"auto", "127.0.0.1:0", "127.0.0.1", elsewhere + ":0", never},
		{"auto", "127.0.0.1:0", "127.0.0.1", "unix:", never},
		{"auto", "unix:", "", "127.0.0.1:0", never},
		{"auto", "unix:", "", "unix:", never},
	}
	eachEngine(t, func(t *testing.T, engine string) {
		n := newNetwork(t)
		ok(t, n.addAddress(elsewhere))
		for _, row := range rows {
			what := fmt.Sprintf("--splice=%s, listening on %s, a client from %q, forwarding to %s", row.way, row.listen, row.from, row.forward)
			var p *proxy
			var c, s *peer
			ok(t, n.do(func() error {
				u := listenUpstream(t, socketAt(t, row.forward))
				p = launch(t, engine, u.addr, []string{"--listen=" + socketAt(t, row.listen), "--splice=" + row.way, oneLoop})
				c = dialFrom(t, row.from, p.addr)
				s = u.accept()
				return nil
			}))
			t.Cleanup(p.check)
			const lines, size = 4, 1 << 20
			ok(t, together(
				func() error { return c.sendAll(requests(1, lines, size)) },
				func() error { return s.expect(requests(1, lines, size)) },
				func() error { return s.sendAll(acks(1, lines, size)) },
				func() error { return c.expect(acks(1, lines, size)) },
			))
			if got := p.stats()["spliced_bytes"]; (got > 0) != (row.want == always) {
				t.Errorf("%s: %v bytes are spliced", what, got)
			}
			finish(t, c, s)
		}
	})
}

// socketAt is an address, with a path if it is that of a unix socket.
func socketAt(t testing.TB, addr string) string {
	if addr == "unix:" {
		return addr + unixPath(t, "s")
	}
	return addr
}

// dialFrom connects a client from an address of its own to whatever port of it the proxy listens on.
func dialFrom(t testing.TB, ip, addr string) *peer {
	t.Helper()
	if ip == "" {
		return dial(t, addr, 0)
	}
	_, port, err := net.SplitHostPort(addr)
	ok(t, err)
	d := net.Dialer{Timeout: limit, LocalAddr: &net.TCPAddr{IP: net.ParseIP(ip)}}
	c, err := d.Dial("tcp", net.JoinHostPort(ip, port))
	ok(t, err)
	return newPeer(t, c, "client")
}

// smallL2 says whether the processor's L2 cache is known to be smaller than 1 MiB, which is where splicing pays.
func smallL2(t testing.TB) bool {
	t.Helper()
	const cache = "/sys/devices/system/cpu/cpu0/cache"
	indexes, err := filepath.Glob(cache + "/index*")
	ok(t, err)
	for _, index := range indexes {
		level, kind := strings.TrimSpace(readFile(t, index+"/level")), strings.TrimSpace(readFile(t, index+"/type"))
		text, err := os.ReadFile(index + "/size")
		if level == "2" && kind != "Instruction" && err == nil {
			kib, err := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(string(text)), "K"))
			return err == nil && kib > 0 && kib < 1<<10
		}
	}
	return false
}

// addAddress adds an address to the loopback device of the namespace.
func (n *network) addAddress(ip string) error {
	return n.do(func() error {
		out, err := exec.Command("ip", "address", "add", ip+"/32", "dev", "lo").CombinedOutput()
		if err != nil {
			return fmt.Errorf("ip address add: %w\n%s", err, out)
		}
		return nil
	})
}
