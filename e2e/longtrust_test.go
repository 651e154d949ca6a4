package e2e

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Who is trusted with --splice: what was inspected may be changed by its sender before it is forwarded (docs/zerocopy.md), so by
// default only what root or the proxy's own user sends goes on within the kernel, as far as the kernel knows who does.

// Users that the tests have, of whom only root has any rights.
const (
	root  = 0
	alice = 1<<30 + 1
	bob   = 1<<30 + 2
)

// elsewhere is an address of the namespace's that is no loopback address.
const elsewhere = "192.0.2.1"

// trustRow is a proxy, its peers, and who of them is trusted.
type trustRow struct {
	way             string
	proxy           int // as whom it runs
	listen, forward string
	from            string // the client's address
	client, server  int    // as whom they run
	trusted         string // whose long Data goes on within the kernel: "client", "server", "both", "nobody"
}

const local = "127.0.0.1:0"

var trustRows = []trustRow{
	{"off", root, local, local, "127.0.0.1", root, root, "nobody"},
	{"off", root, "unix:", "unix:", "", root, root, "nobody"},
	{"on", root, local, local, "127.0.0.1", alice, bob, "both"},
	{"on", alice, elsewhere + ":0", elsewhere + ":0", elsewhere, bob, bob, "both"},
	{"on", root, "unix:", "unix:", "", alice, root, "both"},

	{"auto", root, local, local, "127.0.0.1", root, root, "both"},
	{"auto", root, "0.0.0.0:0", local, "127.0.0.77", root, root, "both"},
	{"auto", root, "[::]:0", local, "127.0.0.1", root, root, "both"},
	{"auto", root, "[::1]:0", "[::1]:0", "::1", root, root, "both"},
	{"auto", root, "unix:", local, "", root, root, "both"},
	{"auto", alice, local, local, "127.0.0.1", alice, root, "both"},
	{"auto", root, local, local, "127.0.0.1", alice, root, "server"},
	{"auto", root, local, local, "127.0.0.1", root, bob, "client"},
	{"auto", alice, local, local, "127.0.0.1", bob, alice, "server"},
	{"auto", alice, local, local, "127.0.0.1", bob, bob, "nobody"},
	{"auto", root, "[::1]:0", "[::1]:0", "::1", bob, bob, "nobody"},
	{"auto", root, "unix:", local, "", alice, bob, "nobody"},
	{"auto", root, "0.0.0.0:0", local, elsewhere, root, root, "server"},
	{"auto", root, "[::]:0", local, elsewhere, root, root, "server"},
	{"auto", root, local, elsewhere + ":0", "127.0.0.1", root, root, "client"},
	{"auto", root, local, "unix:", "127.0.0.1", root, bob, "client"}, // root listens there, but it is bob who accepts
}

func TestSpliceOnlyWhereTrusted(t *testing.T) {
	pays := smallL2(t)
	eachEngine(t, func(t *testing.T, engine string) {
		can := maySplice(engine)
		n := newNetwork(t)
		ok(t, n.addAddress(elsewhere))
		for _, row := range trustRows {
			p, c, s := row.meet(t, n, engine)
			const lines, size = 4, 1 << 20
			if way, off := row.way, " splice=off\n"; strings.Contains(p.errors(), off) != (!can || way == "off" || way == "auto" && !pays) {
				t.Errorf("%+v: can is %v, and the proxy says:\n%s", row, can, p.errors())
			}
			said := p.stats()["spliced_bytes"]
			spliced := func(who string) {
				before := said
				said = p.stats()["spliced_bytes"]
				want := can && (row.trusted == who || row.trusted == "both") && (row.way != "auto" || pays)
				if (said > before) != want {
					t.Errorf("%+v: %v bytes of the %s's are spliced", row, said-before, who)
				}
			}
			ok(t, together(
				func() error { return c.sendAll(requests(1, lines, size)) },
				func() error { return s.expect(requests(1, lines, size)) },
			))
			spliced("client")
			ok(t, together(
				func() error { return s.sendAll(acks(1, lines, size)) },
				func() error { return c.expect(acks(1, lines, size)) },
			))
			spliced("server")
			finish(t, c, s)
		}
	})
}

// meet starts the row's proxy in the namespace, and has its client and its server come.
func (row trustRow) meet(t *testing.T, n *network, engine string) (p *proxy, c, s *peer) {
	t.Helper()
	ok(t, n.do(func() error {
		u := listenUpstream(t, socketAt(t, row.forward))
		path, args, opts := command(engine)
		args = append(args, "--listen="+socketAt(t, row.listen), "--forward="+u.addr, "--splice="+row.way, oneLoop)
		if row.proxy != root {
			args = append([]string{fmt.Sprint("--reuid=", row.proxy), "--clear-groups", path}, args...)
			path = "setpriv"
		}
		p = listens(t, engine, startProcess(t, path, args, opts...))
		if file, isUnix := strings.CutPrefix(p.addr, "unix:"); isUnix {
			ok(t, os.Chmod(file, 0o777))
		}
		as(t, row.client, func() { c = dialFrom(t, row.from, p.addr) })
		as(t, row.server, func() { s = u.accept() })
		return nil
	}))
	t.Cleanup(p.check)
	return p, c, s
}

// as does something on a thread whose user is uid: sockets that it makes are that user's.
func as(t testing.TB, uid int, do func()) {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	become := func(uid int) error {
		_, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, ^uintptr(0), uintptr(uid), ^uintptr(0))
		if errno == 0 {
			return nil
		}
		return os.NewSyscallError("setresuid", errno)
	}
	ok(t, become(uid))
	defer func() {
		if err := become(root); err != nil {
			panic(err)
		}
	}()
	do()
}

// socketAt is an address, with a path if it is that of a unix socket.
func socketAt(t testing.TB, addr string) string {
	if addr == "unix:" {
		return addr + unixPath(t, "s")
	}
	return addr
}

// dialFrom connects a client from an address of its own, to whatever port there the proxy listens on.
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
	indexes, err := filepath.Glob("/sys/devices/system/cpu/cpu0/cache/index*")
	ok(t, err)
	for _, index := range indexes {
		level, kind := strings.TrimSpace(readFile(t, index+"/level")), strings.TrimSpace(readFile(t, index+"/type"))
		size, err := os.ReadFile(index + "/size")
		if level == "2" && kind != "Instruction" && err == nil {
			kib, err := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(string(size)), "K"))
			return err == nil && 0 < kib && kib < 1<<10
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
