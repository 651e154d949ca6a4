package admin

import (
	"net/http"
	"runtime"

	"golang.org/x/sys/unix"
)

// niceness is that of the threads that answer (nice(2)): on a CPU that a loop is pinned to, the loop comes first as soon as it
// has something to do, and a scrape is not felt. A full CPU still leaves them a tenth.
const niceness = 10

// yielding serves each connection on a thread of its own that yields to the loops. The thread is never given back: only a
// privileged process may raise a priority again, so it ends with the connection's goroutine. There are at most MaxClients.
func yielding(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		runtime.LockOSThread()
		_ = unix.Setpriority(unix.PRIO_PROCESS, 0, niceness) // of this thread; where it is forbidden the loops are disturbed more
		next.ServeHTTP(w, r)
	})
}
