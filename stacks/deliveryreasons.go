package stacks

import (
	"maps"
	"slices"

	"github.com/aws/aws-cdk-go/awscdk/v2/awscodebuild"
	"github.com/aws/aws-cdk-go/awscdk/v2/awss3"
	"github.com/aws/aws-cdk-go/awscdk/v2/pipelines"
	"github.com/aws/constructs-go/constructs/v10"
	"github.com/aws/jsii-runtime-go"

	"flask-on-fargate/internal/nag"
	"flask-on-fargate/internal/policy"
)

// explain says why what CDK Pipelines defines itself is as it is: its builds, and the roles that it gives no means to replace.
// The artifacts are the bucket of each region.
func (b *builds) explain(pipeline pipelines.CodePipeline, artifacts map[string]awss3.IBucket) {
	const written = "CDK Pipelines writes this statement and has no setting for it"
	objects := policy.Allow("s3:GetBucket*", "s3:GetObject*", "s3:List*").On(b.artifacts.ArnForObjects(jsii.String("*"))).
		Because(written + "; only the pipeline's own artifact bucket")
	logs := policy.Allow("logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents")
	reports := policy.Allow("codebuild:CreateReportGroup", "codebuild:CreateReport", "codebuild:UpdateReport",
		"codebuild:BatchPutTestCases", "codebuild:BatchPutCodeCoverages")
	arn := func(service, path string) *string {
		return jsii.String("arn:aws:" + service + ":" + *b.stack.Region() + ":" + *b.stack.Account() + ":" + path)
	}

	key := policy.Allow("kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey*", "kms:ReEncrypt*")
	var ofKey []policy.Statement
	if b.key == nil {
		b.explainEncryption(pipeline)
	} else {
		ofKey = append(ofKey, key.Because(written+"; the key of the pipeline's own artifacts"))
	}
	selfMutation := *pipeline.SelfMutationProject().ProjectName()
	policy.Explain(child(pipeline, "UpdatePipeline", "SelfMutation", "Role"), append(ofKey, objects,
		logs.On(arn("logs", "log-group:/aws/codebuild/"+selfMutation+":*")).Because(written+"; the streams of its own log group"),
		reports.On(arn("codebuild", "report-group/"+selfMutation+"-*")).Because(written+"; the reports of its own build, which makes none"),
		policy.Allow("sts:AssumeRole").On(jsii.String("arn:*:iam::"+*b.stack.Account()+":role/*")).
			Because(written+"; by its condition only the bootstrap's roles with the tags deploy, file-publishing and image-publishing: it updates the pipeline"),
		policy.Allow("cloudformation:DescribeStacks", "s3:ListBucket").OnAll().
			Because(written+"; it reads the bootstrap's version and the names of objects, and changes nothing"),
	)...)
	policy.Explain(child(pipeline, "Assets", "FileRole"), objects,
		logs.On(arn("logs", "log-group:/aws/codebuild/*")).Because(written+"; log groups of the account's builds, to which it can only add"),
		reports.On(arn("codebuild", "report-group/*")).Because(written+"; test reports of the account's builds, which it can make and change, not delete"),
		policy.Allow("codebuild:BatchGetBuilds", "codebuild:StartBuild", "codebuild:StopBuild").OnAll().
			Because(written+"; it could start any build of the account, with commands of its own: but who changes what this build runs, by the synth, can deploy anything already"),
	)
	var buckets []*string
	for _, region := range slices.Sorted(maps.Keys(artifacts)) {
		buckets = append(buckets, artifacts[region].ArnForObjects(jsii.String("*")))
	}
	if b.key != nil && len(buckets) > 1 {
		ofKey = append(ofKey, key.OnAll().Because(written+"; it knows the key of the artifacts in another region by its alias only, which cannot stand here"))
	}
	policy.Explain(child(pipeline, "Pipeline", "Role"), append(ofKey,
		policy.Allow("s3:Abort*", "s3:DeleteObject*", "s3:GetBucket*", "s3:GetObject*", "s3:List*").On(buckets...).
			Because(written+"; only the pipeline's own artifact buckets"))...)
}

// explainEncryption is for builds that have no key of the pipeline's.
func (b *builds) explainEncryption(pipeline pipelines.CodePipeline) {
	publish := child(pipeline, "Assets", "FileAsset").(awscodebuild.IProject)
	projects := []awscodebuild.IProject{pipeline.SynthProject(), pipeline.SelfMutationProject(), publish}
	for _, step := range b.steps {
		projects = append(projects, step.Project())
	}
	for _, project := range projects {
		nag.Accept(project, nag.Finding{Rule: "AwsSolutions-CB4", Reason: "What a build leaves goes into the pipeline's artifact bucket, which " +
			"encrypts it, and holds no secret. A further key costs 1 USD a month and keeps out nobody else of this account."})
	}
}

// child follows ids below a construct.
func child(construct constructs.IConstruct, ids ...string) constructs.IConstruct {
	for _, id := range ids {
		construct = construct.Node().FindChild(jsii.String(id))
	}
	return construct
}
