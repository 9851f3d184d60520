package stacks

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awscodebuild"
	"github.com/aws/aws-cdk-go/awscdk/v2/awscodepipeline"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsiam"
	"github.com/aws/aws-cdk-go/awscdk/v2/awskms"
	"github.com/aws/aws-cdk-go/awscdk/v2/awslogs"
	"github.com/aws/aws-cdk-go/awscdk/v2/awss3"
	"github.com/aws/aws-cdk-go/awscdk/v2/pipelines"
	"github.com/aws/constructs-go/constructs/v10"
	"github.com/aws/jsii-runtime-go"

	"flask-on-fargate/config"
	"flask-on-fargate/constructs/bucket"
	"flask-on-fargate/constructs/loggroup"
	"flask-on-fargate/internal/cdk"
	"flask-on-fargate/internal/policy"
	"flask-on-fargate/internal/toolchain"
)

// deliveryLogDays is how long the logs of the pipeline's builds are kept.
const deliveryLogDays = 30

// changeSet is the name that CDK Pipelines gives the change set between its actions Prepare and Deploy.
const changeSet = "PipelineChange"

// The builds after the synth get two folders of its output: the assembly, and the tool with the configuration (make delivery).
const (
	assemblyDir = "cdk.out"
	toolDir     = "cdk.tool"
)

// DeliveryStack holds the pipeline that deploys the environments' stacks, and itself, from this repository.
type DeliveryStack struct {
	Stack awscdk.Stack
}

// NewDelivery defines the stack <project>-delivery, and a stage with the four stacks of each delivered environment. Both are
// defined under app: the stages have the ids that the environments have when they are deployed directly, so that the templates
// are the same, and an environment can move from one way to the other.
//
// The versions are those of the builds.
func NewDelivery(app awscdk.App, delivery config.Delivery, versions toolchain.Versions) *DeliveryStack {
	stack := awscdk.NewStack(app, jsii.String("Delivery"), &awscdk.StackProps{
		StackName:   jsii.String(delivery.FullName()),
		Description: jsii.String("Delivery of the infrastructure"),
		Tags:        deliveryTags(delivery),
		Env:         &awscdk.Environment{Account: optional(delivery.Account), Region: jsii.String(delivery.Region)},
	})
	b := newBuilds(stack, delivery, versions)
	connectionArn := connection(stack, delivery.FullName(), delivery.Region, delivery.ConnectionArn)
	synth := b.synth(pipelines.CodePipelineSource_Connection(jsii.String(delivery.Repository), jsii.String(delivery.Branch),
		&pipelines.ConnectionSourceOptions{ConnectionArn: jsii.String(connectionArn), ActionName: jsii.String("Source")}))
	buckets := artifactBuckets(app, delivery, b.artifacts)
	pipeline := pipelines.NewCodePipeline(stack, jsii.String("Pipeline"), &pipelines.CodePipelineProps{
		PipelineType:                     awscodepipeline.PipelineType_V2,
		CrossRegionReplicationBuckets:    buckets,
		UsePipelineRoleForActions:        jsii.Bool(true),
		Synth:                            synth,
		CdkAssetsCliVersion:              jsii.String("4"), // as the CLI's, whose default is "2": not the next major version by accident
		PublishAssetsInParallel:          jsii.Bool(false), // one build for all, not one for each
		CodeBuildDefaults:                b.defaults(),
		SelfMutationCodeBuildDefaults:    &pipelines.CodeBuildOptions{PartialBuildSpec: b.install("nodejs")},
		AssetPublishingCodeBuildDefaults: &pipelines.CodeBuildOptions{PartialBuildSpec: b.install("nodejs")},
	})
	b.tool = synth.AddOutputDirectory(jsii.String(toolDir))
	for _, delivered := range delivery.Environments {
		addEnvironment(app, pipeline, b, delivered)
	}
	pipeline.BuildPipeline()
	b.explain(pipeline, *buckets)

	// The library knows the service by its old name only; which name is asked for depends on the ARN's form.
	pipeline.Pipeline().AddToRolePolicy(policy.Allow("codeconnections:UseConnection").On(jsii.String(connectionArn)).CDK())
	output(stack, "PipelineUrl", "The pipeline in the console",
		consoleURL(delivery.Region, "codepipeline/pipelines/"+*pipeline.Pipeline().PipelineName()+"/view"))
	declareProviderLogs(stack, bucketEmptier)
	return &DeliveryStack{Stack: stack}
}

// NewEnvironmentStage defines the four stacks of env in a stage of their own under app. Their templates are those of
// [NewEnvironment] under a plain construct, to the byte.
func NewEnvironmentStage(app awscdk.App, env config.Environment) (awscdk.Stage, *Environment) {
	stage := awscdk.NewStage(app, jsii.String(env.Name), nil)
	environment := NewEnvironment(stage, env)
	forgetNesting(stage)
	return stage, environment
}

// addEnvironment adds the stage of an environment: approval, then for each stack its change set, the guard's look at it, and its
// execution, and at last the smoke test.
func addEnvironment(app awscdk.App, pipeline pipelines.CodePipeline, b *builds, delivered config.DeliveredEnvironment) {
	stage, env := NewEnvironmentStage(app, delivered.Environment)
	var before []pipelines.Step
	if delivered.Approval {
		before = append(before, pipelines.NewManualApprovalStep(jsii.String("Approve"), &pipelines.ManualApprovalStepProps{
			Comment: jsii.String("Deploy the environment " + delivered.Name),
		}))
	}
	role := b.guardRole(delivered.Name, lookupRole(env.Network.Stack))
	var guarded []*pipelines.StackSteps
	for _, stack := range []awscdk.Stack{env.Network.Stack, env.Data.Stack, env.Service.Stack, env.Pipeline.Stack} {
		guarded = append(guarded, &pipelines.StackSteps{
			Stack:     stack,
			ChangeSet: &[]pipelines.Step{b.guard(stack, delivered.Name, role)},
		})
	}
	pipeline.AddStage(stage, &pipelines.AddStageOpts{
		Pre:        &before,
		StackSteps: &guarded,
		Post:       &[]pipelines.Step{b.smoke(delivered.Name, env.Service.URL)},
	})
}

// assetPath is the metadata by which tools on this machine find the code of a function. Nothing deployed depends on it.
const assetPath = "aws:asset:path"

// forgetNesting takes from the metadata of the stage's resources that the stage's assembly is a folder in another one.
func forgetNesting(stage awscdk.Stage) {
	for _, construct := range *stage.Node().FindAll(constructs.ConstructOrder_PREORDER) {
		resource, ok := construct.(awscdk.CfnResource)
		if !ok {
			continue
		}
		if path, ok := resource.GetMetadata(jsii.String(assetPath)).(string); ok {
			resource.AddMetadata(jsii.String(assetPath), strings.TrimPrefix(path, "../"))
		}
	}
}

// lookupRole is the ARN of the bootstrap's role that may read whatever is in the stack's account, and change nothing.
func lookupRole(stack awscdk.Stack) string {
	return strings.ReplaceAll(*stack.Synthesizer().LookupRole(), "${AWS::Partition}", "aws")
}

func deliveryTags(delivery config.Delivery) *map[string]*string {
	return &map[string]*string{"project": jsii.String(delivery.Project)}
}

// crossesAccounts tells whether an environment is in another account than the pipeline.
func crossesAccounts(delivery config.Delivery) bool {
	return slices.ContainsFunc(delivery.Environments, func(delivered config.DeliveredEnvironment) bool {
		return delivered.Environment.Account != delivery.Account
	})
}

// newKey defines a key for the artifacts of a pipeline that deploys into other accounts, 1 USD a month. The roles there
// cannot use the keys that AWS manages, nor S3's own; without such an account the answer is nil, and S3's own encryption does.
func newKey(stack awscdk.Stack, delivery config.Delivery) awskms.Key {
	if !crossesAccounts(delivery) {
		return nil
	}
	return awskms.NewKey(stack, jsii.String("ArtifactsKey"), &awskms.KeyProps{
		Description:       jsii.String("Artifacts of the delivery pipeline"),
		EnableKeyRotation: jsii.Bool(true),
		RemovalPolicy:     awscdk.RemovalPolicy_DESTROY,
	})
}

// artifactBuckets returns the bucket of each region: home in the pipeline's, and for each further region of the environments
// that of a stack <project>-delivery-<region>, to which CodePipeline copies a run's artifacts, since CloudFormation reads them in
// its own region only. The library would define such stacks itself, whose buckets stay for ever.
func artifactBuckets(app awscdk.App, delivery config.Delivery, home awss3.IBucket) *map[string]awss3.IBucket {
	buckets := map[string]awss3.IBucket{delivery.Region: home}
	for _, delivered := range delivery.Environments {
		region := delivered.Environment.Region
		if buckets[region] != nil {
			continue
		}
		name := delivery.FullName() + "-" + region
		stack := awscdk.NewStack(app, jsii.String("Delivery-"+region), &awscdk.StackProps{
			StackName:   jsii.String(name),
			Description: jsii.String("Artifacts of the delivery pipeline in " + region),
			Tags:        deliveryTags(delivery),
			Env:         &awscdk.Environment{Account: optional(delivery.Account), Region: jsii.String(region)},
		})
		// Both have names, since the pipeline in another region has no other way to refer to them.
		props := bucket.Props{Name: fmt.Sprintf("%s-%s", name, delivery.Account), ExpirationDays: artifactDays}
		if key := newKey(stack, delivery); key != nil {
			props.Key = awskms.NewAlias(stack, jsii.String("ArtifactsKeyAlias"), &awskms.AliasProps{
				AliasName:     jsii.String("alias/" + name),
				TargetKey:     key,
				RemovalPolicy: awscdk.RemovalPolicy_DESTROY,
			})
		}
		buckets[region] = bucket.New(stack, "Artifacts", props)
		declareProviderLogs(stack, bucketEmptier)
	}
	return &buckets
}

// builds defines the CodeBuild steps of the pipeline.
type builds struct {
	stack     awscdk.Stack
	versions  toolchain.Versions
	logs      awslogs.ILogGroup
	artifacts awss3.IBucket
	key       awskms.IKey // of artifacts, or nil
	tool      pipelines.IFileSetProducer
	smokeRole awsiam.IRole
	steps     []pipelines.CodeBuildStep // that run the tool
}

func newBuilds(stack awscdk.Stack, delivery config.Delivery, versions toolchain.Versions) *builds {
	b := &builds{
		stack:    stack,
		versions: versions,
		logs:     loggroup.New(stack, "Logs", loggroup.Props{RetentionDays: deliveryLogDays}),
	}
	props := bucket.Props{ExpirationDays: artifactDays}
	if key := newKey(stack, delivery); key != nil {
		b.key, props.Key = key, key
	}
	b.artifacts = bucket.New(stack, "Artifacts", props)
	b.smokeRole = b.role(stack, "SmokeRole", b.readArtifacts()...)
	return b
}

// defaults hold for the library's own builds too. None needs Docker.
func (b *builds) defaults() *pipelines.CodeBuildOptions {
	return &pipelines.CodeBuildOptions{
		BuildEnvironment: &awscodebuild.BuildEnvironment{
			// The library has no name for it yet, and the image that it takes by default knows neither Node.js 24 nor a recent Go.
			BuildImage:  awscodebuild.LinuxBuildImage_FromCodeBuildImageId(jsii.String("aws/codebuild/standard:8.0")),
			ComputeType: awscodebuild.ComputeType_SMALL,
			Privileged:  jsii.Bool(false),
		},
		Logging: &awscodebuild.LoggingOptions{CloudWatch: &awscodebuild.CloudWatchLoggingOptions{LogGroup: b.logs}},
	}
}

// install is the part of a build specification that installs runtimes, golang or nodejs: the very Node.js that the project pins,
// and the Go from which `make` gets the very toolchain of go.mod.
// https://docs.aws.amazon.com/codebuild/latest/userguide/runtime-versions.html
func (b *builds) install(runtimes ...string) awscodebuild.BuildSpec {
	return awscodebuild.BuildSpec_FromObject(b.installing(runtimes...))
}

func (b *builds) installing(runtimes ...string) *map[string]any {
	all := map[string]string{"golang": b.versions.GoMinor(), "nodejs": b.versions.Node}
	wanted := map[string]any{}
	for _, runtime := range runtimes {
		wanted[runtime] = all[runtime]
	}
	return &map[string]any{"phases": map[string]any{"install": map[string]any{"runtime-versions": wanted}}}
}

// The Go caches have fixed places, since the image's version manager puts them into folders of its own. The third is jsii's.
const (
	goModCache = "/root/.cache/go-mod"
	goCache    = "/root/.cache/go-build"
	jsiiCache  = "/root/.cache/aws/jsii"
)

// synth builds the project and synthesizes the pipeline and all environments. Its cache is in a bucket of its own, to which no other
// build has access: a local cache is on a host that is gone by the next push, and compiling the library anew takes minutes.
func (b *builds) synth(source pipelines.IFileSetProducer) pipelines.CodeBuildStep {
	cache := bucket.New(b.stack, "Cache", bucket.Props{ExpirationDays: artifactDays})
	role := b.role(b.stack, "SynthRole", append(b.readArtifacts(),
		policy.Allow("s3:PutObject").On(b.artifacts.ArnForObjects(jsii.String("*"))).
			Because("what it leaves to the later stages, under names that CodePipeline makes in each run"),
		policy.Allow("s3:GetObject", "s3:GetObjectVersion", "s3:PutObject").On(cache.ArnForObjects(jsii.String("*"))).
			Because("its own cache, to which no other build has access"),
		policy.Allow("s3:GetBucketAcl", "s3:GetBucketLocation").On(cache.BucketArn()),
	)...)
	spec := *b.installing("golang", "nodejs")
	spec["cache"] = map[string]any{"paths": []string{goModCache + "/**/*", goCache + "/**/*", jsiiCache + "/**/*"}}
	return pipelines.NewCodeBuildStep(jsii.String("Synth"), &pipelines.CodeBuildStepProps{
		Input:                  source,
		Env:                    &map[string]*string{"GOMODCACHE": jsii.String(goModCache), "GOCACHE": jsii.String(goCache)},
		Commands:               jsii.Strings("make delivery"),
		PrimaryOutputDirectory: jsii.String(assemblyDir),
		PartialBuildSpec:       awscodebuild.BuildSpec_FromObject(&spec),
		Cache:                  awscodebuild.Cache_Bucket(cache, &awscodebuild.BucketCacheOptions{Prefix: jsii.String("synth")}),
		BuildEnvironment:       &awscodebuild.BuildEnvironment{ComputeType: awscodebuild.ComputeType_MEDIUM}, // it compiles
		Role:                   role,
	})
}

// guardRole may assume the lookup role of an environment's account, and nothing else there.
func (b *builds) guardRole(env, lookupRole string) awsiam.IRole {
	return b.role(constructs.NewConstruct(b.stack, jsii.String("Guard-"+env)), "Role",
		append(b.readArtifacts(), policy.Allow("sts:AssumeRole").On(jsii.String(lookupRole)))...)
}

// guard stops the stage between the change set of a stack and its execution, if the change would lose data.
func (b *builds) guard(stack awscdk.Stack, env string, role awsiam.IRole) pipelines.Step {
	return b.run("Guard", role, nil, fmt.Sprintf("guard --stack %s --change-set %s --env %s --role-arn %s",
		*stack.StackName(), changeSet, env, lookupRole(stack)))
}

// smoke fails the stage if the application does not pass the environment's health check. The environment's name needs no quotes.
func (b *builds) smoke(env string, url awscdk.CfnOutput) pipelines.Step {
	return b.run("Smoke", b.smokeRole, &map[string]awscdk.CfnOutput{"APPLICATION_URL": url}, `smoke --env `+env+` "$APPLICATION_URL"`)
}

// run is a step that runs a command of the tool that the synth built.
func (b *builds) run(id string, role awsiam.IRole, env *map[string]awscdk.CfnOutput, command string) pipelines.Step {
	step := pipelines.NewCodeBuildStep(jsii.String(id), &pipelines.CodeBuildStepProps{
		Input:             b.tool,
		EnvFromCfnOutputs: env,
		Commands:          jsii.Strings("chmod +x bin/infra", "bin/infra "+command),
		Role:              role,
		Timeout:           cdk.Duration(30 * time.Minute),
	})
	b.steps = append(b.steps, step)
	return step
}

// role is written out, since the library would add the right to create log groups and reports, and all objects by wildcard actions.
func (b *builds) role(scope constructs.Construct, id string, statements ...policy.Statement) awsiam.IRole {
	return policy.NewRole(scope, id, "codebuild.amazonaws.com",
		append(statements, policy.Allow("logs:CreateLogStream", "logs:PutLogEvents").On(b.logs.LogGroupArn()))...)
}

// readArtifacts is what a build needs to get its input.
func (b *builds) readArtifacts() []policy.Statement {
	statements := []policy.Statement{
		policy.Allow("s3:GetBucketAcl", "s3:GetBucketLocation").On(b.artifacts.BucketArn()),
		policy.Allow("s3:GetObject", "s3:GetObjectVersion").On(b.artifacts.ArnForObjects(jsii.String("*"))).
			Because("its input, which CodePipeline names anew in each run"),
	}
	if b.key != nil {
		statements = append(statements,
			policy.Allow("kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey", "kms:ReEncryptFrom", "kms:ReEncryptTo").On(b.key.KeyArn()))
	}
	return statements
}
