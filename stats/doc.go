// Package stats counts what the loops do, so that anyone may look at any time and no loop ever waits for it.
//
//	loop 0 ── Local (plain memory) ──Publish once a turn──▶ Core 0 ┐
//	loop 1 ── Local                ──Publish──────────────▶ Core 1 ┼─▶ Set.Snapshot ─▶ SIGUSR1, metrics, page
//	          Histogram.Record     ──Histogram.Publish────▶ Core n ┘   Set.Latency
//
// A Core has one writer, its loop, and any number of readers. The writer counts in a Local of its own with plain
// additions and publishes it once per turn: an atomic store is a locked exchange on amd64, so only what changed is
// stored, and never per message. Readers only load; nothing they do can slow or stop a writer.
//
// Rates come from a ring of 10 ms slots per core (window.go). A slot carries the number of the 10 ms it stands for, so an
// idle loop needs no timer to age its ring: the reader sees by the number that a slot is old.
//
// This package knows neither sockets nor signals, starts no goroutine, and allocates only at set-up and for a reader.
package stats
