// Package account connects to AWS in the account and region of an environment.
package account

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/logging"

	"flask-on-fargate/config"
	"flask-on-fargate/internal/change"
	"flask-on-fargate/internal/folders"
	"flask-on-fargate/internal/registry"
	"flask-on-fargate/internal/rollout"
	"flask-on-fargate/internal/stop"
)

// Account is AWS in one account and region.
type Account struct {
	Identity Identifier
	Stacks   change.StackReader
	Images   ImageStore
	Services ServiceController
	ID       string // of the credentials' account
}

// Identifier tells whose the credentials are.
type Identifier interface {
	GetCallerIdentity(context.Context, *sts.GetCallerIdentityInput, ...func(*sts.Options)) (*sts.GetCallerIdentityOutput, error)
}

// ImageStore is the part of ECR that knows images.
type ImageStore interface {
	registry.Authorizer
	DescribeImages(context.Context, *ecr.DescribeImagesInput, ...func(*ecr.Options)) (*ecr.DescribeImagesOutput, error)
}

// ServiceController is the part of ECS that reads and deploys services.
type ServiceController interface {
	rollout.Reader
	DescribeTaskDefinition(context.Context, *ecs.DescribeTaskDefinitionInput, ...func(*ecs.Options)) (*ecs.DescribeTaskDefinitionOutput, error)
	RegisterTaskDefinition(context.Context, *ecs.RegisterTaskDefinitionInput, ...func(*ecs.Options)) (*ecs.RegisterTaskDefinitionOutput, error)
	UpdateService(context.Context, *ecs.UpdateServiceInput, ...func(*ecs.Options)) (*ecs.UpdateServiceOutput, error)
}

// Connector connects to a region with the credentials of a profile.
type Connector func(ctx context.Context, region, profile string) (Account, error)

// Connect is a [Connector] to AWS. Without a profile the credentials are those of the AWS SDK's default chain.
func Connect(ctx context.Context, region, profile string) (Account, error) {
	cfg, err := load(ctx, region, awsconfig.WithSharedConfigProfile(profile))
	if err != nil {
		return Account{}, err
	}
	return Account{
		Identity: sts.NewFromConfig(cfg),
		Stacks:   cloudformation.NewFromConfig(cfg),
		Images:   ecr.NewFromConfig(cfg),
		Services: ecs.NewFromConfig(cfg),
	}, nil
}

// AssumeRole reads stacks as a role, such as the lookup role that `cdk bootstrap` made in another account.
func AssumeRole(ctx context.Context, region, roleARN string) (change.StackReader, error) {
	cfg, err := load(ctx, region)
	if err != nil {
		return nil, err
	}
	cfg.Credentials = aws.NewCredentialsCache(stscreds.NewAssumeRoleProvider(sts.NewFromConfig(cfg), roleARN, func(o *stscreds.AssumeRoleOptions) {
		o.RoleSessionName = "infra-guard"
	}))
	return cloudformation.NewFromConfig(cfg), nil
}

func load(ctx context.Context, region string, more ...func(*awsconfig.LoadOptions) error) (aws.Config, error) {
	return awsconfig.LoadDefaultConfig(ctx, append(more,
		awsconfig.WithRegion(region),
		awsconfig.WithLogger(logging.Nop{}), // the errors say what matters
		awsconfig.WithRetryMaxAttempts(5),   // a deployment is watched for minutes, and the network may fail meanwhile
	)...)
}

// Of connects to the account and region of an environment. It refuses credentials of another account.
func Of(ctx context.Context, connect Connector, env config.Environment, profile string) (Account, error) {
	a, err := connect(ctx, env.Region, profile)
	if err != nil {
		return Account{}, fmt.Errorf("environment %s: load the AWS configuration: %w", env.Name, err)
	}
	caller, err := a.Identity.GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return Account{}, fmt.Errorf("environment %s: ask AWS whose credentials these are: %w; log in, or name a profile of yours", env.Name, err)
	}
	a.ID = aws.ToString(caller.Account)
	if env.Account != "" && env.Account != a.ID {
		return Account{}, stop.Errorf("environment %s is in account %s by %s/%[1]s.yaml, but the credentials are those of %[4]s in account %[5]s: use credentials of %[2]s",
			env.Name, env.Account, folders.Config, aws.ToString(caller.Arn), a.ID)
	}
	return a, nil
}

// Outputs reads outputs of one of an environment's stacks: network, data, service or pipeline.
func (a Account) Outputs(ctx context.Context, env config.Environment, stack string, keys ...string) ([]string, error) {
	name := env.FullName() + "-" + stack
	deploy := fmt.Sprintf("run npx cdk deploy --all -c env=%s first", env.Name)
	out, err := a.Stacks.DescribeStacks(ctx, &cloudformation.DescribeStacksInput{StackName: &name})
	var answer smithy.APIError
	switch {
	case errors.As(err, &answer) && answer.ErrorCode() == "ValidationError":
		return nil, fmt.Errorf("environment %s: stack %s does not exist in account %s and region %s; %s", env.Name, name, a.ID, env.Region, deploy)
	case err != nil:
		return nil, fmt.Errorf("environment %s: read the outputs of stack %s: %w", env.Name, name, err)
	}
	found := map[string]string{}
	for _, s := range out.Stacks {
		for _, o := range s.Outputs {
			found[aws.ToString(o.OutputKey)] = aws.ToString(o.OutputValue)
		}
	}
	values := make([]string, len(keys))
	for i, key := range keys {
		if values[i] = found[key]; values[i] == "" {
			return nil, fmt.Errorf("environment %s: stack %s has no output %s; %s", env.Name, name, key, deploy)
		}
	}
	return values, nil
}
