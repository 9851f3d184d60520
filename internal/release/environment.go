// Package release deploys images to the service of an environment, and copies them from one environment to another.
package release

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"flask-on-fargate/config"
	"flask-on-fargate/internal/account"
	"flask-on-fargate/internal/clock"
	"flask-on-fargate/internal/folders"
	"flask-on-fargate/internal/imagetag"
	"flask-on-fargate/internal/registry"
	"flask-on-fargate/internal/stop"
)

// Options configures [Open]. Everything but Profile is required.
type Options struct {
	Connect account.Connector
	Profile string         // of the credentials; default: the SDK's chain
	Backoff remote.Backoff // of requests to the registry
	Clock   clock.Clock
	Out     io.Writer // gets the progress
}

// Environment is one as it is deployed.
type Environment struct {
	config.Environment
	RepositoryURI string // <registry>/<repository name>

	account        account.Account
	repositoryName string
	repository     *registry.Repository
	clock          clock.Clock
	out            io.Writer
}

// Open finds an environment.
func Open(ctx context.Context, name string, o Options) (*Environment, error) {
	env, err := config.Load(folders.Config, name)
	if err != nil {
		return nil, err
	}
	e := &Environment{Environment: env, clock: o.Clock, out: o.Out}
	if e.account, err = account.Of(ctx, o.Connect, env, o.Profile); err != nil {
		return nil, err
	}
	outputs, err := e.account.Outputs(ctx, env, "data", "RepositoryUri")
	if err != nil {
		return nil, err
	}
	e.RepositoryURI = outputs[0]
	_, e.repositoryName, _ = strings.Cut(e.RepositoryURI, "/")
	if e.repository, err = registry.Connect(ctx, e.account.Images, e.repositoryName, registry.Options{Backoff: o.Backoff}); err != nil {
		return nil, e.errorf("%w", err)
	}
	return e, nil
}

func (e *Environment) String() string {
	return fmt.Sprintf("%s (account %s, region %s)", e.Name, e.account.ID, e.Region)
}

// errorf is an error that names the environment.
func (e *Environment) errorf(format string, args ...any) error {
	return fmt.Errorf("environment %s: "+format, append([]any{e.Name}, args...)...)
}

// stopf is such an error for something that was stopped.
func (e *Environment) stopf(format string, args ...any) error {
	return stop.Error{Cause: e.errorf(format, args...)}
}

// tagPattern is that of https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_PutImage.html, without what cannot be
// a tag in the reference to an image.
var tagPattern = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$`)

// CheckReference tells whether a word can be a tag or a digest.
func CheckReference(word string) error {
	if _, err := v1.NewHash(word); err == nil || tagPattern.MatchString(word) {
		return nil
	}
	return fmt.Errorf("%q is no tag and no digest: want a tag alone, as sha-<commit>, or sha256:<64 hex digits>, without the repository", word)
}

// URI names an image of the repository so that it cannot be another one by the time that ECS reads it. Reference is one of its tags, or
// its digest.
func (e *Environment) URI(reference string, image *registry.Image) string {
	if imagetag.IsCommit(reference) {
		return e.RepositoryURI + ":" + reference
	}
	return e.RepositoryURI + "@" + image.Digest.String()
}

// inspect reads the image that a tag or a digest of the environment's repository names.
func (e *Environment) inspect(reference string) (*registry.Image, error) {
	image, err := e.repository.Inspect(reference)
	if err != nil {
		return nil, e.errorf("%w", err)
	}
	if image == nil {
		return nil, stop.Errorf("environment %s has no image %s in the repository %s; the console of ECR lists them, or "+
			"aws ecr describe-images --repository-name %s", e.Name, reference, e.RepositoryURI, e.repositoryName)
	}
	return image, nil
}

// tags returns the tags of the image with a digest, sorted. There may be none.
func (e *Environment) tags(ctx context.Context, digest string) ([]string, error) {
	out, err := e.account.Images.DescribeImages(ctx, &ecr.DescribeImagesInput{
		RepositoryName: &e.repositoryName, ImageIds: []types.ImageIdentifier{{ImageDigest: &digest}},
	})
	var missing *types.ImageNotFoundException
	switch {
	case errors.As(err, &missing):
		return nil, nil
	case err != nil:
		return nil, e.errorf("read the tags of %s: %w", digest, err)
	}
	var tags []string
	for _, detail := range out.ImageDetails {
		tags = append(tags, detail.ImageTags...)
	}
	slices.Sort(tags)
	return tags, nil
}

// PromotedTag returns the tag that an image with these tags has in the other environment's repository. It begins with sha-, so it never
// moves there.
func PromotedTag(reference string, tags []string, image *registry.Image) string {
	for _, tag := range append([]string{reference}, slices.Sorted(slices.Values(tags))...) {
		if imagetag.IsCommit(tag) {
			return tag
		}
	}
	return "sha-256-" + image.Digest.Hex
}

// Has tells whether the environment's repository has the image under its tag. Another image under that tag is an error: the tag cannot
// move.
func (e *Environment) Has(tag string, image *registry.Image) (bool, error) {
	other, err := e.repository.Inspect(tag)
	if err != nil {
		return false, e.errorf("%w", err)
	}
	if other == nil {
		return false, nil
	}
	if other.Digest != image.Digest {
		return false, stop.Errorf("the repository of %s has another image as %s already, %s instead of %s, and the tags sha-* never move: "+
			"both environments built that commit, each its own image. Deploy the one of %[1]s by infra release --env %[1]s %[2]s; "+
			"or, if nothing runs it, delete it there and promote again: aws ecr batch-delete-image --repository-name %[5]s --image-ids imageTag=%[2]s",
			e.Name, tag, other.Digest, image.Digest, e.repositoryName)
	}
	return true, nil
}

// Copy makes tag name the image in the environment's repository, and reads it back.
func (e *Environment) Copy(ctx context.Context, image *registry.Image, tag string) error {
	ctx, cancel := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer cancel()
	start := e.clock.Now()
	fmt.Fprintf(e.out, "\nCopying %s to %s:%s\n", image.Digest, e.RepositoryURI, tag)
	if err := e.repository.Copy(ctx, tag, image); err != nil {
		if errors.Is(err, context.Canceled) {
			err = errors.New("interrupted")
		}
		return e.stopf("%w; nothing was deployed, and what was copied is used when the command runs again", err)
	}
	copied, err := e.inspect(tag)
	if err != nil {
		return err
	}
	if copied.Digest != image.Digest {
		return e.stopf("%s is %s right after the copy of %s: another image was pushed meanwhile; nothing was deployed", tag, copied.Digest, image.Digest)
	}
	fmt.Fprintf(e.out, "  %6s  copied\n", e.clock.Now().Sub(start).Round(time.Second))
	return nil
}
