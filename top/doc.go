// Package top shows the figures of a running proxy's admin address in a terminal.
//
//	fetch.go   /stats ─▶ admin.Stats, over TCP or a unix socket
//	render.go  admin.Stats and a size ─▶ lines; no terminal, no time
//	live.go    asks once a second, draws, obeys keys and changes of size (bubbletea)
//	once.go    the same figures as "name value" lines, for scripts
package top
