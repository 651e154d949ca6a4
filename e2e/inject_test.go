package e2e

import (
	"cmp"
	"path/filepath"
	"strings"
	"testing"
)

// traced starts the subject under strace, which makes system calls fail as the injections say. With -D the tracer is a
// grandchild, so that the child is the proxy itself. Only errors are injected: a made-up success would lose data. The trace says
// what was injected.
func traced(t *testing.T, engine, forward, injection, trace string, flags ...string) *proxy {
	t.Helper()
	path, args, opts := command(engine)
	return listens(t, engine, startTraced(t, injection, trace, append([]string{path}, append(args,
		append([]string{"--listen=127.0.0.1:0", "--forward=" + forward}, flags...)...)...), opts...))
}

func startTraced(t *testing.T, injection, trace string, command []string, opts ...option) *process {
	t.Helper()
	call, _, _ := strings.Cut(injection, ":")
	args := []string{"-D", "-f", "-qqq", "-o", trace, "-e", "trace=" + call, "-e", "inject=" + injection}
	return startProcess(t, "strace", append(args, command...), opts...)
}

// System calls that fail for a moment, as kernels make them fail: nothing is lost, doubled or stuck.
func TestSystemCallsFail(t *testing.T) {
	for _, row := range []struct{ engine, name, inject, flag string }{
		{"epoll", "epoll_pwait interrupted", "epoll_pwait:error=EINTR:when=2+2", ""},
		{"epoll", "receive interrupted", "recvfrom:error=EINTR:when=2+2", ""},
		{"epoll", "send interrupted", "sendto,sendmsg:error=EINTR:when=2+2", ""},
		{"epoll", "accept interrupted", "accept4:error=EINTR:when=1+2", ""},
		{"epoll", "accept finds the client gone", "accept4:error=ECONNABORTED:when=1+2", ""},
		{"epoll", "accept finds no memory", "accept4:error=ENOBUFS:when=1+3", ""},
		{"epoll", "accept finds a firewall", "accept4:error=EPERM:when=1+3", ""},
		{"epoll", "acceptor finds no descriptor", "accept4:error=EMFILE:when=1+2", "--accept=single"},
		{"epoll", "options refused", "setsockopt:error=EINVAL:when=12+1", ""}, // behind those of the listeners
		{"uring", "io_uring_enter interrupted", "io_uring_enter:error=EINTR:when=20+2", ""},
		{"uring", "io_uring_enter again", "io_uring_enter:error=EAGAIN:when=20+3", ""},
		{"uring", "io_uring_enter busy", "io_uring_enter:error=EBUSY:when=20+3", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			eachEngine(t, func(t *testing.T, engine string) {
				if engineOf(engine) != row.engine {
					return // the other engine's system call
				}
				u := newUpstream(t)
				u.serve(echo)
				trace := filepath.Join(t.TempDir(), "trace")
				p := traced(t, engine, u.addr, row.inject, trace, "--loops=1", cmp.Or(row.flag, "--accept=reuseport"))
				t.Cleanup(p.check)
				beside(t, p, u)
				const conns, rounds, batch = 6, 6, 30
				ok(t, forAll(conns, func(i int) error { return rally(p.addr, i, rounds, batch) }))
				p.reaches(stats{"msg_req": conns * rounds * batch, "msg_ack": conns * rounds * batch, "connections": 0})
				eventually(t, "the trace has a call that was made to fail", func() bool {
					return strings.Contains(readFile(t, trace), "(INJECTED)")
				})
			})
		})
	}
}

// A user without any locked memory: auto works, uring too or says why not, epoll never notices. Kernels differ in whether rings count
// (6.18: they do); what is registered for zero-copy send always does, and where that is refused it is counted.
func TestNoLockedMemory(t *testing.T) {
	t.Parallel()
	for _, engine := range append([]string{"auto"}, engines...) {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			u := newUpstream(t)
			u.serve(echo)
			child := limited(t, engine, memlock(0), "--listen=127.0.0.1:0", "--forward="+u.addr, "--zerocopy=on")
			eventually(t, "the child listens or ends", func() bool { return child.exited() || listening.MatchString(child.errors()) })
			if child.exited() {
				if line := oneLine(t, child); child.exit() != 1 || !strings.Contains(line, "locked memory") || !strings.HasPrefix(engine, "uring") {
					t.Errorf("exit code %d, %q", child.exit(), line)
				}
				return
			}
			p := listens(t, engine, child)
			t.Cleanup(p.check)
			beside(t, p, u)
			ok(t, rally(p.addr, 1, 20, 50))
			p.counts(stats{"msg_req": 1000, "msg_ack": 1000})
			text := p.errors()
			switch onUring := strings.Contains(text, "engine=uring"); {
			case onUring && p.stats()["zerocopy_denied"] == 0:
				t.Error("memory was locked that may not be")
			case !onUring && engine == "auto" && !strings.Contains(text, "locked memory"):
				t.Errorf("the limit is not named:\n%s", text)
			}
		})
	}
}
