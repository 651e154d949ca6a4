// Package codec knows the Foo wire format and nothing else.
//
//	Msg  := Type WS Seq [WS Data] LF
//	Type := "REQ" | "ACK" | "NAK"
//	WS   := one or more of SP, HTAB, CR
//	Seq  := ["-"] DIGIT+                    any length
//	Data := any UTF-8 without LF, may be empty
//
// What lives here:
//
//	Scanner   a tap on one direction of one connection. Feed tells, chunk by
//	          chunk, how many bytes are a prefix of valid Foo, counts the
//	          messages by type, and says where and why a stream stops being Foo.
//	          It is a small value without pointers: a session's state that can
//	          be copied, compared and handed over.
//	Head      reads Type, Seq and size of lines that Scanner has passed, for
//	          whoever matches answers to requests.
//	Parse     checks and takes apart one whole line.
//	Kernel    names the vector kernel in use.
//
// The session calls Feed with each received buffer, in place; nothing is
// copied or kept, and no call allocates. The package does no input or output,
// starts no goroutine and reads no clock.
//
// # How a chunk is scanned
//
//	Feed ── feed cuts at the limit of the line
//	          │
//	          ├─▶ scanBlocks ── vector ── requests512, answers512     AVX-512
//	          │     │                     requests256, answers256     AVX2
//	          │     └─▶ the rest of the chunk, and a block with an error, to
//	          └─▶ scanLines ── line ── data ── text                   portable
//	                └─ partLine: the automaton, for lines that are cut
//
// A kernel judges blocks of 64 bytes by masks, at a cost that does not depend
// on how many messages lie in them: judge_amd64.h has the arithmetic,
// scan512_amd64.h and scan256_amd64.h the loops, and tables_amd64.go the
// validation of UTF-8. Of long lines it judges only the heads; their Data is
// searched for LF and validated. A kernel takes only what it has proven valid
// and stops before the block that holds an error; the line-wise scanner then
// finds the byte, and keeps the stream for a while if kernel runs are too short
// to pay. The line-wise scanner looks at eight bytes at a time, and at long
// lines through bytes.IndexByte.
//
// The kernel is chosen once at start by what the processor and the operating
// system support. The build tag noasm leaves assembly out; other processors
// than amd64 have none.
//
// # Speed
//
// In GB/s, with chunks of 64 KiB in the second-level cache of a Zen 5 core of a
// shared virtual machine (Linux 6.18, Go 1.26): medians of the quietest of five
// runs, all columns of a row interleaved. The baseline is the obvious scanner,
// which calls IndexByte, compares, and calls utf8.Valid for each line;
// bytes.Count of LF, the reference for bandwidth, ran at 113 in all rows. "ends"
// is FeedLines with AVX-512.
//
//	line, Data          baseline  portable   AVX2   AVX-512   ends
//	7 ASCII                 0.73      1.93   17.9      26.7   19.4
//	16 ASCII                1.01      1.60   17.4      26.3   19.1
//	32 ASCII                2.00      2.53   17.6      26.6   19.3
//	128 ASCII               6.81      7.32   26.3      32.9   32.0
//	1024 ASCII              24.7      27.8   49.4      69.7   68.3
//	16384 ASCII             34.5      43.4   66.8       116    116
//	6-400 ASCII             10.9      11.8   27.3      36.0   31.8
//	32 two-byte             1.25      1.55   10.6      20.4   15.2
//	1024 two-byte           1.46      9.31   21.2      43.3   42.1
//	16384 two-byte          1.50      10.6   22.0      49.3   48.8
//	32 three-byte           1.47      1.49   10.6      20.8   15.3
//	1024 three-byte         1.91      5.87   21.5      43.9   42.7
//	32 ACK and NAK          1.37      2.51   15.8      23.5   18.1
//	32 CR LF                2.15      2.72   17.8      26.8   19.4
//	32 negative Seq         2.28      2.38   10.5      13.6   12.0
//	1000, Seq of 993        2.91      3.06   16.8      24.2   18.5
//	7, 1 % bad              0.72      1.75    3.2       3.5    3.4
//	32, 1 % bad             1.87      2.51   10.4      12.6   10.9
//	1024, 1 % bad           24.8      27.9   48.4      66.9   64.3
//	7, all bad              0.87      0.54   0.53      0.53   0.51
//	32, all bad             3.03      1.71   1.66      1.67   1.62
//	1024, all bad           40.7      30.3   22.1      23.2   22.3
//	32, chunks of 1         0.16      0.14   0.14      0.14   0.13
//	32, chunks of 512       1.94      2.33    5.7       6.3    5.9
//	32, chunks of 4096      2.00      2.53   14.4      19.6   15.8
//
// The bad lines of a stream are skipped by Resync, one call of Feed and one of
// Resync for each. To measure:
//
//	go test -run '^$' -bench Scanner -benchtime 0.2s ./codec
//
// # Tests
//
// An oracle in the tests judges every prefix of a line by regular expressions.
// All implementations go through one table of tests against it; kernel_test.go
// has what is true of kernels only, guard_test.go their memory accesses, and
// mutants_test.go deliberate faults that the other tests must catch:
//
//	go test -tags mutants -run TestMutants -timeout 30m ./codec
package codec
