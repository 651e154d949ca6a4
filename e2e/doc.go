// Package e2e holds the tests that see fooproxy as its users do: the real binary as a child process between scripted peers.
//
//	test process                     child process                    test process
//	client peer ── dial ──▶ fooproxy --engine=E --listen --forward ──▶ upstream ─ accept ─▶ server peer
//	     │                     │ SIGUSR1 → stdout, slog → stderr                                │
//	     │                     │ /proc/PID: descriptors, threads, memory, CPU                   │
//	     └──── oracle: what was sent, received, how it ended, what was counted ─────────────────┘
//
// The package has no code outside its tests. It knows nothing of the proxy's packages: the wire format, the log and the
// counters are checked against oracles written here, as plainly as can be.
//
// Subjects. Every test runs once for each engine named in FOO_ENGINES (epoll and uring, comma separated; "uring:sq=4 cq=8
// buffers=4" bends the ring for the whole suite). Tests in which long Data flows run again with it left in the kernel, as
// "uring+--splice=on". The name "relay" stands for a naive relay that this package holds itself (relay_test.go): it forwards
// bytes, FIN and RST and checks nothing. It is the third party of the differential test and the proof that these tests can
// fail: TestRelayIsCaught runs the suite against it and wants the checks it lacks to be found, and nothing else.
//
// Thorough runs. With FOO_FAULTS set ("make test-faults") faults have their full size, tests that take long run too, and what
// depends on time is judged: the canary's p99, how soon survivors finish. That takes a machine without other load, -parallel 1 and
// root. docs/faults.md says which test makes which fault.
//
// Rules. Tests wait for conditions with a deadline (FOO_E2E_LIMIT, 20s), never for time to pass. What is random prints its seed
// and takes it from FOO_SEED. Payloads name their connection, direction and place, so that a foreign, doubled or reordered byte
// says where it comes from. After each test the child's connections, operations in flight, descriptors and threads are back where
// they were, it exits 0 on SIGTERM, and its standard error holds no panic and no data race. After all of them the kernel's log
// holds no alarm.
package e2e
