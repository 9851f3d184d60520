package stacks

import (
	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awscodebuild"
	"github.com/aws/aws-cdk-go/awscdk/v2/awscodeconnections"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsecr"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsecs"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsevents"
	"github.com/aws/aws-cdk-go/awscdk/v2/awseventstargets"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsiam"
	"github.com/aws/aws-cdk-go/awscdk/v2/awslambda"
	"github.com/aws/aws-cdk-go/awscdk/v2/awss3"
	"github.com/aws/constructs-go/constructs/v10"
	"github.com/aws/jsii-runtime-go"

	"flask-on-fargate/config"
	"flask-on-fargate/constructs/bucket"
	"flask-on-fargate/constructs/imagebuild"
	"flask-on-fargate/constructs/pipeline"
	"flask-on-fargate/constructs/release"
	"flask-on-fargate/constructs/webservice"
)

// artifactDays is how long a run's artifacts are kept, and so how long one of its stages can be retried.
const artifactDays = 30

// PipelineStackProps configures [NewPipelineStack]. All are required.
type PipelineStackProps struct {
	Cluster    awsecs.ICluster
	Service    awsecs.FargateService
	TaskRoles  []awsiam.IRole // of the service's task definition
	Repository awsecr.IRepository
}

// PipelineStack holds what releases the application: the function that keeps the tag `live` true, and the pipeline.
type PipelineStack struct {
	Stack awscdk.Stack
}

// NewPipelineStack defines the stack <project>-<env>-pipeline under scope. Without pipeline.repository in the configuration
// it holds the function, and what a pipeline needs, but none.
func NewPipelineStack(scope constructs.Construct, env config.Environment, props PipelineStackProps) *PipelineStack {
	stack := newStack(scope, "Pipeline", env, "pipeline", "Releases of the application")
	follow := release.New(stack, "Release", release.Props{
		Cluster:              props.Cluster,
		Service:              props.Service,
		Repository:           props.Repository,
		ContainerName:        webservice.ContainerName,
		DeployTimeout:        deployTimeout(env),
		Architecture:         env.Architecture,
		LogRetentionDays:     env.LogRetentionDays,
		NotificationTopicArn: env.NotificationTopicArn,
		NotificationKeyArn:   env.NotificationKeyArn,
	})
	artifacts := bucket.New(stack, "Artifacts", bucket.Props{ExpirationDays: artifactDays})
	build := imagebuild.New(stack, "ImageBuild", imagebuild.Props{
		Artifacts:        artifacts,
		Repository:       props.Repository,
		ContainerName:    webservice.ContainerName,
		Architecture:     env.Architecture,
		LogRetentionDays: env.LogRetentionDays,
	})
	if env.Pipeline.Repository != "" {
		newPipeline(stack, env, props, follow, artifacts, build)
	}
	declareProviderLogs(stack, bucketEmptier)
	return &PipelineStack{Stack: stack}
}

func newPipeline(stack awscdk.Stack, env config.Environment, props PipelineStackProps, follow awslambda.IFunction, artifacts awss3.IBucket, build awscodebuild.IProject) {
	p := pipeline.New(stack, "Pipeline", pipeline.Props{
		ConnectionArn: connection(stack, env.FullName(), env.Region, env.Pipeline.ConnectionArn),
		Repository:    env.Pipeline.Repository,
		Branch:        env.Pipeline.Branch,
		Paths:         env.Pipeline.Paths,
		Approval:      env.Pipeline.Approval,
		Artifacts:     artifacts,
		Build:         build,
		Release:       follow,
		Service:       props.Service,
		Family:        env.FullName(),
		TaskRoles:     props.TaskRoles,
		DeployTimeout: deployTimeout(env),
	})
	if env.NotificationTopicArn != "" {
		p.OnStateChange(jsii.String("Failed"), &awsevents.OnEventOptions{
			Description:  jsii.String("Runs of the pipeline that failed"),
			EventPattern: &awsevents.EventPattern{Detail: &map[string]any{"state": []string{"FAILED"}}},
			Target:       awseventstargets.NewLambdaFunction(follow, nil),
		})
	}
	output(stack, "PipelineUrl", "The pipeline in the console", consoleURL(env.Region, "codepipeline/pipelines/"+*p.PipelineName()+"/view"))
}

// connection returns the ARN of the connection to GitHub that is given, or defines one under a name.
func connection(stack awscdk.Stack, name, region, given string) string {
	if given != "" {
		return given
	}
	made := awscodeconnections.NewCfnConnection(stack, jsii.String("Connection"), &awscodeconnections.CfnConnectionProps{
		ConnectionName: jsii.String(name),
		ProviderType:   jsii.String("GitHub"),
	})
	output(stack, "ConnectionUrl", "Complete the handshake of the connection "+name+" here, once", consoleURL(region, "settings/connections"))
	return *made.AttrConnectionArn()
}

func consoleURL(region, page string) *string {
	return jsii.String("https://" + region + ".console.aws.amazon.com/codesuite/" + page + "?region=" + region)
}
