package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// defaultBackoff makes six attempts over half a minute. A role that was created seconds ago is refused until IAM has
// told every region of it. The longest single wait, 17.6 s, stays below [reportTime].
var defaultBackoff = remote.Backoff{Duration: time.Second, Factor: 2, Jitter: 0.1, Steps: 6}

// newRetryer is the SDK's standard retryer at the pace of backoff, which also retries what a role answers while its
// policy is not in effect yet.
func newRetryer(backoff remote.Backoff) aws.Retryer {
	standard := retry.NewStandard(func(o *retry.StandardOptions) {
		o.MaxAttempts = backoff.Steps
		o.Backoff = retry.BackoffDelayerFunc(func(attempt int, _ error) (time.Duration, error) {
			b := backoff
			for range attempt - 1 {
				b.Step()
			}
			return b.Step(), nil
		})
	})
	return retry.AddWithErrorCodes(standard, "AccessDeniedException", "UnrecognizedClientException")
}

// authorizer is the one call that the handler makes to the ECR API; the rest goes to the registry.
type authorizer interface {
	GetAuthorizationToken(context.Context, *ecr.GetAuthorizationTokenInput, ...func(*ecr.Options)) (*ecr.GetAuthorizationTokenOutput, error)
}

// repository is one repository of a registry, with the credentials to push to it.
type repository struct {
	name    name.Repository
	options []remote.Option
	pusher  *remote.Pusher
	log     *slog.Logger

	// lastRetry is the last error that was retried: the cause, if time runs out before an attempt ends. Requests run
	// in parallel.
	lastRetry atomic.Pointer[error]
}

// connect asks ECR for credentials and for the registry's address. An http address is taken as it is.
func connect(ctx context.Context, client authorizer, repositoryName string, backoff remote.Backoff, log *slog.Logger) (*repository, error) {
	out, err := client.GetAuthorizationToken(ctx, &ecr.GetAuthorizationTokenInput{})
	if err != nil {
		return nil, fmt.Errorf("get the registry's credentials: %w; the function's role needs ecr:GetAuthorizationToken on *", err)
	}
	if len(out.AuthorizationData) == 0 {
		return nil, errors.New("get the registry's credentials: ecr:GetAuthorizationToken answered without any")
	}
	token, endpoint := aws.ToString(out.AuthorizationData[0].AuthorizationToken), aws.ToString(out.AuthorizationData[0].ProxyEndpoint)
	u, err := url.Parse(endpoint)
	if err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http") {
		return nil, fmt.Errorf("get the registry's credentials: its proxyEndpoint is %q, want https://<host>", endpoint)
	}
	var scheme []name.Option
	if u.Scheme == "http" {
		scheme = append(scheme, name.Insecure)
	}
	registry, err := name.NewRegistry(u.Host, scheme...)
	if err != nil {
		return nil, fmt.Errorf("get the registry's credentials: proxyEndpoint %q: %w", endpoint, err)
	}

	r := &repository{name: registry.Repo(repositoryName), log: log}
	r.options = []remote.Option{
		remote.WithContext(ctx),
		remote.WithAuth(authn.FromConfig(authn.AuthConfig{Auth: token})),
		remote.WithRetryBackoff(backoff),
		remote.WithRetryPredicate(r.retryable),
		remote.WithRetryStatusCodes(retriedStatusCodes...),
	}
	r.pusher, err = remote.NewPusher(r.options...)
	return r, err
}

// retriedStatusCodes are those that pass, and those of a role whose policy is not in effect yet.
var retriedStatusCodes = []int{
	http.StatusUnauthorized, http.StatusForbidden,
	http.StatusRequestTimeout, http.StatusTooManyRequests,
	http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout,
}

// retryable decides, for every error of a request or an upload, whether the library tries again.
func (r *repository) retryable(err error) bool {
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return false
	}
	again := false
	var (
		answer  *transport.Error
		network *net.OpError
	)
	switch {
	case errors.As(err, &answer) && answer.StatusCode == http.StatusUnauthorized:
		// Without credentials it is the first request of all, which asks how to authenticate.
		again = answer.Request != nil && answer.Request.Header.Get("Authorization") != ""
	case answer != nil:
		again = answer.Temporary() || slices.Contains(retriedStatusCodes, answer.StatusCode)
	default:
		again = errors.As(err, &network) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
	}
	if again {
		r.lastRetry.Store(&err)
		r.log.Warn("registry request failed, may pass", "error", err.Error())
	}
	return again
}

// explain adds to an error that only says that time ran out what went wrong before.
func (r *repository) explain(err error) error {
	if cause := r.lastRetry.Load(); cause != nil && errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%w; the last failure before was: %w", err, *cause)
	}
	return err
}

// push makes tag name the index, and uploads what of it the repository lacks.
func (r *repository) push(ctx context.Context, tag string, index v1.ImageIndex) error {
	ref := r.name.Tag(tag)
	err := r.pusher.Push(ctx, ref, index)
	if err != nil && r.holds(err, ref, index) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("push %s to %s: %w", tag, r.name, r.explain(err))
	}
	return nil
}

// holds tells whether a refused push was one of what the tag already names. ECR refuses it with an
// ImageAlreadyExistsException if another push came first.
func (r *repository) holds(refusal error, ref name.Reference, index v1.ImageIndex) bool {
	var answer *transport.Error
	if !errors.As(refusal, &answer) || (answer.StatusCode != http.StatusBadRequest && answer.StatusCode != http.StatusConflict) {
		return false
	}
	want, err := index.Digest()
	if err != nil {
		return false
	}
	got, err := remote.Head(ref, r.options...)
	return err == nil && got.Digest == want
}

// taggedImage is what a tag of a repository names.
type taggedImage struct {
	digest      v1.Hash
	platforms   []v1.Platform // those that can run: without the attestations that Docker adds to an index
	placeholder bool
}

// runsOn tells whether the image has a platform for linux on an architecture, in an image platform's words.
func (i *taggedImage) runsOn(arch string) bool {
	return slices.ContainsFunc(i.platforms, func(p v1.Platform) bool { return p.OS == "linux" && p.Architecture == arch })
}

// inspect reads what a tag names, an index or a single image. It returns nil if there is no such tag.
func (r *repository) inspect(tag string) (*taggedImage, error) {
	descriptor, err := remote.Get(r.name.Tag(tag), r.options...)
	var answer *transport.Error
	if errors.As(err, &answer) && answer.StatusCode == http.StatusNotFound {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read %s of %s: %w", tag, r.name, r.explain(err))
	}
	image := &taggedImage{digest: descriptor.Digest}
	if err := image.read(descriptor); err != nil {
		return nil, fmt.Errorf("read %s@%s of %s: %w", tag, descriptor.Digest, r.name, r.explain(err))
	}
	return image, nil
}

func (i *taggedImage) read(descriptor *remote.Descriptor) error {
	if !descriptor.MediaType.IsIndex() {
		image, err := descriptor.Image()
		if err != nil {
			return err
		}
		return i.add(image, nil)
	}
	index, err := descriptor.ImageIndex()
	if err != nil {
		return err
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return err
	}
	for _, child := range manifest.Manifests {
		if !child.MediaType.IsImage() || (child.Platform != nil && child.Platform.OS == "unknown") {
			continue
		}
		image, err := index.Image(child.Digest)
		if err != nil {
			return err
		}
		if err := i.add(image, child.Platform); err != nil {
			return err
		}
	}
	return nil
}

// add records one image; its platform is the one that its index states, else the one of its configuration.
func (i *taggedImage) add(image v1.Image, platform *v1.Platform) error {
	config, err := image.ConfigFile()
	if err != nil {
		return err
	}
	if platform == nil {
		platform = config.Platform()
	}
	if platform != nil {
		i.platforms = append(i.platforms, *platform)
	}
	i.placeholder = i.placeholder || isPlaceholder(config)
	return nil
}
