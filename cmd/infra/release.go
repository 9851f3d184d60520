package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/ecs/types"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/spf13/cobra"

	"flask-on-fargate/internal/folders"
	"flask-on-fargate/internal/plaintext"
	"flask-on-fargate/internal/registry"
	"flask-on-fargate/internal/terminal"
)

const releaseHelp = `Deploy an image that is in the repository of the environment ENV already, and
follow the deployment to its end. With the tag of an older image it is the
rollback.

IMAGE is a tag, as sha-<commit>, or a digest, sha256:<64 hex digits>. The command
does what CodePipeline's ECS deploy action does: it registers the service's task
definition anew with that image and nothing else changed, and updates the
service. ECS rolls back a deployment whose tasks do not become healthy; the
command then says why. It does not move the tag live: the environment does, when
ECS has completed the deployment.

It exits with 0 when the image runs, with 1 when it does not, or when you did
not agree, and with 2 when it could not tell.`

func newRelease(w world) *cobra.Command {
	var env, profile string
	var yes bool
	cmd := &cobra.Command{
		Use:                   "release --env ENV IMAGE",
		DisableFlagsInUseLine: true,
		Short:                 "Deploy an image of an environment's repository, a newer or an older one",
		Long:                  releaseHelp,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return fmt.Errorf("%d images given, %q: name one tag or digest of the repository", len(args), args)
			}
			return checkReference(args[0])
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if env == "" {
				return errors.New("--env is missing: name the environment to deploy to, as in --env dev")
			}
			if err := checkAsks(w, yes); err != nil {
				return err
			}
			e, err := openEnvironment(cmd.Context(), w, env, profile)
			if err != nil {
				return err
			}
			return release(cmd, w, e, args[0], yes)
		},
	}
	cmd.Flags().StringVar(&env, "env", "", "environment to deploy to")
	cmd.Flags().StringVar(&profile, "profile", "", "AWS profile of the environment's account (default: the SDK's chain)")
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	return cmd
}

// tagPattern is that of https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_PutImage.html, without what cannot be
// a tag in the reference to an image.
var tagPattern = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$`)

// checkReference tells whether a word can be a tag or a digest.
func checkReference(word string) error {
	if _, err := v1.NewHash(word); err == nil || tagPattern.MatchString(word) {
		return nil
	}
	return fmt.Errorf("%q is no tag and no digest: want a tag alone, as sha-<commit>, or sha256:<64 hex digits>, without the repository", word)
}

func release(cmd *cobra.Command, w world, e *environment, reference string, yes bool) error {
	ctx, out := cmd.Context(), cmd.OutOrStdout()
	s, err := e.service(ctx)
	if err != nil {
		return err
	}
	image, err := e.inspect(reference)
	if err != nil {
		return err
	}
	if err := e.checkArchitecture(s, image, reference); err != nil {
		return err
	}
	tags, err := e.tags(ctx, image.Digest.String())
	if err != nil {
		return err
	}
	if err := e.show(ctx, out, s, image, tags); err != nil {
		return err
	}
	if s.runsOnly(image) {
		e.printNothingToDo(out, s)
		return nil
	}
	if !yes {
		if err := confirm(cmd.InOrStdin(), out, "Deploy it?"); err != nil {
			return err
		}
	}
	// A tag that can move might name another image by the time that ECS reads it.
	uri := e.repositoryURI + "@" + image.Digest.String()
	if isCommit(reference) {
		uri = e.repositoryURI + ":" + reference
	}
	return e.deploy(ctx, w, out, s, uri)
}

// isCommit tells whether a reference is a tag that never moves.
func isCommit(reference string) bool { return strings.HasPrefix(reference, "sha-") }

// imageArchitecture maps ECS's names of architectures to those of image platforms.
var imageArchitecture = map[types.CPUArchitecture]string{types.CPUArchitectureX8664: "amd64", types.CPUArchitectureArm64: "arm64"}

// checkArchitecture stops an image that the service's tasks cannot run: ECS would try three times, and roll back. The task
// definition in use decides, since its next revision keeps everything but the image. The configuration file may be ahead of it.
func (e *environment) checkArchitecture(s *service, image *registry.Image, reference string) error {
	want := imageArchitecture[s.architecture()]
	if image.RunsOn(want) {
		return nil
	}
	return stop("the image %s (%s) does not run in %s, whose tasks run on %s by the task definition in use, %s: it is for [%s], not for linux/%s.\n"+
		"To change the architecture, push an image for both (docker buildx build --platform linux/amd64,linux/arm64), "+
		"infra release it, change service.architecture in %s/%[3]s.yaml, and deploy the infrastructure",
		reference, image.Digest, e.Name, s.architecture(), s.taskDefinition, platforms(image), want, folders.Config)
}

func platforms(image *registry.Image) string {
	var names []string
	for _, platform := range image.Platforms {
		names = append(names, platform.String())
	}
	return strings.Join(names, " ")
}

// show prints what runs in the environment, and which image is to come.
func (e *environment) show(ctx context.Context, out io.Writer, s *service, image *registry.Image, tags []string) error {
	fmt.Fprintf(out, "%s\nservice %s\n\n", terminal.Bold("Environment "+e.String()), s.name)
	const title, rest = "  %-9s %s\n", "            %s\n"
	if len(s.running) == 0 {
		fmt.Fprintf(out, title, "runs now", "nothing")
	}
	for _, r := range s.running {
		tags, err := e.tagsOfRunning(ctx, r)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, title, "runs now", r.digest)
		fmt.Fprintf(out, rest, tagList(tags)+", on "+plaintext.Count(r.tasks, "task"))
	}
	fmt.Fprintf(out, title, "to come", image.Digest)
	fmt.Fprintf(out, rest, tagList(tags)+", for "+platforms(image))
	if s.deploying {
		fmt.Fprintf(out, "\nA deployment is in progress. The new one would take its place.\n")
	}
	return nil
}

func tagList(tags []string) string {
	if len(tags) == 0 {
		return "no tag"
	}
	return strings.Join(slices.Sorted(slices.Values(tags)), " ")
}

// tagsOfRunning returns the tags of an image that runs. ECS may know it by the digest of its platform, which has no tag
// itself: then they are those of the index that holds it, if it is the one that the task names or live.
func (e *environment) tagsOfRunning(ctx context.Context, r running) ([]string, error) {
	tags, err := e.tags(ctx, r.digest)
	if err != nil || len(tags) > 0 {
		return tags, err
	}
	named, _ := strings.CutPrefix(r.image, e.repositoryURI)
	named, _, _ = strings.Cut(strings.TrimPrefix(named, ":"), "@")
	for _, tag := range []string{named, "live"} {
		if !tagPattern.MatchString(tag) {
			continue
		}
		index, err := e.repository.Inspect(tag)
		if err != nil {
			return nil, fmt.Errorf("environment %s: %w", e.Name, err)
		}
		if index != nil && index.Holds(r.digest) {
			return e.tags(ctx, index.Digest.String())
		}
	}
	return nil, nil
}

func (e *environment) printNothingToDo(out io.Writer, s *service) {
	fmt.Fprintf(out, "\nThis image runs already, there is nothing to do. To start new tasks all the same:\n"+
		"  aws ecs update-service --force-new-deployment --cluster %s --service %s\n", s.cluster, s.name)
}

// runsOnly tells whether a service runs one image, and nothing is about to change that.
func (s *service) runsOnly(image *registry.Image) bool {
	return !s.deploying && len(s.running) == 1 && image.Holds(s.running[0].digest)
}
