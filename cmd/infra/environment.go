package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	ecrtypes "github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/logging"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/mattn/go-isatty"

	"flask-on-fargate/config"
	"flask-on-fargate/internal/change"
	"flask-on-fargate/internal/clock"
	"flask-on-fargate/internal/folders"
	"flask-on-fargate/internal/registry"
)

// world is what a command needs of AWS, of this computer and of the person in front. Tests replace it.
type world struct {
	connect func(ctx context.Context, region, profile string) (cloud, error)
	assume  func(ctx context.Context, region, roleARN string) (change.StackReader, error) // with the default credentials
	asks    bool                                                                          // there is a person who can be asked
	backoff remote.Backoff                                                                // of requests to registries
	compare change.Comparer
	clock.Clock
}

// realWorld is the real one.
func realWorld() world {
	return world{
		connect: connectAWS,
		assume:  assumeRole,
		asks:    isatty.IsTerminal(os.Stdin.Fd()),
		backoff: remote.Backoff{Duration: time.Second, Factor: 2, Jitter: 0.1, Steps: 5},
		compare: (&change.Program{Dir: change.ProgramDir}).Compare,
		Clock:   clock.System,
	}
}

// confirm asks a question on out, and says what follows from an answer other than yes.
func confirm(in io.Reader, out io.Writer, question string) error {
	fmt.Fprintf(out, "\n%s [y/N] ", question)
	answer, _ := bufio.NewReader(in).ReadString('\n') // no answer is no
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return nil
	}
	return stop("the answer was not yes: nothing was changed")
}

// checkAsks refuses to ask where nobody answers.
func checkAsks(w world, yes bool) error {
	if !yes && !w.asks {
		return errors.New("standard input is no terminal, so that nobody can be asked; give --yes to go on without a question")
	}
	return nil
}

// cloud is AWS in one account and region.
type cloud struct {
	identity identifier
	stacks   change.StackReader
	images   imageStore
	services serviceController
	account  string // of the credentials
}

type identifier interface {
	GetCallerIdentity(context.Context, *sts.GetCallerIdentityInput, ...func(*sts.Options)) (*sts.GetCallerIdentityOutput, error)
}

type stackDescriber interface {
	DescribeStacks(context.Context, *cloudformation.DescribeStacksInput, ...func(*cloudformation.Options)) (*cloudformation.DescribeStacksOutput, error)
}

type imageStore interface {
	registry.Authorizer
	DescribeImages(context.Context, *ecr.DescribeImagesInput, ...func(*ecr.Options)) (*ecr.DescribeImagesOutput, error)
}

// connectAWS takes the credentials from the default chain of the AWS SDK, or from a profile.
func connectAWS(ctx context.Context, region, profile string) (cloud, error) {
	options := []func(*awsconfig.LoadOptions) error{
		awsconfig.WithRegion(region),
		awsconfig.WithLogger(logging.Nop{}), // what matters is in the errors
		awsconfig.WithRetryMaxAttempts(5),   // a deployment is watched for minutes, and the network may fail meanwhile
	}
	if profile != "" {
		options = append(options, awsconfig.WithSharedConfigProfile(profile))
	}
	cfg, err := awsconfig.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return cloud{}, err
	}
	return cloud{
		identity: sts.NewFromConfig(cfg),
		stacks:   cloudformation.NewFromConfig(cfg),
		images:   ecr.NewFromConfig(cfg),
		services: ecs.NewFromConfig(cfg),
	}, nil
}

// assumeRole reads stacks as a role, such as the lookup role that `cdk bootstrap` made in another account.
func assumeRole(ctx context.Context, region, roleARN string) (change.StackReader, error) {
	cfg, err := awsconfig.LoadDefaultConfig(ctx, awsconfig.WithRegion(region), awsconfig.WithRetryMaxAttempts(5), awsconfig.WithLogger(logging.Nop{}))
	if err != nil {
		return nil, err
	}
	cfg.Credentials = aws.NewCredentialsCache(stscreds.NewAssumeRoleProvider(sts.NewFromConfig(cfg), roleARN, func(o *stscreds.AssumeRoleOptions) {
		o.RoleSessionName = "infra-guard"
	}))
	return cloudformation.NewFromConfig(cfg), nil
}

// environment is one as it is deployed.
type environment struct {
	config.Environment
	cloud

	repositoryURI  string // <registry>/<repository name>
	repositoryName string
	repository     *registry.Repository
}

// openEnvironment finds an environment with the credentials of profile, or with the default ones if profile is empty.
func openEnvironment(ctx context.Context, w world, name, profile string) (*environment, error) {
	env, err := config.Load(folders.Config, name)
	if err != nil {
		return nil, err
	}
	e := &environment{Environment: env}
	if e.cloud, err = connectEnvironment(ctx, w, env, profile); err != nil {
		return nil, err
	}
	outputs, err := e.outputs(ctx, "data", "RepositoryUri")
	if err != nil {
		return nil, err
	}
	e.repositoryURI = outputs[0]
	_, e.repositoryName, _ = strings.Cut(e.repositoryURI, "/")
	if e.repository, err = registry.Connect(ctx, e.images, e.repositoryName, registry.Options{Backoff: w.backoff}); err != nil {
		return nil, fmt.Errorf("environment %s: %w", name, err)
	}
	return e, nil
}

// connectEnvironment connects to the account and region of an environment, and refuses credentials of another account.
func connectEnvironment(ctx context.Context, w world, env config.Environment, profile string) (cloud, error) {
	c, err := w.connect(ctx, env.Region, profile)
	if err != nil {
		return cloud{}, fmt.Errorf("environment %s: load the AWS configuration: %w", env.Name, err)
	}
	caller, err := c.identity.GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return cloud{}, fmt.Errorf("environment %s: ask AWS whose credentials these are: %w; log in, or name a profile of yours", env.Name, err)
	}
	c.account = aws.ToString(caller.Account)
	if env.Account != "" && env.Account != c.account {
		return cloud{}, stop("environment %s is in account %s by %s/%[1]s.yaml, but the credentials are those of %[4]s in account %[5]s: use credentials of %[2]s",
			env.Name, env.Account, folders.Config, aws.ToString(caller.Arn), c.account)
	}
	return c, nil
}

// outputs reads outputs of one of the environment's stacks, network, data, service or pipeline.
func (e *environment) outputs(ctx context.Context, stack string, keys ...string) ([]string, error) {
	name := e.FullName() + "-" + stack
	deploy := fmt.Sprintf("run npx cdk deploy --all -c env=%s first", e.Name)
	out, err := e.stacks.DescribeStacks(ctx, &cloudformation.DescribeStacksInput{StackName: &name})
	var answer smithy.APIError
	switch {
	case errors.As(err, &answer) && answer.ErrorCode() == "ValidationError":
		return nil, fmt.Errorf("environment %s: stack %s does not exist in account %s and region %s; %s", e.Name, name, e.account, e.Region, deploy)
	case err != nil:
		return nil, fmt.Errorf("environment %s: read the outputs of stack %s: %w", e.Name, name, err)
	}
	values := make([]string, len(keys))
	for i, key := range keys {
		for _, s := range out.Stacks {
			for _, o := range s.Outputs {
				if aws.ToString(o.OutputKey) == key {
					values[i] = aws.ToString(o.OutputValue)
				}
			}
		}
		if values[i] == "" {
			return nil, fmt.Errorf("environment %s: stack %s has no output %s; %s", e.Name, name, key, deploy)
		}
	}
	return values, nil
}

func (e *environment) String() string {
	return fmt.Sprintf("%s (account %s, region %s)", e.Name, e.account, e.Region)
}

// inspect reads the image that a tag or a digest of the environment's repository names.
func (e *environment) inspect(reference string) (*registry.Image, error) {
	image, err := e.repository.Inspect(reference)
	if err != nil {
		return nil, fmt.Errorf("environment %s: %w", e.Name, err)
	}
	if image == nil {
		return nil, stop("environment %s has no image %s in the repository %s; the console of ECR lists them, or "+
			"aws ecr describe-images --repository-name %s", e.Name, reference, e.repositoryURI, e.repositoryName)
	}
	return image, nil
}

// tags returns the tags of the image with a digest, which may be none.
func (e *environment) tags(ctx context.Context, digest string) ([]string, error) {
	out, err := e.images.DescribeImages(ctx, &ecr.DescribeImagesInput{
		RepositoryName: &e.repositoryName, ImageIds: []ecrtypes.ImageIdentifier{{ImageDigest: &digest}},
	})
	var missing *ecrtypes.ImageNotFoundException
	switch {
	case errors.As(err, &missing):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("environment %s: read the tags of %s: %w", e.Name, digest, err)
	}
	var tags []string
	for _, detail := range out.ImageDetails {
		tags = append(tags, detail.ImageTags...)
	}
	return tags, nil
}
