package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"flask-on-fargate/config"
	"flask-on-fargate/internal/account"
	"flask-on-fargate/internal/assembly"
	"flask-on-fargate/internal/change"
	"flask-on-fargate/internal/folders"
	"flask-on-fargate/internal/guard"
	"flask-on-fargate/internal/plaintext"
	"flask-on-fargate/internal/synthesis"
	"flask-on-fargate/internal/terminal"
)

const guardHelp = `Say whether a deployment would lose data, before it does.

It stops on the replacement or deletion, certain or possible, of a database, a
bucket, a secret, an image repository, a subnet or a VPC; on any change of a
generated secret, of the master password's reference, of a secret's attachment
or of EngineLifecycleSupport; and on the loss of deletion protection, retention,
backups or encryption.

There are three ways to ask:

  --env ENV --stack NAME --change-set NAME   CloudFormation's own change set; the
                        delivery pipeline asks so, with --role-arn in another account
  --env ENV             the assembly in cdk.out against the deployed stacks
  --env ENV --base DIR  the assembly in cdk.out against another one, or against
                        that of a git revision; this needs no AWS account

"make guard" adds --synth, which writes the assembly first.

A change that is meant passes by an entry below guard.allow in the
environment's file, which the guard prints. The entry is valid for that one
change; an entry that fits none is reported, and may be removed.

It exits with 0 if nothing speaks against the deployment, with 1 if it stops it,
and with 2 if it could not tell.`

type guardOptions struct {
	env, app, base            string
	stack, changeSet, roleARN string
	profile                   string
	synth, json               bool
}

func newGuard(w world) *cobra.Command {
	var o guardOptions
	cmd := &cobra.Command{
		Use:                   "guard --env ENV [--base DIR | --stack NAME --change-set NAME]",
		DisableFlagsInUseLine: true,
		Short:                 "Stop a deployment that would lose data",
		Long:                  guardHelp,
		Args:                  flagsOnly("name an environment by --env"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stopWatching := interruptible(cmd.Context())
			defer stopWatching()
			v, err := o.guard(ctx, w, cmd.ErrOrStderr())
			if err != nil {
				if o.json {
					writeJSON(cmd.OutOrStdout(), map[string]string{"environment": o.env, "verdict": "unknown", "problem": err.Error()})
				}
				return err
			}
			if o.json {
				writeJSON(cmd.OutOrStdout(), v)
			} else {
				printVerdict(cmd.OutOrStdout(), v)
			}
			if v.Verdict == guard.Stopped {
				return exitCode(1)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&o.env, "env", "", "environment, whose file config/`ENV`.yaml may allow changes")
	cmd.Flags().StringVar(&o.app, "app", assembly.Default, "assembly that would be deployed, `DIR`")
	cmd.Flags().StringVar(&o.base, "base", "", "assembly `DIR` or git revision to compare with, not the deployed stacks")
	cmd.Flags().BoolVar(&o.synth, "synth", false, "synthesize the environment into --app first")
	cmd.Flags().StringVar(&o.stack, "stack", "", "`NAME` of the stack of --change-set")
	cmd.Flags().StringVar(&o.changeSet, "change-set", "", "`NAME` of a change set of CloudFormation")
	cmd.Flags().StringVar(&o.roleARN, "role-arn", "", "role to read with, `ARN` (default: the credentials themselves)")
	cmd.Flags().StringVar(&o.profile, "profile", "", "AWS profile (default: the SDK's chain)")
	cmd.Flags().BoolVar(&o.json, "json", false, "print the verdict as JSON")
	return cmd
}

func (o guardOptions) check() error {
	switch {
	case o.env == "":
		return errors.New("--env is missing: name an environment, as in --env prod")
	case (o.stack == "") != (o.changeSet == ""):
		return fmt.Errorf("--stack is %q and --change-set is %q: name both, or neither", o.stack, o.changeSet)
	case o.base != "" && (o.stack != "" || o.roleARN != "" || o.profile != ""):
		return errors.New("--base compares two assemblies and asks no AWS account: remove --stack, --change-set, --role-arn and --profile, or --base")
	case o.synth && o.stack != "":
		return errors.New("--synth makes an assembly, but --change-set looks at none: remove one of them")
	case o.synth && o.base != "" && holds(o.base, o.app):
		return fmt.Errorf("--base is %q, which --synth overwrites: name another folder, or a git revision", o.base)
	case o.roleARN != "" && o.profile != "":
		return errors.New("--role-arn and --profile are both given: name one of them; a profile can itself assume a role")
	}
	return nil
}

// holds says whether base is the folder app, by whatever name, or a folder of assemblies with it.
func holds(base, app string) bool {
	overwritten, err := os.Stat(app)
	if err != nil {
		return false
	}
	inner, _ := filepath.Glob(filepath.Join(base, "*"))
	return slices.ContainsFunc(append(inner, base), func(dir string) bool {
		info, err := os.Stat(dir)
		return err == nil && os.SameFile(info, overwritten)
	})
}

// guard finds the changes out, in one of three ways, and judges them.
func (o guardOptions) guard(ctx context.Context, w world, progress io.Writer) (guard.Verdict, error) {
	var v guard.Verdict
	if err := o.check(); err != nil {
		return v, err
	}
	env, err := config.Load(folders.Config, o.env)
	if err != nil {
		return v, err
	}
	if o.stack != "" && !strings.HasPrefix(o.stack, env.FullName()+"-") {
		return v, fmt.Errorf("--stack is %q, but the stacks of --env %s begin with %q: name one of them, since the environment's file says what is allowed", o.stack, o.env, env.FullName()+"-")
	}
	var changes []change.Resource
	var notes []string
	var compared string
	switch {
	case o.stack != "":
		compared = change.ChangeSet{Stack: o.stack, Name: o.changeSet}.String()
		changes, err = o.ofChangeSet(ctx, w, env, progress)
	case o.base != "":
		compared = o.app + " with " + o.base
		changes, notes, err = o.sinceBase(ctx, w, progress)
	default:
		compared = o.app + " with the deployed stacks"
		changes, notes, err = o.sinceDeployed(ctx, w, env, progress)
	}
	if err != nil {
		return v, err
	}
	v = guard.Decide(changes, env.Guard.Allow)
	v.Environment, v.Compared, v.Notes = o.env, compared, notes
	return v, nil
}

func (o guardOptions) ofChangeSet(ctx context.Context, w world, env config.Environment, progress io.Writer) ([]change.Resource, error) {
	api, err := o.openStacks(ctx, w, env)
	if err != nil {
		return nil, err
	}
	changes, note, err := change.OfChangeSet(ctx, w.Clock, api, change.ChangeSet{Stack: o.stack, Name: o.changeSet})
	if note != "" {
		fmt.Fprintf(progress, "infra guard: %s\n", note)
	}
	return changes, err
}

func (o guardOptions) sinceBase(ctx context.Context, w world, progress io.Writer) (changes []change.Resource, notes []string, err error) {
	base, err := synthesis.FindBase(ctx, o.base) // the quick steps come before the slow ones
	if err != nil {
		return nil, nil, err
	}
	if err := base.Has(ctx, o.env); err != nil {
		return nil, nil, err
	}
	later, err := o.readApp(ctx, progress)
	if err != nil {
		return nil, nil, err
	}
	dir, remove, err := base.Assemblies(ctx, []string{o.env}, progress)
	if err != nil {
		return nil, nil, err
	}
	defer remove()
	earlier, err := assembly.ReadEnvironment(dir, o.env)
	if err != nil {
		return nil, nil, err
	}
	return guard.BetweenAssemblies(ctx, w.compare, earlier, later)
}

func (o guardOptions) sinceDeployed(ctx context.Context, w world, env config.Environment, progress io.Writer) (changes []change.Resource, notes []string, err error) {
	stacks, err := o.readApp(ctx, progress)
	if err != nil {
		return nil, nil, err
	}
	api, err := o.openStacks(ctx, w, env)
	if err != nil {
		return nil, nil, err
	}
	return guard.SinceDeployed(ctx, w.compare, api, stacks)
}

// readApp returns the stacks of the environment in --app, which --synth writes first.
func (o guardOptions) readApp(ctx context.Context, progress io.Writer) ([]assembly.Stack, error) {
	if o.synth {
		if err := synthesis.Here(ctx, o.env, o.app, true, progress); err != nil {
			return nil, err
		}
	}
	return assembly.ReadEnvironment(o.app, o.env)
}

// openStacks returns CloudFormation with the credentials that the options choose.
func (o guardOptions) openStacks(ctx context.Context, w world, env config.Environment) (change.StackReader, error) {
	if o.roleARN != "" {
		api, err := w.assume(ctx, env.Region, o.roleARN)
		if err != nil {
			return nil, fmt.Errorf("environment %s: load the AWS configuration for the role %s: %w", env.Name, o.roleARN, err)
		}
		return api, nil
	}
	a, err := account.Of(ctx, w.connect, env, o.profile)
	if err != nil {
		return nil, errors.New(err.Error()) // whatever it was, the guard could not tell
	}
	return a.Stacks, nil
}

// printVerdict writes the verdict for a person.
func printVerdict(w io.Writer, v guard.Verdict) {
	file := folders.Config + "/" + v.Environment + ".yaml"
	if v.Verdict == guard.Stopped {
		fmt.Fprintf(w, "%s environment %s: %s (%s)\n", terminal.Yellow("STOPPED"), v.Environment, plaintext.Count(len(v.Stopped), "change")+" would lose data or access", v.Compared)
	} else {
		fmt.Fprintf(w, "%s environment %s: nothing speaks against the deployment (%s, %s changed)\n", terminal.Bold("FINE"), v.Environment, v.Compared, plaintext.Count(v.Changed, "resource"))
	}
	for i, f := range v.Stopped {
		fmt.Fprintf(w, "\n%d. ", i+1)
		printFinding(w, f)
	}
	for _, f := range v.Allowed {
		fmt.Fprint(w, "\nAllowed: ")
		printFinding(w, f)
		fmt.Fprintf(w, "   %s\n", terminal.Wrap("Allowed in "+file+": "+f.Reason, terminal.Width-3, "   "))
	}
	for _, a := range v.Unused {
		fmt.Fprintf(w, "\n%s\n", terminal.Wrap(fmt.Sprintf("The entry for %s.%s with the hash %s in %s fits no change here. Remove it if its change is deployed.",
			a.LogicalID, a.Property, a.Hash, file), terminal.Width, ""))
	}
	for _, note := range v.Notes {
		fmt.Fprintf(w, "\n%s\n", note)
	}
	if v.Verdict == guard.Stopped {
		where, text := "add to", "guard:\n  allow:\n"+allowanceYAML(v.Stopped)
		if len(v.Allowed)+len(v.Unused) > 0 { // a second key of the same name is refused
			where, text = "add below guard.allow in", allowanceYAML(v.Stopped)
		}
		fmt.Fprintf(w, "\nUndo what is not meant. For what is meant, %s %s, with your reason:\n\n%s", where, file, text)
	}
}

func printFinding(w io.Writer, f guard.Finding) {
	fmt.Fprintf(w, "%s %s of stack %s\n", f.Kind, f.LogicalID, f.Stack)
	if f.Path != "" {
		fmt.Fprintf(w, "   construct %s\n", f.Path)
	}
	if f.Property != change.WholeResource {
		if change.Equal(f.Old, f.New) {
			fmt.Fprintf(w, "   %s: %s, which gives another value\n", f.Property, change.Show(f.Old))
		} else {
			fmt.Fprintf(w, "   %s: %s → %s\n", f.Property, change.Show(f.Old), change.Show(f.New))
		}
	}
	fmt.Fprintf(w, "   %s\n", terminal.Wrap(f.Problem, terminal.Width-3, "   "))
}

// allowanceYAML returns the entries that let the findings pass, without the reasons.
func allowanceYAML(findings []guard.Finding) string {
	var b strings.Builder
	for _, f := range findings {
		fmt.Fprintf(&b, "    - logicalId: %s\n      property: %s\n      hash: %q\n      reason:\n", f.LogicalID, f.Property, f.Hash)
	}
	return b.String()
}

func writeJSON(w io.Writer, value any) {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	_ = encoder.Encode(value) // standard output that is gone cannot be told
}
