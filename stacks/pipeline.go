package stacks

import (
	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awscodebuild"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsecr"
	"github.com/aws/constructs-go/constructs/v10"

	"flask-on-fargate/config"
	"flask-on-fargate/constructs/imagebuild"
	"flask-on-fargate/constructs/webservice"
	"flask-on-fargate/internal/platform"
)

// PipelineStackProps configures [NewPipelineStack]. All are required.
type PipelineStackProps struct {
	Repository awsecr.IRepository
}

// PipelineStack holds what releases the application: for now the build of its image.
type PipelineStack struct {
	Stack awscdk.Stack
	Build awscodebuild.PipelineProject
}

// NewPipelineStack defines the stack <project>-<env>-pipeline under scope.
func NewPipelineStack(scope constructs.Construct, env config.Environment, props PipelineStackProps) *PipelineStack {
	stack := newStack(scope, "Pipeline", env, "pipeline", "Build of the application's image")
	build := imagebuild.New(stack, "ImageBuild", imagebuild.Props{
		Repository:       props.Repository,
		ContainerName:    webservice.ContainerName,
		Architecture:     platform.Architecture(env.Service.Architecture),
		LogRetentionDays: env.Service.LogRetentionDays,
	})
	return &PipelineStack{Stack: stack, Build: build}
}
