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

// finish is called once for stacks that are complete. It gives the library's own functions in them log groups that go with the
// stack, and roles that write there only. As shipped such a function may create log groups anywhere, and what it creates stays.
func finish(stacks ...awscdk.Stack) {
	for _, stack := range stacks {
		for _, id := range []string{bucketEmptier, securityGroupShutter} {
			if found := stack.Node().TryFindChild(jsii.String(id)); found != nil {
				declareLogs(found.(constructs.Construct))
			}
		}
	}
}

func declareLogs(provider constructs.Construct) {
	logs := loggroup.New(provider, "Logs", loggroup.Props{RetentionDays: 7})
	children := provider.Node()
	handler := children.FindChild(jsii.String("Handler")).(awscdk.CfnResource)
	handler.AddPropertyOverride(jsii.String("LoggingConfig"), map[string]any{"LogGroup": logs.LogGroupName()})

	role := children.FindChild(jsii.String("Role")).(awscdk.CfnResource)
	role.AddPropertyDeletionOverride(jsii.String("ManagedPolicyArns"))
	writeLogs := awsiam.NewCfnRolePolicy(provider, jsii.String("WriteLogs"), &awsiam.CfnRolePolicyProps{
		RoleName:       role.Ref(),
		PolicyName:     jsii.String("WriteLogs"),
		PolicyDocument: policy.Document(function.AllowLogs(logs)),
	})
	handler.AddResourceDependency(writeLogs, nil)
}
