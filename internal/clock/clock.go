// Package clock tells the time, and waits. Tests replace both.
package clock

import (
	"context"
	"time"
)

// Clock is a source of time.
type Clock struct {
	Now  func() time.Time
	Wait func(context.Context, time.Duration) error // returns early, with the context's error, if the context ends
}

// System is the clock of this computer.
var System = Clock{
	Now: time.Now,
	Wait: func(ctx context.Context, d time.Duration) error {
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
			return nil
		}
	},
}

// Manual is a clock for tests: it shows now, and only waiting moves it.
func Manual(now *time.Time) Clock {
	return Clock{
		Now: func() time.Time { return *now },
		Wait: func(ctx context.Context, d time.Duration) error {
			*now = now.Add(d)
			return ctx.Err()
		},
	}
}
