package main

import (
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// defaultBackoff makes six attempts over half a minute. A role that was created seconds ago is refused until IAM has
// told every region of it. The longest single wait, 17.6 s, stays below [reportTime].
var defaultBackoff = remote.Backoff{Duration: time.Second, Factor: 2, Jitter: 0.1, Steps: 6}

// newRetryer is the SDK's standard retryer at the pace of backoff, which also retries what a role answers while its
// policy is not in effect yet.
func newRetryer(backoff remote.Backoff) aws.Retryer {
	standard := retry.NewStandard(func(o *retry.StandardOptions) {
		o.MaxAttempts = backoff.Steps
		o.Backoff = retry.BackoffDelayerFunc(func(attempt int, _ error) (time.Duration, error) {
			b := backoff
			for range attempt - 1 {
				b.Step()
			}
			return b.Step(), nil
		})
	})
	return retry.AddWithErrorCodes(standard, "AccessDeniedException", "UnrecognizedClientException")
}
