package load

import (
	"testing"
	"time"
)

// Whatever the shape of the load, the turns add up to the result, and nothing outside of them is in it.
func TestTurnsAddUp(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(o *Options)
	}{
		{"plain", func(*Options) {}},
		{"churn", func(o *Options) { o.Depth, o.Churn = 1, 1 }},
		{"churn over tcp", func(o *Options) {
			o.Target = freePort(t)
			o.Respond, o.Depth, o.Churn = o.Target, 3, 3
		}},
		{"open loop", func(o *Options) { o.Rate, o.Depth = 5000, 0 }},
		{"without warm-up", func(o *Options) { o.Warmup = 0 }},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := self(t)
			o.Messages, o.Duration, o.Warmup = 0, 10*time.Millisecond, 2*time.Millisecond
			test.change(&o)
			var turns []Turn
			calls := 0
			o.Turns = func(done *Turn) bool {
				if (done == nil) != (calls == 0) {
					t.Errorf("call %d is with %v", calls, done)
				}
				calls++
				if done != nil {
					turns = append(turns, *done)
				}
				return calls <= 3
			}
			r := mustRun(t, o)
			if len(turns) != 3 || len(r.Turns) != 3 {
				t.Fatalf("%d turns told, %d in the result", len(turns), len(r.Turns))
			}
			var sum Turn
			for i, turn := range turns {
				if turn != r.Turns[i] || turn.Elapsed < o.Duration {
					t.Errorf("turn %d: told %+v, in the result %+v", i, turn, r.Turns[i])
				}
				sum.Answers += turn.Answers
				sum.Closed += turn.Closed
				sum.Elapsed += turn.Elapsed
			}
			if sum.Answers == 0 || sum.Answers != r.Answers || sum.Closed != r.Closed || sum.Elapsed != r.Elapsed {
				t.Errorf("the turns make %+v, the result says %d answers, %d closed, %v", sum, r.Answers, r.Closed, r.Elapsed)
			}
			if o.Rate == 0 && r.Service.Count != int64(r.Answers) {
				t.Errorf("%d times of %d answers", r.Service.Count, r.Answers)
			}
			if (o.Churn > 0) != (r.Closed > 0) || r.Unended > 0 {
				t.Errorf("%d connections closed, %d not ended", r.Closed, r.Unended)
			}
		})
	}
}

func TestTurnsThatCannotBe(t *testing.T) {
	for name, change := range map[string]func(o *Options){
		"two threads":  func(o *Options) { o.Threads, o.Messages, o.Duration = 2, 0, time.Second },
		"a number":     func(o *Options) { o.Duration = time.Second },
		"without time": func(o *Options) { o.Messages = 0 },
	} {
		o := self(t)
		o.Turns = func(*Turn) bool { return false }
		change(&o)
		if err := o.Check(); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
