package proxy

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// A holder is who keeps a TCP port from being bound.
type holder struct {
	pid     int    // 0 = no process that lives
	name    string // of the process
	certain bool   // every process could be looked at, so nobody else has it
}

// portHolder finds out who listens on a TCP port: the sockets of /proc/net/tcp, looked for among the descriptors of all processes.
// A process that was killed is none of them any more, though the kernel may hold its listener a while longer: an accept that
// was in flight in a ring of io_uring has it until the ring has been cleared away.
func portHolder(port uint16) holder {
	sockets := map[string]bool{}
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		listenersOf(table, port, sockets)
	}
	links, err := filepath.Glob("/proc/[0-9]*/fd")
	h := holder{certain: err == nil && len(sockets) > 0}
	for _, dir := range links {
		entries, err := os.ReadDir(dir)
		if errors.Is(err, fs.ErrPermission) {
			h.certain = false
		}
		for _, e := range entries {
			target, _ := os.Readlink(filepath.Join(dir, e.Name()))
			if !sockets[target] {
				continue
			}
			process := filepath.Dir(dir)
			_, _ = fmt.Sscan(filepath.Base(process), &h.pid)
			name, _ := os.ReadFile(filepath.Join(process, "comm"))
			h.name = strings.TrimSpace(string(name))
			return h
		}
	}
	return h
}

// listenersOf adds the listeners of a port, as links of descriptors name them, from a table like /proc/net/tcp, proc_net_tcp(5).
func listenersOf(table string, port uint16, into map[string]bool) {
	const listening = "0A" // TCP_LISTEN
	f, err := os.Open(table)
	if err != nil {
		return
	}
	defer f.Close()
	suffix := fmt.Sprintf(":%04X", port)
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if w := strings.Fields(lines.Text()); len(w) > 9 && w[3] == listening && strings.HasSuffix(w[1], suffix) {
			into["socket:["+w[9]+"]"] = true
		}
	}
}
