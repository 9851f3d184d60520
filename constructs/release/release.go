// Package release keeps the image tag `live` true: it names the image of the last deployment that ECS completed.
package release

import (
	"strconv"
	"time"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsecr"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsecs"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsevents"
	"github.com/aws/aws-cdk-go/awscdk/v2/awseventstargets"
	"github.com/aws/aws-cdk-go/awscdk/v2/awslambda"
	"github.com/aws/constructs-go/constructs/v10"
	"github.com/aws/jsii-runtime-go"

	"flask-on-fargate/constructs/function"
	"flask-on-fargate/internal/cdk"
	"flask-on-fargate/internal/platform"
	"flask-on-fargate/internal/policy"
)

// Props configures [New]. All but NotificationTopicArn and NotificationKeyArn are required.
type Props struct {
	Cluster          awsecs.ICluster
	Service          awsecs.IBaseService
	Repository       awsecr.IRepository
	ContainerName    string
	DeployTimeout    time.Duration // of the pipeline's deploy action
	Architecture     platform.Architecture
	LogRetentionDays int

	NotificationTopicArn string // default: failures are announced nowhere
	NotificationKeyArn   string // default: no key of the account encrypts the topic
}

// New defines the function under scope. ECS calls it whenever a deployment of the service ends, whoever started it; the
// pipeline calls it beside its deploy action.
func New(scope constructs.Construct, id string, props Props) awslambda.Function {
	cdk.Require(props, "NotificationTopicArn", "NotificationKeyArn")
	scope = constructs.NewConstruct(scope, jsii.String(id))
	environment := map[string]string{
		"CLUSTER":                *props.Cluster.ClusterArn(),
		"SERVICE":                *props.Service.ServiceName(),
		"REPOSITORY":             *props.Repository.RepositoryName(),
		"CONTAINER_NAME":         props.ContainerName,
		"DEPLOY_TIMEOUT_SECONDS": strconv.Itoa(int(props.DeployTimeout.Seconds())),
	}
	if props.NotificationTopicArn != "" {
		environment["NOTIFICATION_TOPIC_ARN"] = props.NotificationTopicArn
	}
	handler := function.New(scope, "Handler", function.Props{
		Program:          "release",
		Description:      "Follows deployments and moves the image tag live",
		Architecture:     props.Architecture,
		Timeout:          2 * time.Minute,
		LogRetentionDays: props.LogRetentionDays,
		Environment:      environment,
		Permissions:      permissions(scope, props),
	})
	awsevents.NewRule(scope, jsii.String("DeploymentEnded"), &awsevents.RuleProps{
		Description: jsii.String("Deployments of the service that ended, whoever started them"),
		EventPattern: &awsevents.EventPattern{
			Source:     jsii.Strings("aws.ecs"),
			DetailType: jsii.Strings("ECS Deployment State Change"),
			Resources:  &[]*string{props.Service.ServiceArn()},
			Detail:     &map[string]any{"eventName": []string{"SERVICE_DEPLOYMENT_COMPLETED", "SERVICE_DEPLOYMENT_FAILED"}},
		},
		Targets: &[]awsevents.IRuleTarget{awseventstargets.NewLambdaFunction(handler, nil)},
	})
	return handler
}

func permissions(scope constructs.Construct, props Props) []policy.Statement {
	cluster, name := *props.Cluster.ClusterName(), *props.Service.ServiceName()
	stack := awscdk.Stack_Of(scope)
	ecsARN := func(resource, path string) *string {
		return stack.FormatArn(&awscdk.ArnComponents{Service: jsii.String("ecs"), Resource: jsii.String(resource), ResourceName: jsii.String(path)})
	}
	clusterARN := *props.Cluster.ClusterArn()
	allowed := []policy.Statement{
		policy.Allow("ecs:DescribeServices").On(props.Service.ServiceArn()),
		// IAM asks for the service as well as for what is described.
		policy.Allow("ecs:ListServiceDeployments", "ecs:DescribeServiceDeployments", "ecs:DescribeServiceRevisions").
			On(props.Service.ServiceArn(), ecsARN("service-deployment", cluster+"/"+name+"/*"), ecsARN("service-revision", cluster+"/"+name+"/*")).
			Because("the deployments and revisions of the one service, whose ids ECS makes"),
		policy.Allow("ecs:DescribeTasks").On(ecsARN("task", cluster+"/*")).If("ArnEquals", "ecs:cluster", clusterARN).
			Because("the tasks of the environment's own cluster, whose ids ECS makes"),
		policy.Allow("ecs:ListTasks").OnAll().If("ArnEquals", "ecs:cluster", clusterARN).
			Because("IAM knows only container instances as its resource, and Fargate has none; the condition names the cluster"),
		policy.Allow("ecr:BatchGetImage", "ecr:ListImages", "ecr:PutImage").On(props.Repository.RepositoryArn()),
		policy.Allow("codepipeline:PutJobSuccessResult", "codepipeline:PutJobFailureResult").OnAll(),
	}
	if props.NotificationTopicArn != "" {
		allowed = append(allowed, policy.Allow("sns:Publish").On(jsii.String(props.NotificationTopicArn)))
	}
	if props.NotificationKeyArn != "" {
		allowed = append(allowed, policy.Allow("kms:GenerateDataKey*", "kms:Decrypt").On(jsii.String(props.NotificationKeyArn)).
			Because("SNS encrypts what is published with data keys of this one key; its documentation asks for all forms of the action"))
	}
	return allowed
}
