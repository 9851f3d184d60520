// Package registry reads and writes the images of an ECR repository over the protocol of registries, without Docker.
package registry

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
	"strings"
	"sync/atomic"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// PlaceholderLabel marks the image that keeps a repository from being empty until the application was released. Its value
// is the version of the image's content.
const PlaceholderLabel = "flask-on-fargate.seed.version"

// Authorizer is the one call to the ECR API; the rest goes to the registry.
type Authorizer interface {
	GetAuthorizationToken(context.Context, *ecr.GetAuthorizationTokenInput, ...func(*ecr.Options)) (*ecr.GetAuthorizationTokenOutput, error)
}

// Options configures [Connect].
type Options struct {
	// Backoff is the number and the pace of the attempts of each request. Required.
	Backoff remote.Backoff
	// RetryDenied also retries requests that are denied: a role that was created seconds ago is refused until IAM has told
	// every region of it. Default: denied is final.
	RetryDenied bool
	// Log gets a warning for each request that is retried. Default: none.
	Log *slog.Logger
}

// Repository is one repository of a registry, with the credentials to push to it.
type Repository struct {
	name        name.Repository
	options     []remote.Option
	pusher      *remote.Pusher
	retryDenied bool
	log         *slog.Logger

	// lastRetry is the last error that was retried: the cause, if time runs out before an attempt ends. Requests run
	// in parallel.
	lastRetry atomic.Pointer[error]
}

// Connect asks ECR for credentials, which last for 12 hours, and for the registry's address. An http address is taken as
// it is. All requests to the repository end when ctx does.
func Connect(ctx context.Context, client Authorizer, repositoryName string, o Options) (*Repository, error) {
	out, err := client.GetAuthorizationToken(ctx, &ecr.GetAuthorizationTokenInput{})
	if err != nil {
		return nil, fmt.Errorf("get the registry's credentials: %w; the caller needs ecr:GetAuthorizationToken on *", err)
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

	r := &Repository{name: registry.Repo(repositoryName), retryDenied: o.RetryDenied, log: o.Log}
	if r.log == nil {
		r.log = slog.New(slog.DiscardHandler)
	}
	r.options = []remote.Option{
		remote.WithContext(ctx),
		remote.WithAuth(authn.FromConfig(authn.AuthConfig{Auth: token})),
		remote.WithRetryBackoff(o.Backoff),
		remote.WithRetryPredicate(r.retryable),
		remote.WithRetryStatusCodes(r.retriedStatusCodes()...),
	}
	r.pusher, err = remote.NewPusher(r.options...)
	return r, err
}

// retriedStatusCodes are those that pass.
func (r *Repository) retriedStatusCodes() []int {
	codes := []int{
		http.StatusRequestTimeout, http.StatusTooManyRequests,
		http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout,
	}
	if r.retryDenied {
		codes = append(codes, http.StatusUnauthorized, http.StatusForbidden)
	}
	return codes
}

// retryable decides, for every error of a request or an upload, whether the library tries again.
func (r *Repository) retryable(err error) bool {
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
		again = r.retryDenied && answer.Request != nil && answer.Request.Header.Get("Authorization") != ""
	case answer != nil:
		again = answer.Temporary() || slices.Contains(r.retriedStatusCodes(), answer.StatusCode)
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
func (r *Repository) explain(err error) error {
	if cause := r.lastRetry.Load(); cause != nil && errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%w; the last failure before was: %w", err, *cause)
	}
	return err
}

// content is an index or a single image.
type content interface {
	remote.Taggable
	Digest() (v1.Hash, error)
}

// Push makes tag name an index or an image, and uploads what of it the repository lacks. A tag that names it already, and
// may not move, is success.
func (r *Repository) Push(ctx context.Context, tag string, c content) error {
	ref := r.name.Tag(tag)
	err := r.pusher.Push(ctx, ref, c)
	if err != nil && r.holds(err, ref, c) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("push %s to %s: %w", tag, r.name, r.explain(err))
	}
	return nil
}

// holds tells whether a refused push was one of what the tag already names. ECR refuses it with an
// ImageAlreadyExistsException if another push came first.
func (r *Repository) holds(refusal error, ref name.Reference, c content) bool {
	var answer *transport.Error
	if !errors.As(refusal, &answer) || (answer.StatusCode != http.StatusBadRequest && answer.StatusCode != http.StatusConflict) {
		return false
	}
	want, err := c.Digest()
	if err != nil {
		return false
	}
	got, err := remote.Head(ref, r.options...)
	return err == nil && got.Digest == want
}

// Image is what a reference to a repository names: an index or a single image.
type Image struct {
	Digest      v1.Hash
	Platforms   []Platform // those that can run: without the attestations that Docker adds to an index
	Placeholder bool       // see [PlaceholderLabel]

	content content
}

// Platform is an image for one platform.
type Platform struct {
	v1.Platform
	Digest v1.Hash
}

// RunsOn tells whether the image has a platform for linux on an architecture, in an image platform's words.
func (i *Image) RunsOn(arch string) bool {
	return slices.ContainsFunc(i.Platforms, func(p Platform) bool { return p.OS == "linux" && p.Architecture == arch })
}

// PlatformNames lists the image's platforms, as in "linux/amd64 linux/arm64".
func (i *Image) PlatformNames() string {
	var names []string
	for _, platform := range i.Platforms {
		names = append(names, platform.String())
	}
	return strings.Join(names, " ")
}

// Holds tells whether a digest is the image's own or that of one of its platforms.
func (i *Image) Holds(digest string) bool {
	return i.Digest.String() == digest ||
		slices.ContainsFunc(i.Platforms, func(p Platform) bool { return p.Digest.String() == digest })
}

// Inspect reads what a tag or a digest names. It returns nil if there is no such image.
func (r *Repository) Inspect(reference string) (*Image, error) {
	ref := name.Reference(r.name.Tag(reference))
	if strings.Contains(reference, ":") {
		ref = r.name.Digest(reference)
	}
	descriptor, err := remote.Get(ref, r.options...)
	var answer *transport.Error
	if errors.As(err, &answer) && answer.StatusCode == http.StatusNotFound {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read %s of %s: %w", reference, r.name, r.explain(err))
	}
	image := &Image{Digest: descriptor.Digest}
	if err := image.read(descriptor); err != nil {
		return nil, fmt.Errorf("read %s (%s) of %s: %w", reference, descriptor.Digest, r.name, r.explain(err))
	}
	return image, nil
}

func (i *Image) read(descriptor *remote.Descriptor) error {
	if !descriptor.MediaType.IsIndex() {
		image, err := descriptor.Image()
		if err != nil {
			return err
		}
		i.content = image
		return i.add(image, descriptor.Digest, nil)
	}
	index, err := descriptor.ImageIndex()
	if err != nil {
		return err
	}
	i.content = index
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
		if err := i.add(image, child.Digest, child.Platform); err != nil {
			return err
		}
	}
	return nil
}

// add records one image; its platform is the one that its index states, else the one of its configuration.
func (i *Image) add(image v1.Image, digest v1.Hash, platform *v1.Platform) error {
	config, err := image.ConfigFile()
	if err != nil {
		return err
	}
	if platform == nil {
		platform = config.Platform()
	}
	if platform != nil {
		i.Platforms = append(i.Platforms, Platform{*platform, digest})
	}
	i.Placeholder = i.Placeholder || isPlaceholder(config)
	return nil
}

// isPlaceholder tells whether an image is one of ours, at whatever version and port. An application that was built FROM it
// inherits the labels, but has layers of its own.
func isPlaceholder(config *v1.ConfigFile) bool {
	_, labelled := config.Config.Labels[PlaceholderLabel]
	return labelled && len(config.RootFS.DiffIDs) == 1
}

// Copy makes tag name an image that [Repository.Inspect] read, here or in another repository: the same manifests, byte by
// byte, of all platforms, and the layers that this repository lacks. What else is linked to the image, such as
// signatures under tags of their own, stays behind.
func (r *Repository) Copy(ctx context.Context, tag string, image *Image) error {
	return r.Push(ctx, tag, image.content)
}
