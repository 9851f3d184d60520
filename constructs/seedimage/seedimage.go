// Package seedimage fills an image repository before anything runs from it, so that a first deploy works without a release
// and without Docker.
package seedimage

import (
	"strconv"
	"time"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsecr"
	"github.com/aws/constructs-go/constructs/v10"
	"github.com/aws/jsii-runtime-go"

	"flask-on-fargate/constructs/function"
	"flask-on-fargate/constructs/repository"
	"flask-on-fargate/internal/cdk"
	"flask-on-fargate/internal/platform"
	"flask-on-fargate/internal/policy"
)

// program is the function's folder below functions/.
const program = "seedimage"

// timeout bounds the upload of some 15 MiB with its retries.
const timeout = 5 * time.Minute

// Props configures [New]. All are required.
type Props struct {
	Repository       awsecr.Repository
	ContainerPort    int                   // on which the placeholder answers
	Architecture     platform.Architecture // of the tasks that will run the live image
	LogRetentionDays int
}

// New defines a resource that pushes this project's own image as `seed`, always, and as `live` unless a real image is
// live. It fails early if the live image cannot run on the configured architecture.
func New(scope constructs.Construct, id string, props Props) awscdk.CustomResource {
	this := constructs.NewConstruct(scope, jsii.String(id))
	handler := function.New(this, "Handler", function.Props{
		Program:          program,
		Description:      "Pushes the seed image",
		Architecture:     props.Architecture,
		Timeout:          timeout,
		MemoryMiB:        512, // its share of CPU compresses and hashes the layers
		LogRetentionDays: props.LogRetentionDays,
		Permissions:      []policy.Statement{repository.AllowLogin(), repository.AllowPush(props.Repository)},
	})
	return awscdk.NewCustomResource(this, jsii.String("Resource"), &awscdk.CustomResourceProps{
		ResourceType:   jsii.String("Custom::SeedImage"),
		ServiceToken:   handler.FunctionArn(),
		ServiceTimeout: cdk.Duration(timeout + time.Minute),
		Properties: &map[string]any{
			"RepositoryName": props.Repository.RepositoryName(),
			"ContainerPort":  strconv.Itoa(props.ContainerPort),
			"Architecture":   string(props.Architecture),
			"ProgramVersion": awscdk.FileSystem_Fingerprint(jsii.String(function.File(props.Architecture, program)), nil),
		},
	})
}
