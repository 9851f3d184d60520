package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	mediatypes "github.com/google/go-containerregistry/pkg/v1/types"
)

const (
	// live is the tag that the task definition of the template names.
	live = "live"

	// maxRounds bounds how often live is moved in one call. Each round after the first is one in which a deployment was
	// completed, or another call moved live, since the round before.
	maxRounds = 5

	// imageBatch is the most that BatchGetImage takes:
	// https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_BatchGetImage.html
	imageBatch = 100

	// maxTagged is how many tags are searched for an index. The repository's lifecycle rules keep 22 images, beside those with
	// tags of the user's own.
	maxTagged = 1000
)

// mediaTypes are all forms of an image: what ECR may not answer with, it does not find.
var mediaTypes = []string{
	string(mediatypes.OCIImageIndex), string(mediatypes.OCIManifestSchema1),
	string(mediatypes.DockerManifestList), string(mediatypes.DockerManifestSchema2),
}

// imageRetagger is the part of ECR that is needed: manifests only, no layers.
type imageRetagger interface {
	BatchGetImage(context.Context, *ecr.BatchGetImageInput, ...func(*ecr.Options)) (*ecr.BatchGetImageOutput, error)
	ListImages(context.Context, *ecr.ListImagesInput, ...func(*ecr.Options)) (*ecr.ListImagesOutput, error)
	PutImage(context.Context, *ecr.PutImageInput, ...func(*ecr.Options)) (*ecr.PutImageOutput, error)
}

// followLive makes live name the image of the deployment that was completed last, and returns that deployment; nil if there
// was none. After each move it looks again, at ECS and at live: a newer deployment may have been completed meanwhile, and
// another call of this function may have moved live to it already. So whichever call moves live last has seen the newest
// deployment after it did.
func (h *handler) followLive(ctx context.Context, log *slog.Logger) (*completed, error) {
	for range maxRounds {
		last, err := h.lastCompleted(ctx)
		if err != nil {
			return nil, err
		}
		if last == nil {
			log.InfoContext(ctx, "live left untouched", "why", "no deployment was completed lately")
			return nil, nil
		}
		log := log.With("deployment", last.arn, "image", last.image, "digest", last.digest)
		if !last.running {
			// Nothing shows that the image works, and ECS has not even resolved its tag.
			log.InfoContext(ctx, "live left untouched", "why", "the deployment was completed without a running task")
			return last, nil
		}
		moved, err := h.moveLive(ctx, log, last)
		if err != nil {
			return nil, fmt.Errorf("move the tag %s of repository %s to the image of deployment %s: %w", live, h.repository, last.arn, err)
		}
		if !moved {
			return last, nil
		}
	}
	return nil, fmt.Errorf("the tag %s of repository %s was moved %d times, and still did not name the image that the service runs: look who else moves it, "+
		"and deploy again", live, h.repository, maxRounds)
}

// moveLive returns false if live names the deployment's image already.
func (h *handler) moveLive(ctx context.Context, log *slog.Logger, d *completed) (moved bool, err error) {
	if d.digest == "" {
		return false, fmt.Errorf("ECS gives no digest of the image %q of container %s: name the image by a tag or digest, and leave versionConsistency of the container enabled", d.image, h.container)
	}
	now, err := h.read(ctx, byTag(live))
	if err != nil {
		return false, err
	}
	from := "none"
	if len(now) > 0 {
		if from = now[0].digest; now[0].holds(d.digest) {
			log.InfoContext(ctx, "live is right", "live", from)
			return false, nil
		}
	}
	to, err := h.find(ctx, d)
	if err != nil {
		return false, err
	}
	_, err = h.ecr.PutImage(ctx, &ecr.PutImageInput{
		RepositoryName: &h.repository, ImageTag: aws.String(live),
		ImageManifest: &to.raw, ImageManifestMediaType: &to.mediaType, ImageDigest: &to.digest,
	})
	var same *types.ImageAlreadyExistsException
	if err != nil && !errors.As(err, &same) {
		return false, err
	}
	log.InfoContext(ctx, "live moved", "from", from, "to", to.digest, "why", "the last completed deployment runs "+d.digest)
	return true, nil
}

// find returns the image to tag: the tagged index that holds what the deployment runs, so that live keeps all platforms,
// or else the very manifest.
func (h *handler) find(ctx context.Context, d *completed) (*manifest, error) {
	holds := func(m manifest) bool { return m.holds(d.digest) }
	if tag, err := name.NewTag(d.image); err == nil && tag.TagStr() != live {
		named, err := h.read(ctx, byTag(tag.TagStr()))
		if err != nil {
			return nil, err
		}
		if i := slices.IndexFunc(named, holds); i >= 0 {
			return &named[i], nil
		}
	}
	tags, err := h.tags(ctx)
	if err != nil {
		return nil, err
	}
	for batch := range slices.Chunk(tags, imageBatch) {
		tagged, err := h.read(ctx, batch...)
		if err != nil {
			return nil, err
		}
		if i := slices.IndexFunc(tagged, holds); i >= 0 {
			return &tagged[i], nil
		}
	}
	itself, err := h.read(ctx, types.ImageIdentifier{ImageDigest: &d.digest})
	if err != nil {
		return nil, err
	}
	if len(itself) == 0 {
		return nil, fmt.Errorf("the service runs %s (%s), which is not in the repository, so that the next deploy of the infrastructure brings back what %s names: "+
			"push the image to the repository, and deploy it from there", short(d.image), d.digest, live)
	}
	return &itself[0], nil
}

// tags returns one tag of each tagged image, those of builds first.
func (h *handler) tags(ctx context.Context) ([]types.ImageIdentifier, error) {
	var ids []types.ImageIdentifier
	pages := ecr.NewListImagesPaginator(h.ecr, &ecr.ListImagesInput{
		RepositoryName: &h.repository, Filter: &types.ListImagesFilter{TagStatus: types.TagStatusTagged}, MaxResults: aws.Int32(maxTagged),
	})
	for pages.HasMorePages() && len(ids) < maxTagged {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("list the tags of repository %s: %w", h.repository, err)
		}
		ids = append(ids, page.ImageIds...)
	}
	rank := func(id types.ImageIdentifier) int {
		if strings.HasPrefix(aws.ToString(id.ImageTag), "sha-") {
			return 0
		}
		return 1
	}
	slices.SortFunc(ids, func(a, b types.ImageIdentifier) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(aws.ToString(a.ImageTag), aws.ToString(b.ImageTag)))
	})
	seen := map[string]bool{}
	var tags []types.ImageIdentifier
	for _, id := range ids {
		if digest := aws.ToString(id.ImageDigest); !seen[digest] {
			seen[digest] = true
			tags = append(tags, byTag(aws.ToString(id.ImageTag)))
		}
	}
	return tags, nil
}

// manifest is an index or a single image, as it is in the repository.
type manifest struct {
	digest    string
	mediaType string
	raw       string   // its very bytes: others would have another digest
	platforms []string // digests of an index's images
}

func (m manifest) holds(digest string) bool {
	return m.digest == digest || slices.Contains(m.platforms, digest)
}

func byTag(tag string) types.ImageIdentifier { return types.ImageIdentifier{ImageTag: &tag} }

// read returns those of at most imageBatch images that are in the repository.
func (h *handler) read(ctx context.Context, ids ...types.ImageIdentifier) ([]manifest, error) {
	out, err := h.ecr.BatchGetImage(ctx, &ecr.BatchGetImageInput{RepositoryName: &h.repository, ImageIds: ids, AcceptedMediaTypes: mediaTypes})
	if err != nil {
		return nil, fmt.Errorf("read images of repository %s: %w", h.repository, err)
	}
	for _, f := range out.Failures {
		if f.FailureCode != types.ImageFailureCodeImageNotFound {
			id := aws.ToString(f.ImageId.ImageTag) + aws.ToString(f.ImageId.ImageDigest)
			return nil, fmt.Errorf("read the image %s of repository %s: %s: %s", id, h.repository, f.FailureCode, aws.ToString(f.FailureReason))
		}
	}
	var found []manifest
	for _, image := range out.Images {
		m := manifest{mediaType: aws.ToString(image.ImageManifestMediaType), raw: aws.ToString(image.ImageManifest)}
		if image.ImageId != nil {
			m.digest = aws.ToString(image.ImageId.ImageDigest)
		}
		if mediatypes.MediaType(m.mediaType).IsIndex() {
			index, err := v1.ParseIndexManifest(strings.NewReader(m.raw))
			if err != nil {
				return nil, fmt.Errorf("read the index %s of repository %s: %w; delete it, and push the image again", m.digest, h.repository, err)
			}
			for _, platform := range index.Manifests {
				m.platforms = append(m.platforms, platform.Digest.String())
			}
		}
		found = append(found, m)
	}
	return found, nil
}
