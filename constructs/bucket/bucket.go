// Package bucket defines the application's S3 bucket.
package bucket

import (
	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsiam"
	"github.com/aws/aws-cdk-go/awscdk/v2/awss3"
	"github.com/aws/constructs-go/constructs/v10"
	"github.com/aws/jsii-runtime-go"

	"flask-on-fargate/internal/removal"
)

// Props configures [New].
type Props struct {
	Retain bool // default: the bucket is emptied and goes with the stack
}

// New defines a private, encrypted bucket with a generated name that answers over TLS only.
func New(scope constructs.Construct, id string, props Props) awss3.Bucket {
	return awss3.NewBucket(scope, jsii.String(id), &awss3.BucketProps{
		BlockPublicAccess: awss3.BlockPublicAccess_BLOCK_ALL(),
		Encryption:        awss3.BucketEncryption_S3_MANAGED,
		EnforceSSL:        jsii.Bool(true),
		LifecycleRules: &[]*awss3.LifecycleRule{
			{AbortIncompleteMultipartUploadAfter: awscdk.Duration_Days(jsii.Number(7))},
		},
		RemovalPolicy:     removal.Policy(props.Retain),
		AutoDeleteObjects: jsii.Bool(!props.Retain),
	})
}

// AllowObjects is what the application may do with the objects of b, and no more: the library's grants give ten actions.
// Without s3:ListBucket S3 answers 403, not 404, for an object that is not there.
func AllowObjects(b awss3.IBucket) awsiam.PolicyStatement {
	return awsiam.NewPolicyStatement(&awsiam.PolicyStatementProps{
		Actions:   jsii.Strings("s3:GetObject", "s3:PutObject", "s3:DeleteObject"),
		Resources: &[]*string{b.ArnForObjects(jsii.String("*"))},
	})
}
