package target

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
)

// listening looks the address up in the kernel's tables of sockets.
func listening(address string) bool {
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		return listeningUnix(path)
	}
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		return false
	}
	// Local address, remote address, state; 0A is TCP_LISTEN.
	suffix := fmt.Appendf(nil, ":%04X", n)
	for _, file := range []string{"tcp", "tcp6"} {
		table, err := socketTable(file)
		if err != nil {
			continue
		}
		for line := range bytes.Lines(table) {
			f := bytes.Fields(line)
			if len(f) >= 4 && bytes.HasSuffix(f[1], suffix) && string(f[3]) == "0A" {
				return true
			}
		}
	}
	return false
}

// listeningUnix looks for a listening socket of that path. HAProxy binds to a temporary name that begins with the path and
// renames the file; the kernel's table keeps the name that was bound.
func listeningUnix(path string) bool {
	if _, err := os.Stat(path); err != nil {
		return false
	}
	table, err := socketTable("unix")
	if err != nil {
		return false
	}
	// Flag 0x10000 is __SO_ACCEPTCON.
	for line := range bytes.Lines(table) {
		f := bytes.Fields(line)
		if len(f) >= 8 && string(f[3]) == "00010000" && bytes.HasPrefix(f[7], []byte(path)) {
			return true
		}
	}
	return false
}

// socketTable reads one of the kernel's tables of sockets, as the children's network has it.
func socketTable(name string) (table []byte, err error) {
	err = onStarter(func() (err error) {
		table, err = os.ReadFile("/proc/thread-self/net/" + name)
		return err
	})
	return table, err
}

// FreePort goes round, from a first port of this process's own, so that two callers at once do not get the same.
var (
	firstPort = rand.Uint32N(1 << 20)
	portsUsed atomic.Uint32
)

// FreePort finds a TCP port of 127.0.0.1 that is not in use and that the kernel does not hand out by itself: below the
// usual range of ephemeral ports.
func FreePort() (int, error) {
	var last error
	for range 100 {
		port := 20000 + int((firstPort+portsUsed.Add(1))%12000)
		last = onStarter(func() error {
			l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
			if err != nil {
				return err
			}
			return l.Close()
		})
		if last == nil {
			return port, nil
		}
	}
	return 0, fmt.Errorf("no free port: %w", last)
}
