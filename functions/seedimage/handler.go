package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/aws/aws-lambda-go/cfn"
	"github.com/aws/aws-lambda-go/lambdacontext"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"flask-on-fargate/internal/imagetag"
	"flask-on-fargate/internal/plaintext"
	"flask-on-fargate/internal/registry"
)

// placeholderTag is the tag of the placeholder with a digest, which never moves: tasks may still run a placeholder that seed
// and live have left, and the repository soon deletes an image without a tag.
func placeholderTag(digest v1.Hash) string { return imagetag.Placeholder + digest.Hex[:12] }

// reportTime is what is kept of the function's time-out for the answer to CloudFormation.
const reportTime = 30 * time.Second

// maxReason is the length of a failure's reason in bytes, as JSON. CloudFormation takes answers of 4096 bytes:
// https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/crpg-ref-responses.html
const maxReason = 1000

// handler answers the events of Custom::SeedImage.
type handler struct {
	ecr        registry.Authorizer
	programDir string // holds seed-amd64 and seed-arm64
	backoff    remote.Backoff
	log        *slog.Logger
}

// handle is a [cfn.CustomResourceFunction]. Create and Update do the same; Delete does nothing, since the images go or
// stay with their repository. The physical id is constant for a repository; the data are SeedDigest and LiveDigest.
func (h *handler) handle(ctx context.Context, event cfn.Event) (physicalID string, data map[string]any, err error) {
	log := h.log.With("event", event.RequestType, "cloudFormationRequestId", event.RequestID)
	if lc, ok := lambdacontext.FromContext(ctx); ok {
		log = log.With("requestId", lc.AwsRequestID)
	}
	physicalID = event.PhysicalResourceID
	defer func() {
		if cause := recover(); cause != nil {
			log.Error("panic", "cause", cause, "stack", string(debug.Stack()))
			err = fmt.Errorf("panic: %v; the stack is in the function's log", cause)
		}
		if err != nil {
			log.Error("failed", "error", err.Error())
			err = errors.New(reason(err))
		}
	}()

	if event.RequestType == cfn.RequestDelete {
		log.Info("nothing to delete: the images go or stay with their repository")
		return physicalID, nil, nil
	}
	p, err := decode(event.ResourceProperties)
	if err != nil {
		return physicalID, nil, fmt.Errorf("resource properties: %w", err)
	}
	physicalID = "seed-image/" + p.RepositoryName
	if deadline, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, deadline.Add(-reportTime))
		defer cancel()
	}
	log = log.With("repository", p.RepositoryName, "programVersion", p.ProgramVersion)
	seed, live, err := h.ensure(ctx, p, log)
	if err != nil {
		return physicalID, nil, err
	}
	return physicalID, map[string]any{"SeedDigest": seed.String(), "LiveDigest": live.String()}, nil
}

// ensure pushes our image as seed, and as live unless live is an application's image. It returns the digests of both.
func (h *handler) ensure(ctx context.Context, p properties, log *slog.Logger) (seed, live v1.Hash, err error) {
	index, err := newPlaceholder(h.programDir, p.ContainerPort)
	if err != nil {
		return seed, live, err
	}
	if seed, err = index.Digest(); err != nil {
		return seed, live, err
	}
	repo, err := registry.Connect(ctx, h.ecr, p.RepositoryName, registry.Options{Backoff: h.backoff, RetryDenied: true, Log: log})
	if err != nil {
		return seed, live, err
	}

	// seed first: live then needs no upload. So little time passes between reading and writing it, in which a release
	// could move it to an application's image.
	for _, tag := range []string{imagetag.Seed, placeholderTag(seed)} {
		if err := repo.Push(ctx, tag, index); err != nil {
			return seed, live, err
		}
	}
	log.Info("pushed", "tag", imagetag.Seed, "digest", seed.String(), "why", "always at the deployed program's version")

	current, err := repo.Inspect(imagetag.Live)
	if err != nil {
		return seed, live, err
	}
	why := ""
	switch {
	case current == nil:
		why = "the repository had no live image"
	case !current.Placeholder:
		if err := fits(current, p); err != nil {
			return seed, live, err
		}
		log.Info("left untouched", "tag", imagetag.Live, "digest", current.Digest.String(), "why", "an application's image")
		return seed, current.Digest, nil
	case current.Digest == seed:
		log.Info("left untouched", "tag", imagetag.Live, "digest", seed.String(), "why", "the placeholder at this version and port")
		return seed, seed, nil
	default:
		why = "the placeholder had another version or port"
		// Versions of this project before 0.1.0 did not give it this tag.
		if err := repo.Copy(ctx, placeholderTag(current.Digest), current); err != nil {
			return seed, live, err
		}
	}
	if err := repo.Push(ctx, imagetag.Live, index); err != nil {
		return seed, live, err
	}
	log.Info("pushed", "tag", imagetag.Live, "digest", seed.String(), "why", why)
	return seed, seed, nil
}

// fits tells why a task of the configured architecture could not run the application's image.
func fits(live *registry.Image, p properties) error {
	if live.RunsOn(p.Architecture.GOARCH()) {
		return nil
	}
	return fmt.Errorf("the image %s:%s (%s) does not run on architecture %s: it has [%s], but no linux/%s; "+
		"set architecture back, release an image that is built for both linux/amd64 and linux/arm64, then change it again (docs/releases.md)",
		p.RepositoryName, imagetag.Live, live.Digest, p.Architecture, live.PlatformNames(), p.Architecture.GOARCH())
}

// reason is an error's text on one line and, as JSON, within maxReason. A long one loses its middle: the beginning says
// what failed, the end why.
func reason(err error) string {
	words := []rune(plaintext.OneLine(err.Error()))
	text := string(words)
	for keep := min(len(words), maxReason); jsonLength(text) > maxReason; keep -= 20 {
		text = string(words[:keep/2]) + " … " + string(words[len(words)-keep/2:])
	}
	return text
}

func jsonLength(s string) int {
	encoded, _ := json.Marshal(s) // a string always encodes
	return len(encoded)
}
