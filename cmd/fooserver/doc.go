// Command fooserver is a Foo server for trying things out and for tests: it answers every request at once, or late, or out of
// order, or with NAK, as its flags say.
//
// flags.go reads the configuration, main.go runs it; all serving is done by package server. Standard output is for the
// statistics only (SIGUSR1), everything else goes to standard error.
package main
