package stacks_test

import (
	"testing"

	"flask-on-fargate/config"
)

func photos(t *testing.T, env environment) resource {
	return env.ByPath(t, "Data/Bucket/Resource")
}

func TestBucket(t *testing.T) {
	forEachShipped(t, func(t *testing.T, env environment, cfg config.Environment) {
		bucket := photos(t, env)
		want(t, bucket, nil, "BucketName")
		want(t, bucket, map[string]any{
			"BlockPublicAcls": true, "BlockPublicPolicy": true, "IgnorePublicAcls": true, "RestrictPublicBuckets": true,
		}, "PublicAccessBlockConfiguration")
		want(t, bucket, "AES256", "BucketEncryption", "ServerSideEncryptionConfiguration", 0, "ServerSideEncryptionByDefault", "SSEAlgorithm")
		want(t, bucket, 7, "LifecycleConfiguration", "Rules", 0, "AbortIncompleteMultipartUpload", "DaysAfterInitiation")
		policy := env.ByPath(t, "Data/Bucket/Policy/Resource")
		want(t, policy, "Deny", "PolicyDocument", "Statement", 0, "Effect")
		want(t, policy, map[string]any{"Bool": map[string]any{"aws:SecureTransport": "false"}}, "PolicyDocument", "Statement", 0, "Condition")
	})
}
