// Package bucket defines private S3 buckets.
package bucket

import (
	"sync"

	"github.com/aws/aws-cdk-go/awscdk/v2/awskms"
	"github.com/aws/aws-cdk-go/awscdk/v2/awss3"
	"github.com/aws/constructs-go/constructs/v10"
	"github.com/aws/jsii-runtime-go"

	"flask-on-fargate/internal/cdk"
	"flask-on-fargate/internal/nag"
	"flask-on-fargate/internal/policy"
)

// blockAll keeps the public out, whatever a policy or an ACL says.
var blockAll = sync.OnceValue(awss3.BlockPublicAccess_BLOCK_ALL)

// Props configures [New].
type Props struct {
	Retain bool // default: the bucket is emptied and goes with the stack

	ExpirationDays int // default: objects stay until they are deleted

	Name string      // default: generated
	Key  awskms.IKey // default: S3's own encryption
}

// New defines a private, encrypted bucket that answers over TLS only.
func New(scope constructs.Construct, id string, props Props) awss3.Bucket {
	rule := &awss3.LifecycleRule{AbortIncompleteMultipartUploadAfter: cdk.Days(7)}
	if props.ExpirationDays > 0 {
		rule.Expiration = cdk.Days(props.ExpirationDays)
	}
	bucket := &awss3.BucketProps{
		BlockPublicAccess: blockAll(),
		Encryption:        awss3.BucketEncryption_S3_MANAGED,
		EnforceSSL:        jsii.Bool(true),
		LifecycleRules:    &[]*awss3.LifecycleRule{rule},
		RemovalPolicy:     cdk.RemovalPolicy(props.Retain),
		AutoDeleteObjects: jsii.Bool(!props.Retain),
	}
	if props.Name != "" {
		bucket.BucketName = jsii.String(props.Name)
	}
	if props.Key != nil {
		bucket.Encryption, bucket.EncryptionKey = awss3.BucketEncryption_KMS, props.Key
	}
	this := awss3.NewBucket(scope, jsii.String(id), bucket)
	nag.Accept(this, nag.Finding{Rule: "AwsSolutions-S1", Reason: "Access logs need a second bucket, which costs and grows with " +
		"every request. This one is closed to the public; CloudTrail's data events can record what roles do in it."})
	return this
}

// AllowObjects is what the application may do with the objects of b, and no more: the library's grants give ten actions.
// Without s3:ListBucket S3 answers 403, not 404, for an object that is not there.
func AllowObjects(b awss3.IBucket) policy.Statement {
	return policy.Allow("s3:GetObject", "s3:PutObject", "s3:DeleteObject").On(b.ArnForObjects(jsii.String("*"))).
		Because("the objects of the application's own bucket, under names that the application chooses")
}
