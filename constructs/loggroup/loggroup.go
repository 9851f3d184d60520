// Package loggroup defines log groups that go with their stack.
package loggroup

import (
	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awslogs"
	"github.com/aws/constructs-go/constructs/v10"
	"github.com/aws/jsii-runtime-go"
)

// Props configures [New].
type Props struct {
	RetentionDays int // required; one of the values that CloudWatch Logs accepts

	Name string // default: generated
}

// New defines a log group under scope. Whatever writes logs gets one: a group that the writer makes for itself has no
// retention and stays after the stack is destroyed.
func New(scope constructs.Construct, id string, props Props) awslogs.LogGroup {
	if props.RetentionDays == 0 {
		panic("loggroup.New: RetentionDays is required")
	}
	group := awslogs.NewLogGroup(scope, jsii.String(id), &awslogs.LogGroupProps{
		RemovalPolicy: awscdk.RemovalPolicy_DESTROY,
	})
	cfn := group.Node().DefaultChild().(awslogs.CfnLogGroup)
	// The L2's enumeration of days has no numbers.
	cfn.SetRetentionInDays(jsii.Number(props.RetentionDays))
	if props.Name != "" {
		cfn.SetLogGroupName(jsii.String(props.Name))
	}
	return group
}
