package main

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/middleware"
)

const (
	accessDenied        = "AccessDeniedException"
	capacityUnavailable = "CapacityUnavailable" // ours, see capacityAsError
)

// newRetryer returns the SDK's retryer for what passes by itself: throttling, server errors, roles that IAM does not
// know everywhere for some seconds after their creation, and a lack of Fargate capacity. Ten attempts wait 111 s at most.
func newRetryer() aws.Retryer {
	standard := retry.NewStandard(func(o *retry.StandardOptions) {
		o.MaxAttempts = 10
		o.BaseDelay = time.Second
		o.MaxBackoff = 20 * time.Second
		// The attempts are bounded; a quota over all calls of a warm function would only shorten them.
		o.RateLimiter = ratelimit.None
		o.Retryables = append(o.Retryables, retry.IsErrorRetryableFunc(cannotAssume))
	})
	return retry.AddWithErrorCodes(standard, accessDenied, "UnrecognizedClientException", capacityUnavailable)
}

// cannotAssume recognises a task role that is too new, which ECS reports under codes of lasting mistakes.
func cannotAssume(err error) aws.Ternary {
	var api smithy.APIError
	if errors.As(err, &api) && strings.Contains(strings.ToLower(api.ErrorMessage()), "unable to assume the") {
		return aws.TrueTernary
	}
	return aws.UnknownTernary
}

// capacityAsError shows the retryer a lack of capacity, which RunTask reports among the failures of an answer with HTTP
// status 200.
func capacityAsError(stack *middleware.Stack) error {
	return stack.Deserialize.Add(middleware.DeserializeMiddlewareFunc("CapacityAsError",
		func(ctx context.Context, in middleware.DeserializeInput, next middleware.DeserializeHandler) (middleware.DeserializeOutput, middleware.Metadata, error) {
			out, metadata, err := next.HandleDeserialize(ctx, in)
			if result, ok := out.Result.(*ecs.RunTaskOutput); ok && err == nil {
				if text := failureText(result.Failures); strings.Contains(text, "Capacity is unavailable") {
					err = &smithy.GenericAPIError{Code: capacityUnavailable, Message: text, Fault: smithy.FaultServer}
				}
			}
			return out, metadata, err
		}), middleware.Before)
}

// transient says that an error which outlasted its retries tells nothing about the task: the next poll may succeed.
// A denied access that outlasted them is no longer that of a new role.
func transient(err error) bool {
	if hasCode(err, accessDenied) {
		return false
	}
	var spent *retry.MaxAttemptsError
	return errors.As(err, &spent) || errors.Is(err, context.DeadlineExceeded)
}

func hasCode(err error, code string) bool {
	var api smithy.APIError
	return errors.As(err, &api) && api.ErrorCode() == code
}
