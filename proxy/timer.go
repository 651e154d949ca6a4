package proxy

import "time"

const (
	tickLength = int64(4 * time.Millisecond)
	wheelSlots = 1024 // a turn of the wheel takes 4.1 s
	farTicks   = 128  // 0.5 s
)

// wheel is a loop's timers, at most one per session. A timer is never moved when its session shows activity: it fires, the
// session's real deadline is looked up, and it is set again if that lies ahead. Deadlines beyond one turn of the wheel are looked
// up again near its end, all together every farTicks: thousands of connections that say nothing wake a loop, and the Go runtime's
// sysmon with it, twice a second and not hundreds of times.
type wheel struct {
	heads [wheelSlots]int32
	tick  int64 // the last tick that has fired
	first int64 // no timer is set for an earlier tick
	count int
}

// timer is a session's place in the wheel.
type timer struct {
	next, prev int32
	tick       int64 // 0 = not set
}

func (w *wheel) init(now int64) {
	for i := range w.heads {
		w.heads[i] = -1
	}
	w.tick = now / tickLength
}

// skip lets an empty wheel pass over the time until now.
func (w *wheel) skip(now int64) {
	if w.count == 0 {
		w.tick = max(w.tick, now/tickLength)
	}
}

// set makes the session's timer fire at or shortly after at. An earlier setting stays as it is.
func (w *wheel) set(t *table, s *session, at int64) {
	tick, last := max(at/tickLength+1, w.tick+1), w.tick+wheelSlots-1
	if tick > last {
		tick = last - last%farTicks
	}
	if s.timer.tick != 0 {
		if s.timer.tick <= tick {
			return
		}
		w.clear(t, s)
	}
	head := &w.heads[tick%wheelSlots]
	s.timer = timer{next: *head, prev: -1, tick: tick}
	if *head >= 0 {
		t.at(*head).timer.prev = s.slot
	}
	*head = s.slot
	if w.count == 0 || tick < w.first {
		w.first = tick
	}
	w.count++
}

func (w *wheel) clear(t *table, s *session) {
	if s.timer.tick == 0 {
		return
	}
	if s.timer.prev >= 0 {
		t.at(s.timer.prev).timer.next = s.timer.next
	} else {
		w.heads[s.timer.tick%wheelSlots] = s.timer.next
	}
	if s.timer.next >= 0 {
		t.at(s.timer.next).timer.prev = s.timer.prev
	}
	s.timer = timer{}
	w.count--
}

// expired takes the next session whose timer has fired out of the wheel, or returns nil when there is none.
func (w *wheel) expired(t *table, now int64) *session {
	w.skip(now)
	last := now / tickLength
	for ; w.tick <= last; w.tick++ {
		if head := w.heads[w.tick%wheelSlots]; head >= 0 {
			s := t.at(head)
			w.clear(t, s)
			return s
		}
		if w.tick == last {
			return nil
		}
	}
	return nil
}

// wait returns how long it is until the next timer may fire, or -1 when none is set. A loop asks before each time that it waits.
func (w *wheel) wait(now int64) time.Duration {
	if w.count == 0 {
		return -1
	}
	for w.first = max(w.first, w.tick); w.heads[w.first%wheelSlots] < 0; {
		w.first++
	}
	return max(0, time.Duration(w.first*tickLength-now))
}

// sooner is limit, or how long it is from now until at when that is less. A negative limit is none.
func sooner(limit time.Duration, at, now int64) time.Duration {
	if left := time.Duration(max(0, at-now)); limit < 0 || left < limit {
		return left
	}
	return limit
}
