package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"flask-on-fargate/internal/release"
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
		Args:                  flagsOnly("name an image by --image"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.check(); err != nil {
				return err
			}
			if err := checkAsks(w, o.yes); err != nil {
				return err
			}
			return o.promote(cmd, w)
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
	return release.CheckReference(o.image)
}

func (o promotion) promote(cmd *cobra.Command, w world) error {
	ctx, out := cmd.Context(), cmd.OutOrStdout()
	from, err := open(cmd, w, o.from, o.fromProfile)
	if err != nil {
		return err
	}
	to, err := open(cmd, w, o.to, o.toProfile)
	if err != nil {
		return err
	}
	c, err := to.Candidate(ctx, from, o.image)
	if err != nil {
		return err
	}
	tag := release.PromotedTag(o.image, c.Tags, c.Image)
	there, err := to.Has(tag, c.Image)
	if err != nil {
		return err
	}

	fmt.Fprintf(out, "Image %s of environment %s\n\n", o.image, from)
	if err := printImages(cmd, to, c); err != nil {
		return err
	}
	question := "Copy it and deploy it?"
	if there {
		fmt.Fprintf(out, "\nThe repository of %s has it already, as %s.\n", to.Name, tag)
		question = "Deploy it?"
	}
	if there && c.Service.RunsOnly(c.Image) {
		printNothingToDo(cmd, c.Service)
		return nil
	}
	if !o.yes {
		if err := confirm(cmd, question); err != nil {
			return err
		}
	}
	if !there {
		if err := to.Copy(ctx, c.Image, tag); err != nil {
			return err
		}
	}
	return to.Deploy(ctx, c.Service, to.URI(tag, c.Image))
}
