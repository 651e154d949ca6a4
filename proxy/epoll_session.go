package proxy

// serve does all that a session wants and its descriptors allow, and closes it when it has finished. The session may be gone
// afterwards.
func (e *epollEngine) serve(s *session) {
	more := e.serveFlows(s)
	if s.finished() {
		e.closeSession(s)
		return
	}
	if more && !s.eng.queued {
		s.eng.queued = true
		e.ready = append(e.ready, newRef(0, s.gen, s.slot))
	}
	if e.cfg.TimeoutIdle > 0 && s.timer.tick == 0 {
		e.rearm(s)
	}
}
