package main

import (
	"context"
	"errors"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
)

// newRetryer returns the SDK's retryer, which knows throttling and server errors of all services, at a pace that stays well
// below the function's time-out: six attempts wait 17 s at most.
func newRetryer() aws.Retryer {
	return retry.NewStandard(func(o *retry.StandardOptions) {
		o.MaxAttempts = 6
		o.BaseDelay = time.Second
		o.MaxBackoff = 5 * time.Second
		// The attempts are bounded; a quota over all calls of a warm function would only shorten them.
		o.RateLimiter = ratelimit.None
	})
}

// transient says that an error outlasted its retries, or has none, but tells nothing about the deployment or the image: the next
// look may succeed.
func transient(err error) bool {
	var spent *retry.MaxAttemptsError
	return errors.As(err, &spent) || errors.Is(err, errBroken) || errors.Is(err, context.DeadlineExceeded)
}
