package stacks

import (
	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsiam"
	"github.com/aws/constructs-go/constructs/v10"
	"github.com/aws/jsii-runtime-go"

	"flask-on-fargate/constructs/function"
	"flask-on-fargate/constructs/loggroup"
	"flask-on-fargate/internal/policy"
)

// The functions that the library adds to a stack for its own custom resources.
const (
	bucketEmptier        = "Custom::S3AutoDeleteObjectsCustomResourceProvider"  // where a bucket goes with its stack
	securityGroupShutter = "Custom::VpcRestrictDefaultSGCustomResourceProvider" // where there is a VPC
)

// declareProviderLogs gives the library's function in stack, if it is there, a log group that goes with the stack, and a role
// that writes there only. As shipped it may create log groups anywhere, and what it creates stays. Call it when the stack is
// complete.
func declareProviderLogs(stack awscdk.Stack, id string) {
	found := stack.Node().TryFindChild(jsii.String(id))
	if found == nil {
		return
	}
	provider := found.(constructs.Construct)
	logs := loggroup.New(provider, "Logs", loggroup.Props{RetentionDays: 7})
	children := provider.Node()
	handler := children.FindChild(jsii.String("Handler")).(awscdk.CfnResource)
	handler.AddPropertyOverride(jsii.String("LoggingConfig"), map[string]any{"LogGroup": logs.LogGroupName()})

	role := children.FindChild(jsii.String("Role")).(awscdk.CfnResource)
	role.AddPropertyDeletionOverride(jsii.String("ManagedPolicyArns"))
	policy := awsiam.NewCfnRolePolicy(provider, jsii.String("WriteLogs"), &awsiam.CfnRolePolicyProps{
		RoleName:       role.Ref(),
		PolicyName:     jsii.String("WriteLogs"),
		PolicyDocument: policy.Document(function.AllowLogs(logs)),
	})
	handler.AddResourceDependency(policy, nil)
}
