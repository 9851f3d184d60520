// Package platform names a processor architecture as each service does.
package platform

import (
	"sync"

	"github.com/aws/aws-cdk-go/awscdk/v2/awsecs"
	"github.com/aws/aws-cdk-go/awscdk/v2/awslambda"
	"github.com/aws/jsii-runtime-go"

	"flask-on-fargate/internal/memo"
)

// Architecture is a processor architecture, as ECS names it. Tasks and functions of an environment have the same.
type Architecture string

// The architectures that Fargate runs.
const (
	X86_64 Architecture = "X86_64"
	ARM64  Architecture = "ARM64"
)

// ECS is the platform of a task.
func (a Architecture) ECS() *awsecs.RuntimePlatform {
	return &awsecs.RuntimePlatform{CpuArchitecture: cpu(a), OperatingSystemFamily: linux()}
}

var (
	cpu   = memo.Func(func(a Architecture) awsecs.CpuArchitecture { return awsecs.CpuArchitecture_Of(jsii.String(string(a))) })
	linux = sync.OnceValue(awsecs.OperatingSystemFamily_LINUX)
)

// LambdaName is the architecture of a function, as Lambda names it.
func (a Architecture) LambdaName() string {
	if a == ARM64 {
		return "arm64"
	}
	return "x86_64"
}

// Lambda is the architecture of a function.
func (a Architecture) Lambda() awslambda.Architecture {
	return lambda(a)
}

var lambda = memo.Func(func(a Architecture) awslambda.Architecture {
	if a == ARM64 {
		return awslambda.Architecture_ARM_64()
	}
	return awslambda.Architecture_X86_64()
})
