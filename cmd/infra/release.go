package main

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"flask-on-fargate/internal/plaintext"
	"flask-on-fargate/internal/release"
	"flask-on-fargate/internal/stop"
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
			return release.CheckReference(args[0])
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if env == "" {
				return errors.New("--env is missing: name the environment to deploy to, as in --env dev")
			}
			if err := checkAsks(w, yes); err != nil {
				return err
			}
			return deployImage(cmd, w, env, profile, args[0], yes)
		},
	}
	cmd.Flags().StringVar(&env, "env", "", "environment to deploy to")
	cmd.Flags().StringVar(&profile, "profile", "", "AWS profile of the environment's account (default: the SDK's chain)")
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	return cmd
}

func deployImage(cmd *cobra.Command, w world, env, profile, reference string, yes bool) error {
	ctx := cmd.Context()
	e, err := open(cmd, w, env, profile)
	if err != nil {
		return err
	}
	c, err := e.Candidate(ctx, e, reference)
	if err != nil {
		return err
	}
	if err := printImages(cmd, e, c); err != nil {
		return err
	}
	if c.Service.RunsOnly(c.Image) {
		printNothingToDo(cmd, c.Service)
		return nil
	}
	if !yes {
		if err := confirm(cmd, "Deploy it?"); err != nil {
			return err
		}
	}
	return e.Deploy(ctx, c.Service, e.URI(reference, c.Image))
}

// open finds an environment with the credentials of profile.
func open(cmd *cobra.Command, w world, env, profile string) (*release.Environment, error) {
	return release.Open(cmd.Context(), env, release.Options{Connect: w.connect, Profile: profile, Backoff: w.backoff, Clock: w.Clock, Out: cmd.OutOrStdout()})
}

// checkAsks refuses to ask where nobody answers.
func checkAsks(w world, yes bool) error {
	if !yes && !w.asks {
		return errors.New("standard input is no terminal, so that nobody can be asked; give --yes to go on without a question")
	}
	return nil
}

// confirm asks a question. Any other answer than yes is an error.
func confirm(cmd *cobra.Command, question string) error {
	fmt.Fprintf(cmd.OutOrStdout(), "\n%s [y/N] ", question)
	answer, _ := bufio.NewReader(cmd.InOrStdin()).ReadString('\n') // no answer is no
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return nil
	}
	return stop.Errorf("the answer was not yes: nothing was changed")
}

// printImages prints the images that run in the environment, and the one that is to come.
func printImages(cmd *cobra.Command, e *release.Environment, c *release.Candidate) error {
	out, s := cmd.OutOrStdout(), c.Service
	fmt.Fprintf(out, "%s\nservice %s\n\n", terminal.Bold("Environment "+e.String()), s.Name)
	const title, rest = "  %-9s %s\n", "            %s\n"
	if len(s.Running) == 0 {
		fmt.Fprintf(out, title, "runs now", "nothing")
	}
	for _, r := range s.Running {
		tags, err := e.TagsOfRunning(cmd.Context(), r)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, title, "runs now", r.Digest)
		fmt.Fprintf(out, rest, tagList(tags)+", on "+plaintext.Count(r.Tasks, "task"))
	}
	fmt.Fprintf(out, title, "to come", c.Digest)
	fmt.Fprintf(out, rest, tagList(c.Tags)+", for "+c.PlatformNames())
	if s.Deploying {
		fmt.Fprintf(out, "\nA deployment is in progress. The new one would take its place.\n")
	}
	return nil
}

func tagList(tags []string) string { return cmp.Or(strings.Join(tags, " "), "no tag") }

func printNothingToDo(cmd *cobra.Command, s *release.Service) {
	fmt.Fprintf(cmd.OutOrStdout(), "\nThis image runs already, there is nothing to do. To start new tasks all the same:\n"+
		"  aws ecs update-service --force-new-deployment --cluster %s --service %s\n", s.Cluster, s.Name)
}
