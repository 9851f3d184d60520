// Package repository defines the ECR repository of the application's image. The meaning of its tags is in internal/imagetag.
package repository

import (
	"github.com/aws/aws-cdk-go/awscdk/v2/awsecr"
	"github.com/aws/constructs-go/constructs/v10"
	"github.com/aws/jsii-runtime-go"

	"flask-on-fargate/internal/cdk"
	"flask-on-fargate/internal/imagetag"
	"flask-on-fargate/internal/policy"
)

// Props configures [New].
type Props struct {
	Retain bool // default: the repository is emptied and goes with the stack
}

// New defines a repository that scans on push and keeps `live`, `seed`, the newest 20 builds and the newest 5 placeholders.
func New(scope constructs.Construct, id string, props Props) awsecr.Repository {
	repository := awsecr.NewRepository(scope, jsii.String(id), &awsecr.RepositoryProps{
		ImageScanOnPush:    jsii.Bool(true),
		ImageTagMutability: awsecr.TagMutability_MUTABLE_WITH_EXCLUSION,
		ImageTagMutabilityExclusionFilters: &[]awsecr.ImageTagMutabilityExclusionFilter{
			awsecr.ImageTagMutabilityExclusionFilter_Wildcard(jsii.String(imagetag.Commit + "*")),
		},
		LifecycleRules: lifecycle(),
		RemovalPolicy:  cdk.RemovalPolicy(props.Retain),
	})
	// Also where the repository is retained: it is deleted then only when its stack could not be created, and by then it has
	// been seeded. The L2 refuses the two together.
	repository.Node().DefaultChild().(awsecr.CfnRepository).SetEmptyOnDelete(jsii.Bool(true))
	return repository
}

// AllowPush allows pulling and pushing images of r, for one that is logged in by [AllowLogin].
func AllowPush(r awsecr.IRepository) policy.Statement {
	return policy.Allow(
		"ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer",
		"ecr:InitiateLayerUpload", "ecr:UploadLayerPart", "ecr:CompleteLayerUpload", "ecr:PutImage",
	).On(r.RepositoryArn())
}

// AllowLogin allows logging in to the registry.
func AllowLogin() policy.Statement {
	return policy.Allow("ecr:GetAuthorizationToken").OnAll()
}

// How many images of each kind stay, beside those that are `live` and `seed`.
const (
	builds       = 20
	placeholders = 5
	others       = 20 // with tags of the user's own, at least
)

// lifecycle relies on a rule of ECR: an image that a rule of higher priority matches is never expired by a lower one. So
// an old build that is still `live`, which is what runs, stays.
// https://docs.aws.amazon.com/AmazonECR/latest/userguide/lifecycle_policy_parameters.html
func lifecycle() *[]*awsecr.LifecycleRule {
	return &[]*awsecr.LifecycleRule{
		{
			Description:    jsii.String("live never expires"),
			TagPatternList: jsii.Strings(imagetag.Live),
			MaxImageCount:  jsii.Number(1),
		},
		{
			Description:    jsii.String("seed never expires"),
			TagPatternList: jsii.Strings(imagetag.Seed),
			MaxImageCount:  jsii.Number(1),
		},
		{
			Description:    jsii.String("the newest 20 builds stay"),
			TagPatternList: jsii.Strings(imagetag.Commit + "*"),
			MaxImageCount:  jsii.Number(builds),
		},
		{
			Description:    jsii.String("the newest 5 placeholders stay: tasks may still run one"),
			TagPatternList: jsii.Strings(imagetag.Placeholder + "*"),
			MaxImageCount:  jsii.Number(placeholders),
		},
		{
			Description:    jsii.String("of other tags, such as latest, at least the newest 20 images stay"),
			TagPatternList: jsii.Strings("*"),
			MaxImageCount:  jsii.Number(others + builds + placeholders + 2), // the rule counts all tagged images
		},
		{
			Description: jsii.String("untagged images go after 14 days"),
			TagStatus:   awsecr.TagStatus_UNTAGGED,
			MaxImageAge: cdk.Days(14),
		},
	}
}
