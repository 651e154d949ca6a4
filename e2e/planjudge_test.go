package e2e

import (
	"slices"
	"strings"
)

// has says whether the subject runs with a flag.
func (g *stage) has(flag string) bool { return slices.Contains(g.Flags, flag) }

// blind says whether the subject looks at no byte of any connection.
func (g *stage) blind() bool { return g.subject == relay || g.has("--tunnel") }

// strict says whether the proxy ends a connection that breaks the grammar.
func (a *act) strict() bool { return a.Bad != nil && !a.stage.blind() && !a.stage.has(flagForward) }

// unwanted says whether the proxy turns the client away because it does not speak Foo.
func (a *act) unwanted() bool { return a.Raw[0] != "" && !a.stage.blind() && !a.stage.has(flagTunnel) }

// tunnelled says whether the proxy takes the connection for a tunnel by its first bytes.
func (a *act) tunnelled() bool { return a.Raw[0] != "" && !a.stage.blind() && a.stage.has(flagTunnel) }

// mayMiss says whether the connection may be one that never met a server.
func (a *act) mayMiss() bool {
	trouble := slices.ContainsFunc(a.stage.Faults, func(f scriptFault) bool {
		return f.Kind == faultRefuse || f.Kind == faultDeath || f.Kind == faultDescriptors
	})
	return a.At > 0 && (!a.survives() || a.unwanted() || trouble && a.began.Before(a.stage.lifted))
}

// judge compares what arrived with what was sent, and counters and log with both.
func (g *stage) judge() {
	sum := reckoning{}
	ends, classes := 0.0, 0.0 // connections that may have any end, any class
	for _, a := range g.acts {
		a.judge()
		a.expects(sum)
		if a.mayEnd() == nil {
			ends++
		}
		if a.mayBe() == nil {
			classes++
		}
	}
	for _, f := range g.Faults {
		if f.Kind == faultAborts || f.Kind == faultArbitrary {
			ends, classes = ends+nuisances, classes+nuisances
		}
	}
	counted := g.p.stats()
	counted["msg_answers"] = counted["msg_ack"] + counted["msg_nak"]
	for name, n := range counted {
		b, known := sum[name]
		switch {
		case g.subject == relay && !strings.HasPrefix(name, "msg_"):
			continue
		case strings.HasPrefix(name, "end_"):
			b.most += ends
		case strings.HasPrefix(name, "class_"):
			b.most += classes
		case !known:
			continue
		}
		if n < b.least || n > b.most {
			g.t.Errorf("%s is %v, want %v to %v", name, n, b.least, b.most)
		}
	}
	if g.log != "" {
		g.judgeLog(counted)
	}
}

// judge wants every byte to have arrived, or of a connection that was cut short a prefix, and the end to be of its kind.
func (a *act) judge() {
	t := a.stage.t
	if !a.met {
		if !a.mayMiss() {
			t.Errorf("connection %d (%s) has never reached the server", a.conn, a.End)
		}
		if a.got[0] > 0 {
			t.Errorf("connection %d (%s): without a server the client has got %d bytes", a.conn, a.End, a.got[0])
		}
		return
	}
	for side := range a.ends {
		from := side ^ 1
		most := a.lets(from, a.sent[from].Load())
		least := int64(0)
		whole := a.survives() && !a.unwanted() && (!a.strict() || a.Bad.Side == from)
		switch {
		case whole:
			least = most
			if a.end[side] != fin {
				t.Errorf("connection %d (%s): the stream of %s has ended with %q", a.conn, a.End, a.ends[side].name, a.end[side])
			}
		case a.stage.subject != relay && !a.unwanted() && (a.At == 0 || a.End == endsDied): // the relay forgets what it has read when it cannot send
			least = min(a.acked[from], most)
		}
		if got := a.got[side]; got < least || got > most {
			t.Errorf("connection %d (%s): %s has got %d bytes and then %q, want %d to %d of %d",
				a.conn, a.End, a.ends[side].name, got, a.end[side], least, most, a.sent[from].Load())
		}
		if a.failed[from] != nil && a.survives() && !a.unwanted() && !a.strict() {
			t.Errorf("connection %d (%s): %v", a.conn, a.End, a.failed[from])
		}
	}
	if a.strict() && a.Bad.Side == 0 && a.survives() {
		if owed := a.owed(); a.heard[0] < owed {
			t.Errorf("connection %d (%s): the client has got %d answers, %d were owed", a.conn, a.End, a.heard[0], owed)
		}
	}
	if a.stage.subject != relay { // which has no memory of a reset that it has seen while sending
		a.judgeReset()
	}
}

// lets is how many of n bytes that a side has sent may reach the other.
func (a *act) lets(side int, n int64) int64 {
	switch {
	case a.unwanted() && side == 0:
		return 0
	case a.strict() && a.violates(side):
		valid, _ := a.valid(a.conn)
		return min(n, valid)
	}
	return n
}

// owed is how many answers a client that breaks the grammar shall still get.
func (a *act) owed() int64 {
	_, asked := a.valid(a.conn)
	return int64(min(asked, len(a.Sizes[1])))
}

// judgeReset wants a reset to have been relayed as one.
func (a *act) judgeReset() {
	reader := map[string]int{endsClientRST: 1, endsServerRST: 0}
	if side, is := reader[a.End]; is && a.end[side] == fin && !a.broken[side].Load() && !a.unwanted() {
		a.stage.t.Errorf("connection %d (%s): %s has seen FIN", a.conn, a.End, a.ends[side].name)
	}
}

// reckoning is the figures between which a counter is to be.
type reckoning map[string]struct{ least, most float64 }

func (b reckoning) add(name string, least, most int64) {
	sum := b[name]
	sum.least += float64(least)
	sum.most += float64(most)
	b[name] = sum
}

// expects adds what the connection is to have brought to each counter.
func (a *act) expects(sum reckoning) {
	for side, name := range []string{"msg_req", "msg_answers"} {
		least, most := a.counted(side)
		sum.add(name, least, most)
	}
	least, most := a.bad()
	sum.add("bad", least, most)
	for _, kind := range []struct {
		prefix string
		names  []string
	}{{"end_", a.mayEnd()}, {"class_", a.mayBe()}} {
		for _, name := range kind.names {
			name = kind.prefix + strings.ReplaceAll(name, "-", "_")
			if len(kind.names) == 1 {
				sum.add(name, 1, 1)
			} else {
				sum.add(name, 0, 1)
			}
		}
	}
}

// counted is how many messages of a side are counted.
func (a *act) counted(side int) (least, most int64) {
	got, sent := a.got[side^1], a.sent[side].Load()
	heard, said := a.heard[side^1], a.lines[side].Load()
	switch {
	case a.stage.subject == relay:
		foreign := int64(0)
		if a.Raw[0] != "" || a.Bad != nil {
			heard, foreign = 0, a.lines[side^1].Load()
		}
		return heard, said + foreign
	case a.stage.blind(), a.unwanted() && side == 0, a.tunnelled() && side == 0, a.Raw[side] != "":
		return 0, 0
	case a.tunnelled(), a.unwanted(): // what the server says before its client's first bytes is counted
		return 0, said
	case a.strict() && a.violates(side):
		_, before := a.valid(a.conn)
		return min(heard, int64(before)), min(said, int64(before))
	}
	return a.messages(a.conn, side, got, heard), a.messages(a.conn, side, sent, said)
}

// bad is how many violations the connection brings.
func (a *act) bad() (least, most int64) {
	if a.Bad == nil || a.Raw[0] != "" || a.stage.blind() {
		return 0, 0
	}
	if a.met && a.survives() {
		return 1, 1
	}
	return 0, 1
}

// mayEnd is why the connection may have ended, in the words of the log; nothing if for any reason, or none.
func (a *act) mayEnd() (causes []string) {
	if !a.met {
		return a.mayMissBy()
	}
	causes = map[string][]string{
		endsClientFirst: {"client-fin"},
		endsServerFirst: {"server-fin"},
		endsBoth:        {"client-fin", "server-fin"},
		endsClientRST:   {"client-rst", "server-fin"},
		endsServerRST:   {"server-rst", "client-fin"},
		endsClientDrop:  {"client-rst", "client-fin", "server-fin"},
		endsDied:        {"server-rst", "server-fin", "client-fin"},
	}[a.End]
	if causes == nil {
		return nil
	}
	switch {
	case a.unwanted() && a.End == endsClientFirst:
		return []string{"arbitrary"}
	case a.unwanted():
		return append(causes, "arbitrary")
	case a.strict() && a.Bad.Side == 0 && a.End == endsClientFirst:
		return []string{"violation-request"}
	case a.strict() && a.Bad.Side == 0:
		return append(causes, "violation-request")
	case a.strict() && a.End == endsServerFirst:
		return []string{"violation-response"}
	case a.strict():
		return append(causes, "violation-response")
	}
	return causes
}

// mayMissBy is why a connection that never met a server may have ended.
func (a *act) mayMissBy() []string {
	if a.End == endsKilled {
		return nil
	}
	causes := []string{"client-rst", "client-fin", "arbitrary"}
	for _, f := range a.stage.Faults {
		switch f.Kind {
		case faultRefuse, faultDeath: // one that had been accepted and waited when the upstream went is reset
			causes = append(causes, "refused", "server-rst")
		case faultDescriptors:
			causes = append(causes, "connect-error")
		}
	}
	slices.Sort(causes)
	return slices.Compact(causes)
}

// mayBe is the classes that the connection may have; nothing if any.
func (a *act) mayBe() []string {
	switch {
	case !a.met || !a.survives() || a.stage.subject == relay:
		return nil
	case a.stage.blind(), a.tunnelled():
		return []string{"tunnel"}
	case a.unwanted():
		return []string{"arbitrary"}
	case a.sent[0].Load() < 4 || a.strict() && a.Bad.Side == 1: // perhaps nobody has seen what the client is
		return nil
	}
	return []string{"foo"}
}
