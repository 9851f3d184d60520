// Package function defines Lambda functions of this project: Go programs that functions/build.sh has built and zipped.
package function

import (
	"path/filepath"
	"sync"
	"time"

	"github.com/aws/aws-cdk-go/awscdk/v2/awslambda"
	"github.com/aws/aws-cdk-go/awscdk/v2/awslogs"
	"github.com/aws/constructs-go/constructs/v10"
	"github.com/aws/jsii-runtime-go"

	"flask-on-fargate/constructs/loggroup"
	"flask-on-fargate/internal/cdk"
	"flask-on-fargate/internal/platform"
	"flask-on-fargate/internal/policy"
)

// Service is the principal that functions run as.
const Service = "lambda.amazonaws.com"

// runtime runs a program named bootstrap.
var runtime = sync.OnceValue(awslambda.Runtime_PROVIDED_AL2023)

// Props configures [New].
type Props struct {
	Program      string                // required; the folder below functions/
	Description  string                // required
	Architecture platform.Architecture // required
	Timeout      time.Duration         // required; at most 15 minutes

	Handler          string // default: bootstrap; what a program with several handlers finds in _HANDLER
	MemoryMiB        int    // default: 128
	Environment      map[string]string
	Permissions      []policy.Statement // beside writing its own log group
	LogRetentionDays int                // required
}

// New defines a function under scope. Its permissions are part of its role, so that whatever waits for the function waits
// for them too, and the library adds none.
func New(scope constructs.Construct, id string, props Props) awslambda.Function {
	cdk.Require(props, "Handler", "MemoryMiB", "Environment", "Permissions")
	scope = constructs.NewConstruct(scope, jsii.String(id))
	logs := loggroup.New(scope, "Logs", loggroup.Props{RetentionDays: props.LogRetentionDays})
	handler := props.Handler
	if handler == "" {
		handler = "bootstrap"
	}
	environment := map[string]*string{}
	for name, value := range props.Environment {
		environment[name] = jsii.String(value)
	}
	return awslambda.NewFunction(scope, jsii.String("Function"), &awslambda.FunctionProps{
		Description:  jsii.String(props.Description),
		Code:         awslambda.Code_FromAsset(jsii.String(File(props.Architecture, props.Program)), nil),
		Handler:      jsii.String(handler),
		Runtime:      runtime(),
		Architecture: cdk.LambdaArchitecture(props.Architecture),
		Timeout:      cdk.Duration(props.Timeout),
		MemorySize:   jsii.Number(max(props.MemoryMiB, 128)),
		Environment:  &environment,
		LogGroup:     logs,
		Role:         policy.NewRole(scope, "Role", Service, append(props.Permissions, AllowLogs(logs))...),
	})
}

// AllowLogs allows writing to a log group that is there, and not making another.
func AllowLogs(group awslogs.ILogGroup) policy.Statement {
	return policy.Allow("logs:CreateLogStream", "logs:PutLogEvents").On(group.LogGroupArn())
}

// File is the absolute path of the built program, a zip, seen from the folder of cdk.json.
func File(architecture platform.Architecture, program string) string {
	file, err := filepath.Abs(filepath.Join("dist", "functions", architecture.Lambda(), program+".zip"))
	if err != nil {
		panic("function.File: " + err.Error())
	}
	return file
}
