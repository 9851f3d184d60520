// Package duration turns Go's durations into the library's.
package duration

import (
	"time"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/jsii-runtime-go"

	"flask-on-fargate/internal/memo"
)

// Of is a duration in whole seconds.
var Of = memo.Func(func(d time.Duration) awscdk.Duration {
	return awscdk.Duration_Seconds(jsii.Number(d.Seconds()))
})

// Days is a duration of n days.
func Days(n int) awscdk.Duration {
	return Of(time.Duration(n) * 24 * time.Hour)
}
