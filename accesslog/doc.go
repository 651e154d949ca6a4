// Package accesslog writes one line for every request and every connection, without ever making a loop wait for the disk.
//
//	loop 0 ─ Request, Conn … ─▶ Ring 0 ┐                 ┌ Reopen (HUP) hands over a new file
//	loop 1 ─ formats in place ─▶ Ring 1 ┼─▶ one goroutine ─▶ file, pipe or stdout
//	loop n                   ─▶ Ring n ┘   (writer.go)
//
// A Ring is a lock-free byte ring with one producer, its loop, and one consumer, the writer. A line is formatted straight
// into the ring and becomes visible as a whole, with the others of its loop's turn. The ring's rules (ring.go): next and head
// are the producer's, tail the writer's, all only grow and always lie on the border of two lines, and
// tail ≤ head ≤ next ≤ tail + size.
//
// Of a file that grows fast only the end stays in the page cache (pagecache.go).
//
// The writer sleeps until a ring gets its first line, then lets lines gather for a moment and writes each ring's content
// with one call. When a ring is full its lines are dropped, whole, and counted; or, if asked for, the producer waits. When
// the device fails (disk full, pipe closed), lines stay in the rings until these are full, are then dropped and counted
// whatever was asked for, and the writer tries again every second.
//
// For each ring, once the log is closed: lines logged = lines written + lines dropped. Recount reads a log back into totals.
package accesslog
