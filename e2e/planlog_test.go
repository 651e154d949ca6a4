package e2e

import (
	"fmt"
	"slices"
	"strings"
)

// judgeLog wants the log to add up to the counters, and to say of each connection what was seen of it.
func (g *stage) judgeLog(counted stats) {
	if g.p.check(); g.t.Failed() {
		return
	}
	records := parseLog(g.t, readFile(g.t, g.log))
	for name, n := range recount(g.t, records) {
		if n != counted[name] {
			g.t.Errorf("%s is %v by the log, %v by SIGUSR1", name, n, counted[name])
		}
	}
	of := map[string][]record{}
	for _, r := range records {
		if r.kind == "CONN" || r.kind == "BAD" {
			of[r.f["client"]] = append(of[r.f["client"]], r)
		}
	}
	for _, a := range g.acts {
		if a.local == nil {
			continue
		}
		a.judgeLog(of[a.local.String()])
	}
}

// judgeLog looks at the CONN and BAD lines of the connection.
func (a *act) judgeLog(records []record) {
	t := a.stage.t
	var conns, bads []record
	for _, r := range records {
		if r.kind == "CONN" {
			conns = append(conns, r)
		} else {
			bads = append(bads, r)
		}
	}
	if len(conns) > 1 || a.met && len(conns) == 0 {
		t.Errorf("connection %d (%s) has %d CONN lines", a.conn, a.End, len(conns))
	}
	if least, most := a.bad(); int64(len(bads)) < least || int64(len(bads)) > most {
		t.Errorf("connection %d (%s) has %d BAD lines, want %d to %d", a.conn, a.End, len(bads), least, most)
	}
	for _, r := range bads {
		_, lines := a.valid(a.conn)
		_, off := a.Bad.line()
		want := fmt.Sprintf("dir=%s line=%d off=%d ", []string{"request", "response"}[a.Bad.Side], lines+1, off)
		if !strings.Contains(r.text, want) {
			t.Errorf("connection %d is reported by %q, want %q", a.conn, r.text, want)
		}
	}
	for _, r := range conns {
		a.judgeConn(r)
	}
}

func (a *act) judgeConn(r record) {
	t := a.stage.t
	within := func(name string, least, most int64) {
		if n := r.number(t, name); n < float64(least) || n > float64(most) {
			t.Errorf("connection %d (%s): %s is %v in %q, want %d to %d", a.conn, a.End, name, n, r.text, least, most)
		}
	}
	for side, name := range []string{"in", "out"} {
		within(name, a.got[side^1], a.lets(side, a.sent[side].Load()))
	}
	least, most := a.counted(0)
	within("req", least, most)
	least, most = a.counted(1)
	within("ack", least, most)
	for name, words := range map[string][]string{"end": a.mayEnd(), "class": a.mayBe()} {
		if len(words) > 0 && !slices.Contains(words, r.f[name]) {
			t.Errorf("connection %d (%s): %s is %q in %q, want one of %q", a.conn, a.End, name, r.f[name], r.text, words)
		}
	}
}
