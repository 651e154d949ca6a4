// Package ring is the mechanism of io_uring, as far as a proxy needs it: one thread, its two queues, its buffers. It knows
// no connections and makes no decisions.
//
//	      one event loop on one locked OS thread
//	         │ Prep…        ▲ Ready … Advance       │ Add, Publish      ▲ Segments
//	         ▼              │                       ▼                   │
//	  ┌ submission queue ┐ ┌ completion queue ┐  ┌ BufRing: places ─ buffers ┐
//	──┴──────────────────┴─┴──────────────────┴──┴───────────────────────────┴── memory shared with the kernel
//	         Submit · Collect · WaitRaw · Wait       (io_uring_enter)
//
// # A turn of the loop
//
// Collect hands over everything prepared and fetches what is done, without blocking; handle what Ready shows and give it
// back with Advance, until Ready is empty; Publish the buffers returned meanwhile. While Pending says so there is more.
// When nothing came, WaitRaw for at most 3 ms, then Wait. The example of this package is a whole loop.
//
// Enter without blocking comes first because a system call that the Go scheduler watches costs a tenth more processor time
// per message: the runtime's monitor takes the processor away and gives it back. A wait it does not watch would hold up
// every garbage collection, so it has a limit.
//
// # Who owns what, and when
//
//	submission entry          ours from Prep… to the next enter that takes it (Prepared counts those not taken)
//	what describes the data   (Msghdr, Iovecs, Sockaddr, time) ours again when the entry is taken: FEAT_SUBMIT_STABLE
//	the data of a send        the kernel's, read-only, until the completion; for zero copy until the one with FlagNotif
//	completion                ours from Ready to Advance; the kernel writes only to places given back
//	receive buffer            the kernel's from Publish to the completion that carries it; then ours until Add
//	incremental buffer        as long as FlagBufMore is set the kernel keeps the rest, and we may read what was announced
//	everything                ours again after Close, which waits for what is in flight
//
// All of this memory comes from mmap(2) (Arena), never from the Go heap, whose pieces the collector may free while only
// the kernel knows of them. Nothing is allocated after set-up.
//
// # Sources and versions
//
// io_uring_setup(2), io_uring_enter(2), io_uring_register(2), io_uring_setup_buf_ring(3), io_uring_prep_recv(3) for bundles,
// io_uring_provided_buffers(7), and include/uapi/linux/io_uring.h. The constants name the version that brought them. The
// least that Setup accepts is 5.11 (EXT_ARG); multishot accept and buffer rings need 5.19, multishot receive 6.0, deferred
// completion work 6.1, bundles 6.10, incremental buffers 6.12. Probe finds out by doing. 64-bit little-endian Linux only.
//
// # What the kernel does that one must know
//
//   - Bundles use buffers in the order of the ring, not of their ids. Segments follows it.
//   - A final completion may carry data and lack FlagMore. On kernels without "io_uring: ensure deferred completions are
//     flushed for multishot" (2025) it may come after completions of other entries that used later buffers. BufRing copes;
//     incremental buffers do not: there the order is the offset.
//   - A full completion queue makes an enter that collects fail with EBUSY, and may end multishot operations.
//   - A multishot receive that finds data every time is interrupted after some 32 completions and goes on later. When it has then
//     taken the last bytes (no FlagNonempty) it waits for an event, and misses an RST, or the end of a unix stream, that stands
//     behind them already; it does not miss the FIN of TCP. Look with poll(2) after such a run, cancel, and arm again (6.18).
//   - The same happens when the last bytes and the end come together while a multishot receive is being armed, after its first
//     attempt and before it waits: some hundred nanoseconds, or as long as an interrupt takes (6.18). So look also after the
//     first completions of each receive.
//   - Before "io_uring/poll: fix multishot recv missing EOF on wakeup race" (2026) it missed such an end also when it came together
//     with a few bytes (liburing issue 1549). Probe takes a kernel that does so for one without multishot receives.
//   - -ENOBUFS ends a multishot receive. Arm it again when InKernel is above 0, and only then.
//   - The kernel tells an enter apart from its wait: once entries were taken, the wait's errno is not reported.
//   - io_uring_enter takes entries up to the first it cannot (EAGAIN); the rest stays prepared and goes with the next.
//   - close(2) of a socket with a receive in flight sends no FIN: the operation holds the file.
//
// # Why not giouring
//
// github.com/pawelgaczynski/giouring (of August 2023, the latest) links with no Go since 1.23 unless the linker's check is
// off, since it reaches into package syscall by linkname; every enter goes through the scheduler; it predates bundles and
// incremental buffers; its PeekBatchCQE computes the end before it limits the count and so reads past what is ready; its
// PrepareTimeout and PrepareSendZC pass addresses of Go stack variables. It encodes entries well, and that is what it is
// used for: the tests behind the build tag giouring compare every entry and constant with it, its benchmarks put both side
// by side.
//
//	go test -tags giouring -ldflags=-checklinkname=0 ./ring
package ring
