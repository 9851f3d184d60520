// Package imagebuild defines the CodeBuild project that builds and pushes the application's image.
package imagebuild

import (
	"time"

	"github.com/aws/aws-cdk-go/awscdk/v2/awscodebuild"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsecr"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsiam"
	"github.com/aws/aws-cdk-go/awscdk/v2/awslogs"
	"github.com/aws/aws-cdk-go/awscdk/v2/awss3"
	"github.com/aws/constructs-go/constructs/v10"
	"github.com/aws/jsii-runtime-go"

	"flask-on-fargate/constructs/loggroup"
	"flask-on-fargate/constructs/repository"
	"flask-on-fargate/internal/cdk"
	"flask-on-fargate/internal/nag"
	"flask-on-fargate/internal/platform"
	"flask-on-fargate/internal/policy"
)

// Props configures [New].
type Props struct {
	Artifacts        awss3.IBucket         // required; of the pipeline that runs the build
	Repository       awsecr.IRepository    // required
	ContainerName    string                // required; of the container that the image is for, in imagedefinitions.json
	Architecture     platform.Architecture // required; the image is built on it
	LogRetentionDays int                   // required
}

// New defines a build that follows the application repository's buildspec.yml, with Docker.
func New(scope constructs.Construct, id string, props Props) awscodebuild.PipelineProject {
	this := constructs.NewConstruct(scope, jsii.String(id))
	// An image is built on the architecture that it is for: emulation takes many times as long.
	image := awscodebuild.LinuxBuildImage_STANDARD_7_0()
	if props.Architecture == platform.ARM64 {
		image = awscodebuild.LinuxArmBuildImage_AMAZON_LINUX_2023_STANDARD_3_0()
	}
	logs := loggroup.New(this, "Logs", loggroup.Props{RetentionDays: props.LogRetentionDays})
	project := awscodebuild.NewPipelineProject(this, jsii.String("Project"), &awscodebuild.PipelineProjectProps{
		Description: jsii.String("Builds the application's image and pushes it"),
		BuildSpec:   awscodebuild.BuildSpec_FromSourceFilename(jsii.String("buildspec.yml")),
		Environment: &awscodebuild.BuildEnvironment{BuildImage: image, Privileged: jsii.Bool(true)},
		EnvironmentVariables: &map[string]*awscodebuild.BuildEnvironmentVariable{
			"REPOSITORY_URI": {Value: props.Repository.RepositoryUri()},
			// The name in the buildspecs of the Terraform project that this one replaces.
			"ECR_REPOSITORY_URI": {Value: props.Repository.RepositoryUri()},
			"CONTAINER_NAME":     {Value: props.ContainerName},
		},
		Role:                        newRole(this, props, logs),
		Timeout:                     cdk.Duration(30 * time.Minute),
		GrantReportGroupPermissions: jsii.Bool(false),
		Logging: &awscodebuild.LoggingOptions{CloudWatch: &awscodebuild.CloudWatchLoggingOptions{
			LogGroup: logs,
		}},
	})
	nag.Accept(project, nag.Finding{Rule: "AwsSolutions-CB4", Reason: "The build's output goes into the pipeline's artifact bucket, " +
		"which encrypts it, and names an image only. A key of our own costs 1 USD a month and keeps out nobody else of this account."})
	return project
}

// newRole is written out: the library would add the right to create log groups, and to write to one that is not used.
func newRole(scope constructs.Construct, props Props, logs awslogs.ILogGroup) awsiam.IRole {
	return policy.NewRole(scope, "Role", "codebuild.amazonaws.com",
		policy.Allow("logs:CreateLogStream", "logs:PutLogEvents").On(logs.LogGroupArn()),
		policy.Allow("s3:GetBucketAcl", "s3:GetBucketLocation").On(props.Artifacts.BucketArn()),
		policy.Allow("s3:GetObject", "s3:GetObjectVersion", "s3:PutObject").On(props.Artifacts.ArnForObjects(jsii.String("*"))).
			Because("the artifacts of its own pipeline, which CodePipeline names anew in each run"),
		repository.AllowLogin(),
		repository.AllowPush(props.Repository),
	)
}
