package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"flask-on-fargate/internal/registry"
)

const promoteHelp = `Copy an image from one environment's repository to another's, and deploy it
there: the same image, by its digest, not built again. By default it is the
one that is tagged live; name another one with --image.

All platforms are copied with the same manifests. In the other repository the
image has its tag sha-<commit> too; an image without such a tag gets sha-256- and
its digest. Then the command does what "infra release" does.

Where the environments are in two accounts, name an AWS profile for each.

It exits with 0 when the image runs, with 1 when it does not, or when you did
not agree, and with 2 when it could not tell.`

type promotion struct {
	from, to               string
	image                  string
	fromProfile, toProfile string
	yes                    bool
}

func newPromote(w world) *cobra.Command {
	var o promotion
	cmd := &cobra.Command{
		Use:                   "promote --from ENV --to ENV",
		DisableFlagsInUseLine: true,
		Short:                 "Copy an image to another environment and deploy it there",
		Long:                  promoteHelp,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return fmt.Errorf("%q given, but the command takes flags only: name an image by --image", args)
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.check(); err != nil {
				return err
			}
			if err := checkAsks(w, o.yes); err != nil {
				return err
			}
			return promote(cmd, w, o)
		},
	}
	cmd.Flags().StringVar(&o.from, "from", "", "environment that has the image")
	cmd.Flags().StringVar(&o.to, "to", "", "environment to deploy to")
	cmd.Flags().StringVar(&o.image, "image", "live", "tag or digest in the repository of --from")
	cmd.Flags().StringVar(&o.fromProfile, "from-profile", "", "AWS profile of the account of --from (default: the SDK's chain)")
	cmd.Flags().StringVar(&o.toProfile, "to-profile", "", "AWS profile of the account of --to (default: the SDK's chain)")
	cmd.Flags().BoolVarP(&o.yes, "yes", "y", false, "do not ask")
	return cmd
}

func (o promotion) check() error {
	switch {
	case o.from == "" || o.to == "":
		return fmt.Errorf("--from is %q and --to is %q: name two environments, as in --from dev --to prod", o.from, o.to)
	case o.from == o.to:
		return fmt.Errorf("--from and --to are both %s; infra release deploys an image of the environment's own repository", o.from)
	}
	return checkReference(o.image)
}

func promote(cmd *cobra.Command, w world, o promotion) error {
	ctx, out := cmd.Context(), cmd.OutOrStdout()
	from, err := openEnvironment(ctx, w, o.from, o.fromProfile)
	if err != nil {
		return err
	}
	to, err := openEnvironment(ctx, w, o.to, o.toProfile)
	if err != nil {
		return err
	}
	s, err := to.service(ctx)
	if err != nil {
		return err
	}
	image, err := from.inspect(o.image)
	if err != nil {
		return err
	}
	if image.Placeholder {
		return stop("the image %s of %s is the placeholder that this project deploys until the application is released: release the application to %[2]s first", o.image, o.from)
	}
	if err := to.checkArchitecture(s, image, o.image); err != nil {
		return err
	}
	tags, err := from.tags(ctx, image.Digest.String())
	if err != nil {
		return err
	}
	tag := promotedTag(o.image, tags, image)
	there, err := to.isThere(from, tag, image)
	if err != nil {
		return err
	}

	fmt.Fprintf(out, "Image %s of environment %s\n\n", o.image, from)
	if err := to.show(ctx, out, s, image, tags); err != nil {
		return err
	}
	question := "Copy it and deploy it?"
	if there {
		fmt.Fprintf(out, "\nThe repository of %s has it already, as %s.\n", to.Name, tag)
		question = "Deploy it?"
	}
	if there && s.runsOnly(image) {
		to.printNothingToDo(out, s)
		return nil
	}
	if !o.yes {
		if err := confirm(cmd.InOrStdin(), out, question); err != nil {
			return err
		}
	}
	if !there {
		if err := to.copy(ctx, w, out, image, tag); err != nil {
			return err
		}
	}
	return to.deploy(ctx, w, out, s, to.repositoryURI+":"+tag)
}

// promotedTag returns the tag that an image has in the other repository. It never moves there: it begins with sha-.
func promotedTag(reference string, tags []string, image *registry.Image) string {
	if isCommit(reference) {
		return reference
	}
	for _, tag := range slices.Sorted(slices.Values(tags)) {
		if isCommit(tag) {
			return tag
		}
	}
	return "sha-256-" + image.Digest.Hex
}

// isThere tells whether the environment's repository has the image under its tag. Another image under that tag is an error:
// the tag cannot move.
func (e *environment) isThere(from *environment, tag string, image *registry.Image) (bool, error) {
	other, err := e.repository.Inspect(tag)
	if err != nil {
		return false, fmt.Errorf("environment %s: %w", e.Name, err)
	}
	if other == nil {
		return false, nil
	}
	if other.Digest != image.Digest {
		return false, stop("the repository of %s has another image as %s already, %s instead of %s, and the tags sha-* never move: "+
			"both environments built that commit, each its own image. Deploy the one of %[1]s by infra release --env %[1]s %[2]s; "+
			"or, if nothing runs it, delete it there and promote again: aws ecr batch-delete-image --repository-name %[5]s --image-ids imageTag=%[2]s",
			e.Name, tag, other.Digest, image.Digest, e.repositoryName)
	}
	return true, nil
}

// copy makes tag name the image in the environment's repository, and reads it back.
func (e *environment) copy(ctx context.Context, w world, out io.Writer, image *registry.Image, tag string) error {
	ctx, cancel := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer cancel()
	start := w.Now()
	fmt.Fprintf(out, "\nCopying %s to %s:%s\n", image.Digest, e.repositoryURI, tag)
	if err := e.repository.Copy(ctx, tag, image); err != nil {
		if errors.Is(err, context.Canceled) {
			err = errors.New("interrupted")
		}
		return stop("environment %s: %w; nothing was deployed, and what was copied is used when the command runs again", e.Name, err)
	}
	copied, err := e.inspect(tag)
	if err != nil {
		return err
	}
	if copied.Digest != image.Digest {
		return stop("environment %s: %s is %s right after the copy of %s: another image was pushed meanwhile; nothing was deployed", e.Name, tag, copied.Digest, image.Digest)
	}
	fmt.Fprintf(out, "  %6s  copied\n", w.Now().Sub(start).Round(time.Second))
	return nil
}
