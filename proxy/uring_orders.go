package proxy

// obey carries out orders from outside; it says true when the loop is to end.
func (e *uringEngine) obey() bool {
	e.worker.hear()
	order := e.worker.order.Load()
	if e.worker.gifts.Load() {
		e.adopt(false)
	}
	if order == orderRun {
		return false
	}
	e.stopAccepting()
	if e.worker.listener >= 0 && !e.accepting {
		e.emptyListener()
	}
	switch {
	case order == orderStop && !e.killed:
		e.killed = true
		e.table.each(func(s *session) {
			e.kill(s, causeStopped)
			e.touch(s)
		})
	case order == orderQuiet && !e.quiet:
		e.quiet = true
		e.table.each(func(s *session) {
			e.stopRequests(s, causeStopped)
			e.touch(s)
		})
	}
	return e.table.used == 0 && e.worker.listener < 0
}

// stopAccepting has the accept end; emptyListener follows when it has.
func (e *uringEngine) stopAccepting() {
	e.endAccept()
	if !e.draining {
		e.draining = true
		e.adopt(true)
	}
}

// adopt takes over the descriptors that others have accepted for this loop.
func (e *uringEngine) adopt(last bool) {
	e.given = e.worker.take(e.given, last)
	for _, fd := range e.given {
		e.begun(fd)
		e.load.Add(-1)
	}
}
