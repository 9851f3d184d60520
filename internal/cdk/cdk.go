// Package cdk makes values of the CDK library that never change and that many constructs use. Each new one is a call to the
// library's process, of some 0.3 ms, so each is made once. Like the library, it is not safe for concurrent use.
package cdk

import (
	"sync"
	"time"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsecs"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsiam"
	"github.com/aws/aws-cdk-go/awscdk/v2/awslambda"
	"github.com/aws/jsii-runtime-go"

	"flask-on-fargate/internal/platform"
)

// Duration is a duration in whole seconds.
var Duration = once(func(d time.Duration) awscdk.Duration {
	return awscdk.Duration_Seconds(jsii.Number(d.Seconds()))
})

// Days is a duration of n days.
func Days(n int) awscdk.Duration { return Duration(time.Duration(n) * 24 * time.Hour) }

// ServicePrincipal is an AWS service as the principal of a policy, as in lambda.amazonaws.com.
var ServicePrincipal = once(func(service string) awsiam.ServicePrincipal {
	return awsiam.NewServicePrincipal(jsii.String(service), nil)
})

// RuntimePlatform is the platform of a task: Linux on a processor architecture.
func RuntimePlatform(a platform.Architecture) *awsecs.RuntimePlatform {
	return &awsecs.RuntimePlatform{CpuArchitecture: cpu(a), OperatingSystemFamily: linux()}
}

var (
	cpu = once(func(a platform.Architecture) awsecs.CpuArchitecture {
		return awsecs.CpuArchitecture_Of(jsii.String(string(a)))
	})
	linux = sync.OnceValue(awsecs.OperatingSystemFamily_LINUX)
)

// LambdaArchitecture is the processor architecture of a function.
var LambdaArchitecture = once(func(a platform.Architecture) awslambda.Architecture {
	if a == platform.ARM64 {
		return awslambda.Architecture_ARM_64()
	}
	return awslambda.Architecture_X86_64()
})

// RemovalPolicy says what happens to a resource that holds data when it leaves the stack. With retain it is kept, unless its
// very creation failed: a failed first deploy leaves nothing behind.
func RemovalPolicy(retain bool) awscdk.RemovalPolicy {
	if retain {
		return awscdk.RemovalPolicy_RETAIN_ON_UPDATE_OR_DELETE
	}
	return awscdk.RemovalPolicy_DESTROY
}

// SnapshotPolicy is [RemovalPolicy] for a database: what is kept is a final snapshot.
func SnapshotPolicy(retain bool) awscdk.RemovalPolicy {
	if retain {
		return awscdk.RemovalPolicy_SNAPSHOT
	}
	return awscdk.RemovalPolicy_DESTROY
}

// once returns a function that calls make once for each key.
func once[K comparable, V any](make func(K) V) func(K) V {
	made := map[K]V{}
	return func(key K) V {
		value, ok := made[key]
		if !ok {
			value = make(key)
			made[key] = value
		}
		return value
	}
}
