package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"flask-on-fargate/internal/assembly"
	"flask-on-fargate/internal/review"
	"flask-on-fargate/internal/synthesis"
)

const reviewHelp = `Report what a change of this project does to the environments: per stack what is
added, changed, replaced and removed; what "infra guard" says; permissions and
reachability gained and lost; and what happens to running tasks and to the
schema. It compares assemblies and needs no AWS account.

"make review BASE=origin/main" adds --synth: it synthesizes every environment
twice, as it is and as it was in that revision.

It exits with 0 when it could report, also where the guard would stop, and with
2 when it could not. To stop a change use "infra guard".`

type reviewOptions struct {
	base, app, format string
	synth             bool
}

func newReview(w world) *cobra.Command {
	var o reviewOptions
	cmd := &cobra.Command{
		Use:                   "review --base DIR [--app DIR | --synth] [--format text|markdown]",
		DisableFlagsInUseLine: true,
		Short:                 "Report what a change does to the environments",
		Long:                  reviewHelp,
		Args:                  flagsOnly("name an assembly by --base"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			render, known := review.Formats[o.format]
			switch {
			case o.base == "":
				return errors.New("--base is missing: name an assembly, a folder of assemblies, or a git revision, as in --base origin/main")
			case !known:
				return fmt.Errorf("--format is %q: choose text or markdown", o.format)
			case o.synth && cmd.Flags().Changed("app"):
				return errors.New("--app names what is there already, but --synth makes it: remove one of them")
			}
			ctx, stopWatching := interruptible(cmd.Context())
			defer stopWatching()
			r, err := o.review(ctx, w, cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			render(cmd.OutOrStdout(), r)
			return nil
		},
	}
	cmd.Flags().StringVar(&o.base, "base", "", "assembly, folder of assemblies `DIR`, or git revision to compare with")
	cmd.Flags().StringVar(&o.app, "app", assembly.Default, "assembly, or folder of assemblies, `DIR`, with the change")
	cmd.Flags().BoolVar(&o.synth, "synth", false, "synthesize every environment of this project first, not read --app")
	cmd.Flags().StringVar(&o.format, "format", "text", "text for a terminal, or markdown for a pull request")
	return cmd
}

func (o reviewOptions) review(ctx context.Context, w world, progress io.Writer) (review.Report, error) {
	base, err := synthesis.FindBase(ctx, o.base)
	if err != nil {
		return review.Report{}, err
	}
	if o.synth {
		if o.app, err = os.MkdirTemp("", "infra-review-"); err != nil {
			return review.Report{}, err
		}
		defer os.RemoveAll(o.app)
		if err := synthesis.EveryHere(ctx, o.app, progress); err != nil {
			return review.Report{}, err
		}
	}
	later, err := assembly.ReadAll(o.app)
	if err != nil {
		return review.Report{}, err
	}
	envs := assembly.Environments(later)
	if o.synth {
		envs = nil // an environment in the base only is gone from the project
	}
	dir, remove, err := base.Assemblies(ctx, envs, progress)
	if err != nil {
		return review.Report{}, err
	}
	defer remove()
	earlier, err := assembly.ReadAll(dir)
	if err != nil {
		return review.Report{}, err
	}
	return review.Of(ctx, w.compare, o.base, earlier, later)
}
