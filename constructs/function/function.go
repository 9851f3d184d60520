// Package function defines Lambda functions of this project: Go programs that make has built into dist/functions.
package function

import (
	"path/filepath"
	"time"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsiam"
	"github.com/aws/aws-cdk-go/awscdk/v2/awslambda"
	"github.com/aws/aws-cdk-go/awscdk/v2/awslogs"
	"github.com/aws/constructs-go/constructs/v10"
	"github.com/aws/jsii-runtime-go"

	"flask-on-fargate/constructs/loggroup"
	"flask-on-fargate/internal/platform"
)

// Props configures [New].
type Props struct {
	Program      string                // required; the folder below functions/
	Description  string                // required
	Architecture platform.Architecture // required
	Timeout      time.Duration         // required; at most 15 minutes

	Handler          string                   // default: bootstrap; what a program with several handlers finds in _HANDLER
	MemoryMiB        int                      // default: 128
	Permissions      []awsiam.PolicyStatement // beside writing its own log group
	LogRetentionDays int                      // required
}

// New defines a function under scope. Its permissions are part of its role, so that whatever waits for the function waits
// for them too.
func New(scope constructs.Construct, id string, props Props) awslambda.Function {
	this := constructs.NewConstruct(scope, jsii.String(id))
	logs := loggroup.New(this, "Logs", loggroup.Props{RetentionDays: props.LogRetentionDays})
	handler := props.Handler
	if handler == "" {
		handler = "bootstrap"
	}
	return awslambda.NewFunction(this, jsii.String("Function"), &awslambda.FunctionProps{
		Description:  jsii.String(props.Description),
		Code:         awslambda.Code_FromAsset(jsii.String(Dir(props.Architecture, props.Program)), nil),
		Handler:      jsii.String(handler),
		Runtime:      awslambda.Runtime_PROVIDED_AL2023(),
		Architecture: props.Architecture.Lambda(),
		Timeout:      awscdk.Duration_Seconds(jsii.Number(props.Timeout.Seconds())),
		MemorySize:   jsii.Number(max(props.MemoryMiB, 128)),
		LogGroup:     logs,
		Role:         NewRole(this, "Role", logs, props.Permissions...),
	})
}

// NewRole defines a role that Lambda assumes: it may write to logs, which it may not create, and what permissions add.
func NewRole(scope constructs.Construct, id string, logs awslogs.ILogGroup, permissions ...awsiam.PolicyStatement) awsiam.Role {
	statements := append([]awsiam.PolicyStatement{awsiam.NewPolicyStatement(&awsiam.PolicyStatementProps{
		Actions:   jsii.Strings("logs:CreateLogStream", "logs:PutLogEvents"),
		Resources: &[]*string{logs.LogGroupArn()},
	})}, permissions...)
	return awsiam.NewRole(scope, jsii.String(id), &awsiam.RoleProps{
		AssumedBy: awsiam.NewServicePrincipal(jsii.String("lambda.amazonaws.com"), nil),
		InlinePolicies: &map[string]awsiam.PolicyDocument{
			"Permissions": awsiam.NewPolicyDocument(&awsiam.PolicyDocumentProps{Statements: &statements}),
		},
	})
}

// Dir is the absolute path of the built program, seen from the folder of cdk.json.
func Dir(architecture platform.Architecture, program string) string {
	dir, err := filepath.Abs(filepath.Join("dist", "functions", *architecture.Lambda().Name(), program))
	if err != nil {
		panic("function.Dir: " + err.Error())
	}
	return dir
}
