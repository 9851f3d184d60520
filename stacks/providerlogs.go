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

// providers are the functions that the library adds to a stack for its own custom resources.
var providers = []string{
	"Custom::S3AutoDeleteObjectsCustomResourceProvider",
	"Custom::VpcRestrictDefaultSGCustomResourceProvider",
}

// declareProviderLogs gives each of the library's functions in stack a log group that goes with the stack, and a role that
// writes there only. As shipped they may create log groups anywhere, and what they create stays. Call it when the stack
// is complete.
func declareProviderLogs(stack awscdk.Stack) {
	for _, id := range providers {
		provider := stack.Node().TryFindChild(jsii.String(id))
		if provider == nil {
			continue
		}
		declareLogs(provider.(constructs.Construct))
	}
}

func declareLogs(provider constructs.Construct) {
	logs := loggroup.New(provider, "Logs", loggroup.Props{RetentionDays: 7})
	handler := provider.Node().FindChild(jsii.String("Handler")).(awscdk.CfnResource)
	handler.AddPropertyOverride(jsii.String("LoggingConfig"), map[string]any{"LogGroup": logs.LogGroupName()})

	role := provider.Node().FindChild(jsii.String("Role")).(awscdk.CfnResource)
	role.AddPropertyDeletionOverride(jsii.String("ManagedPolicyArns"))
	policy := awsiam.NewCfnRolePolicy(provider, jsii.String("WriteLogs"), &awsiam.CfnRolePolicyProps{
		RoleName:       role.Ref(),
		PolicyName:     jsii.String("WriteLogs"),
		PolicyDocument: policy.Document(function.AllowLogs(logs)),
	})
	handler.AddResourceDependency(policy, nil)
}
