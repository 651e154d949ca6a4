package main

import (
	"fmt"
	"io"
	"strings"
)

const helpHead = `Usage: fooproxy [flags]
       fooproxy top [ADDR]        watch a running one in the terminal, see fooproxy top --help
       fooproxy recount LOG...    add up a request log, see fooproxy recount --help

Fooproxy relays the Foo line protocol from clients to one server, and checks and counts every message.

Defaults stand in [brackets]; what has none is off.

Examples:
  fooproxy -p 8001 -f 8000                     clients on port 8001 of all interfaces, server at 127.0.0.1:8000
  fooproxy --listen 127.0.0.1:8001 -f db:8000  this host's clients only; the name db is resolved once, at start
  fooproxy --listen unix:/run/foo.sock -f unix:/run/server.sock
  fooproxy --config /etc/fooproxy.conf --check say what would run, and whether it can
  kill -USR1 $(pidof fooproxy)                 print the statistics
`

const helpTail = `
Where settings come from:
  A flag wins over the environment variable (--max-line is FOOPROXY_MAX_LINE; an empty one counts as not set), this over
  the config file, this over the default. A config file has one "key value" or "key = value" a line, keys are the long
  flags without dashes, and a "#" at the start or after a blank begins a comment.
  SIZE is bytes or 64k, 16M, 1GiB (powers of 1024). TIME is 500ms, 5s, 1m30s. BOOL is written --pin=false.

Signals:
  USR1       print the statistics to standard output, one "name value" a line
  TERM, INT  stop accepting, let open connections end for at most --drain-timeout; a second one stops at once
  HUP        reopen the request log
  PIPE       ignored

Exit codes:
  0  stopped cleanly
  1  could not start, or broke; one line on standard error says why
  2  wrong usage; a line for each mistake on standard error says which setting and why
`

// printHelp writes the whole of --help, the settings by group, with their defaults.
func printHelp(w io.Writer) {
	var text strings.Builder
	text.WriteString(helpHead)
	group := ""
	for _, s := range newOptions().table {
		if s.group != group {
			group = s.group
			fmt.Fprintf(&text, "\n%s:\n", group)
		}
		name := "--" + s.name
		if s.short != "" {
			name = "-" + s.short + ", --" + s.name
		}
		fmt.Fprintf(&text, "  %-25s %s%s\n", name+" "+s.meta, s.help, defaultNote(s))
	}
	text.WriteString(helpTail)
	_, _ = io.WriteString(w, text.String())
}

// defaultNote shows a default; the empty one means off.
func defaultNote(s *setting) string {
	if text := s.value.text(); text != "" && !s.flagOnly {
		return " [" + text + "]"
	}
	return ""
}
