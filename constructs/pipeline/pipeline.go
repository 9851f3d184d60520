// Package pipeline defines the application's release pipeline: Source, Build, an optional approval, Deploy.
package pipeline

import (
	"strings"
	"time"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awscodebuild"
	"github.com/aws/aws-cdk-go/awscdk/v2/awscodepipeline"
	"github.com/aws/aws-cdk-go/awscdk/v2/awscodepipelineactions"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsecs"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsiam"
	"github.com/aws/aws-cdk-go/awscdk/v2/awslambda"
	"github.com/aws/aws-cdk-go/awscdk/v2/awss3"
	"github.com/aws/constructs-go/constructs/v10"
	"github.com/aws/jsii-runtime-go"

	"flask-on-fargate/internal/cdk"
	"flask-on-fargate/internal/policy"
)

// Props configures [New].
type Props struct {
	ConnectionArn string   // required; of the CodeConnections connection
	Repository    string   // required; owner/name of the application's repository
	Branch        string   // required
	Paths         []string // default: a push that changes any file starts the pipeline
	Approval      bool     // default: a built image is deployed at once

	Artifacts     awss3.IBucket         // required
	Build         awscodebuild.IProject // required; it may use Artifacts
	Release       awslambda.IFunction   // required; it follows the deployment
	Service       awsecs.IBaseService   // required
	Family        string                // required; of the service's task definition
	TaskRoles     []awsiam.IRole        // required; both roles of the task definition
	DeployTimeout time.Duration         // required; whole minutes, at most 60
}

// New defines the pipeline under scope. A newer commit supersedes one that waits.
func New(scope constructs.Construct, id string, props Props) awscodepipeline.Pipeline {
	this := constructs.NewConstruct(scope, jsii.String(id))
	source := awscodepipeline.NewArtifact(jsii.String("Source"), nil)
	image := awscodepipeline.NewArtifact(jsii.String("Image"), nil)
	fetch := newSource(props, source)

	pipeline := awscodepipeline.NewPipeline(this, jsii.String("Pipeline"), &awscodepipeline.PipelineProps{
		PipelineType:              awscodepipeline.PipelineType_V2,
		ExecutionMode:             awscodepipeline.ExecutionMode_SUPERSEDED,
		ArtifactBucket:            props.Artifacts,
		CrossAccountKeys:          jsii.Bool(false),
		Role:                      newRole(this, props),
		UsePipelineRoleForActions: jsii.Bool(true),
		Triggers: &[]*awscodepipeline.TriggerProps{{
			ProviderType:     awscodepipeline.ProviderType_CODE_STAR_SOURCE_CONNECTION,
			GitConfiguration: &awscodepipeline.GitConfiguration{SourceAction: fetch, PushFilter: pushFilter(props)},
		}},
	})
	stage := func(name string, actions ...awscodepipeline.IAction) {
		pipeline.AddStage(&awscodepipeline.StageOptions{StageName: jsii.String(name), Actions: &actions})
	}
	stage("Source", fetch)
	stage("Build", awscodepipelineactions.NewCodeBuildAction(&awscodepipelineactions.CodeBuildActionProps{
		ActionName: jsii.String("Build"),
		Project:    props.Build,
		Input:      source,
		Outputs:    &[]awscodepipeline.Artifact{image},
	}))
	if props.Approval {
		stage("Approve", awscodepipelineactions.NewManualApprovalAction(&awscodepipelineactions.ManualApprovalActionProps{
			ActionName:            jsii.String("Approve"),
			AdditionalInformation: jsii.String("Deploy the image that this run has built"),
		}))
	}
	stage("Deploy", newDeploy(props, image), newRelease(props, image))
	return pipeline
}

func newSource(props Props, output awscodepipeline.Artifact) awscodepipelineactions.CodeStarConnectionsSourceAction {
	owner, name, _ := strings.Cut(props.Repository, "/")
	return awscodepipelineactions.NewCodeStarConnectionsSourceAction(&awscodepipelineactions.CodeStarConnectionsSourceActionProps{
		ActionName:    jsii.String("Source"),
		ConnectionArn: jsii.String(props.ConnectionArn),
		Owner:         jsii.String(owner),
		Repo:          jsii.String(name),
		Branch:        jsii.String(props.Branch),
		Output:        output,
		// The trigger alone starts the pipeline. By default the action does as well, at a push that changes any file:
		// https://docs.aws.amazon.com/codepipeline/latest/userguide/pipelines-triggers.html
		TriggerOnPush: jsii.Bool(false),
	})
}

func pushFilter(props Props) *[]*awscodepipeline.GitPushFilter {
	filter := &awscodepipeline.GitPushFilter{BranchesIncludes: jsii.Strings(props.Branch)}
	if len(props.Paths) > 0 {
		filter.FilePathsIncludes = jsii.Strings(props.Paths...)
	}
	return &[]*awscodepipeline.GitPushFilter{filter}
}

func newDeploy(props Props, image awscodepipeline.Artifact) awscodepipeline.IAction {
	return awscodepipelineactions.NewEcsDeployAction(&awscodepipelineactions.EcsDeployActionProps{
		ActionName:        jsii.String("Deploy"),
		RunOrder:          jsii.Number(1),
		Service:           props.Service,
		Input:             image,
		DeploymentTimeout: cdk.Duration(props.DeployTimeout),
	})
}

// newRelease runs beside the deploy action, not after it: that one does not notice a deployment that ECS rolled back, and
// fails at its time-out only.
func newRelease(props Props, image awscodepipeline.Artifact) awscodepipeline.IAction {
	return awscodepipelineactions.NewLambdaInvokeAction(&awscodepipelineactions.LambdaInvokeActionProps{
		ActionName: jsii.String("Release"),
		RunOrder:   jsii.Number(1),
		Lambda:     props.Release,
		Inputs:     &[]awscodepipeline.Artifact{image},
	})
}

// newRole is written out: the library's actions would add seven ECS actions, iam:PassRole and lambda:ListFunctions on all
// resources, and all objects of the bucket by wildcard actions.
func newRole(scope constructs.Construct, props Props) awsiam.IRole {
	family := awscdk.Stack_Of(scope).FormatArn(&awscdk.ArnComponents{
		Service: jsii.String("ecs"), Resource: jsii.String("task-definition"), ResourceName: jsii.String(props.Family + ":*"),
	})
	var taskRoles []*string
	for _, role := range props.TaskRoles {
		taskRoles = append(taskRoles, role.RoleArn())
	}
	return policy.NewRole(scope, "Role", "codepipeline.amazonaws.com",
		// The service's old name and its new one: which one is asked for depends on the ARN's form.
		policy.Allow("codeconnections:UseConnection", "codestar-connections:UseConnection").On(jsii.String(props.ConnectionArn)),
		policy.Allow("s3:GetBucketVersioning", "s3:GetBucketAcl", "s3:GetBucketLocation").On(props.Artifacts.BucketArn()),
		policy.Allow("s3:GetObject", "s3:GetObjectVersion", "s3:PutObject", "s3:PutObjectAcl").On(props.Artifacts.ArnForObjects(jsii.String("*"))).
			Because("its own artifacts, which CodePipeline names anew in each run"),
		policy.Allow("codebuild:BatchGetBuilds", "codebuild:StartBuild", "codebuild:StopBuild").On(props.Build.ProjectArn()),
		policy.Allow("ecs:DescribeServices", "ecs:UpdateService").On(props.Service.ServiceArn()),
		policy.Allow("ecs:RegisterTaskDefinition").OnAll().
			Because("AWS's authorization reference names the family's ARN, CodePipeline's documentation demands *; this role can give a revision only the service's two roles, and deploy it to the service only"),
		policy.Allow("ecs:TagResource").On(family).If("StringEquals", "ecs:CreateAction", "RegisterTaskDefinition").
			Because("the revision that the release has just registered, by the condition"),
		policy.Allow("ecs:DescribeTaskDefinition").OnAll(),
		policy.Allow("iam:PassRole").On(taskRoles...).If("StringEquals", "iam:PassedToService", "ecs-tasks.amazonaws.com"),
		policy.Allow("lambda:InvokeFunction").On(props.Release.FunctionArn()),
	)
}
