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
	"flask-on-fargate/internal/assembly"
	"flask-on-fargate/internal/plaintext"
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
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return fmt.Errorf("%q given, but the command takes flags only: name an environment by --env", args)
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stopWatching := interruptible(cmd.Context())
			defer stopWatching()
			v, err := guard(ctx, w, o, cmd.ErrOrStderr())
			if err != nil {
				if o.json {
					writeJSON(cmd.OutOrStdout(), map[string]string{"environment": o.env, "verdict": "unknown", "problem": err.Error()})
				}
				return err
			}
			if o.json {
				writeJSON(cmd.OutOrStdout(), v)
			} else {
				v.print(cmd.OutOrStdout())
			}
			if v.Verdict == verdictStopped {
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
func guard(ctx context.Context, w world, o guardOptions, progress io.Writer) (*verdict, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	env, err := config.Load(configDir, o.env)
	if err != nil {
		return nil, err
	}
	if o.stack != "" && !strings.HasPrefix(o.stack, env.FullName()+"-") {
		return nil, fmt.Errorf("--stack is %q, but the stacks of --env %s begin with %q: name one of them, since the environment's file says what is allowed", o.stack, o.env, env.FullName()+"-")
	}
	var base baseline
	if o.base != "" {
		if base, err = findBaseline(ctx, o.base); err != nil {
			return nil, err
		}
		if err := base.has(ctx, o.env); err != nil {
			return nil, err
		}
	}
	var stacks []assembly.Stack // of the assembly; what is quick comes before what is slow
	if o.stack == "" {
		if o.synth {
			if err := synthesizeHere(ctx, o.env, o.app, true, progress); err != nil {
				return nil, err
			}
		}
		if stacks, err = assembly.ReadEnvironment(o.app, o.env); err != nil {
			return nil, err
		}
	}
	v := &verdict{Environment: o.env}
	changes, err := v.find(ctx, w, env, o, base, stacks, progress)
	if err != nil {
		return nil, err
	}
	v.decide(changes, env.Guard.Allow)
	return v, nil
}

// find finds the changes out, in the way that the options choose.
func (v *verdict) find(ctx context.Context, w world, env config.Environment, o guardOptions, base baseline, stacks []assembly.Stack, progress io.Writer) ([]resourceChange, error) {
	if o.base != "" {
		dir, remove, err := base.assemblies(ctx, []string{o.env}, progress)
		if err != nil {
			return nil, err
		}
		defer remove()
		v.Compared = o.app + " with " + o.base
		return v.fromAssemblies(ctx, w, stacks, dir)
	}
	api, err := openStacks(ctx, w, env, o)
	if err != nil {
		return nil, err
	}
	if o.stack != "" {
		v.Compared = fmt.Sprintf("change set %s of stack %s", o.changeSet, o.stack)
		return changesOfChangeSet(ctx, w, api, o.stack, o.changeSet, progress)
	}
	v.Compared = o.app + " with the deployed stacks"
	return v.fromDeployed(ctx, w, stacks, api)
}

func openStacks(ctx context.Context, w world, env config.Environment, o guardOptions) (stackReader, error) {
	if o.roleARN != "" {
		api, err := w.assume(ctx, env.Region, o.roleARN)
		if err != nil {
			return nil, fmt.Errorf("environment %s: load the AWS configuration for the role %s: %w", env.Name, o.roleARN, err)
		}
		return api, nil
	}
	c, err := connectEnvironment(ctx, w, env, o.profile)
	if err != nil {
		return nil, errors.New(err.Error()) // whatever it was, the guard could not tell
	}
	return c.stacks, nil
}

// fromDeployed compares the assembly with the stacks as they are deployed.
func (v *verdict) fromDeployed(ctx context.Context, w world, stacks []assembly.Stack, api stackReader) ([]resourceChange, error) {
	var pairs []pair
	var protection []resourceChange
	for _, s := range stacks {
		old, was, err := deployedTemplate(ctx, api, s.Name)
		if err != nil {
			return nil, err
		}
		if old == nil {
			v.Notes = append(v.Notes, fmt.Sprintf("Stack %s does not exist yet.", s.Name))
		}
		pairs = append(pairs, pair{Stack: s.Name, Old: old, New: s.Template})
		protection = append(protection, terminationProtection(s.Name, was, s.TerminationProtection)...)
	}
	changes, err := changesOfPairs(ctx, w, pairs)
	return append(changes, protection...), err
}

// fromAssemblies compares the assembly with an earlier one.
func (v *verdict) fromAssemblies(ctx context.Context, w world, stacks []assembly.Stack, base string) ([]resourceChange, error) {
	earlier, err := assembly.ReadEnvironment(base, v.Environment)
	if err != nil {
		return nil, err
	}
	pairs, protection := pairUp(earlier, stacks)
	for _, p := range pairs {
		switch {
		case p.Old == nil:
			v.Notes = append(v.Notes, fmt.Sprintf("Stack %s is new.", p.Stack))
		case p.New == nil:
			v.Notes = append(v.Notes, fmt.Sprintf("Stack %s is in the base only: a deployment leaves it as it is.", p.Stack))
		}
	}
	changes, err := changesOfPairs(ctx, w, slices.DeleteFunc(pairs, func(p pair) bool { return p.New == nil }))
	return append(changes, protection...), err
}

// pairUp matches the stacks of two assemblies by name.
func pairUp(earlier, later []assembly.Stack) ([]pair, []resourceChange) {
	var pairs []pair
	var protection []resourceChange
	for _, s := range later {
		p := pair{Stack: s.Name, New: s.Template}
		if i := named(earlier, s.Name); i >= 0 {
			p.Old = earlier[i].Template
			protection = append(protection, terminationProtection(s.Name, earlier[i].TerminationProtection, s.TerminationProtection)...)
		}
		pairs = append(pairs, p)
	}
	for _, e := range earlier {
		if named(later, e.Name) < 0 {
			pairs = append(pairs, pair{Stack: e.Name, Old: e.Template})
		}
	}
	return pairs, protection
}

func named(stacks []assembly.Stack, name string) int {
	return slices.IndexFunc(stacks, func(s assembly.Stack) bool { return s.Name == name })
}

func changesOfPairs(ctx context.Context, w world, pairs []pair) ([]resourceChange, error) {
	diffs, err := w.compare(ctx, pairs)
	if err != nil {
		return nil, err
	}
	var all []resourceChange
	for i, p := range pairs {
		changes, err := changesOfPair(p, diffs[i])
		if err != nil {
			return nil, err
		}
		all = append(all, changes...)
	}
	return all, nil
}

const (
	verdictFine    = "fine"
	verdictStopped = "stopped"
)

// verdict is what the guard says of a deployment.
type verdict struct {
	Environment string             `json:"environment"`
	Verdict     string             `json:"verdict"`
	Compared    string             `json:"compared"`
	Changed     int                `json:"changedResources"` // of those that stay or go
	Stopped     []finding          `json:"stopped"`
	Allowed     []finding          `json:"allowed"`
	Unused      []config.Allowance `json:"unusedAllowances"`
	Notes       []string           `json:"notes,omitempty"`
}

// decide judges the changes and applies the allowances.
func (v *verdict) decide(changes []resourceChange, allowances []config.Allowance) {
	v.Changed = len(changes)
	v.Stopped, v.Allowed, v.Unused = []finding{}, []finding{}, []config.Allowance{}
	used := make([]bool, len(allowances))
	for _, f := range judge(changes) {
		i := slices.IndexFunc(allowances, func(a config.Allowance) bool {
			return a.LogicalID == f.LogicalID && a.Property == f.Property && a.Hash == f.Hash
		})
		if i < 0 {
			v.Stopped = append(v.Stopped, f)
			continue
		}
		used[i] = true
		f.Reason = allowances[i].Reason
		v.Allowed = append(v.Allowed, f)
	}
	for i, a := range allowances {
		if !used[i] {
			v.Unused = append(v.Unused, a)
		}
	}
	v.Verdict = verdictFine
	if len(v.Stopped) > 0 {
		v.Verdict = verdictStopped
	}
}

// print writes the verdict for a person.
func (v *verdict) print(w io.Writer) {
	if v.Verdict == verdictStopped {
		fmt.Fprintf(w, "%s environment %s: %s (%s)\n", terminal.Yellow("STOPPED"), v.Environment, plaintext.Count(len(v.Stopped), "change")+" would lose data or access", v.Compared)
	} else {
		fmt.Fprintf(w, "%s environment %s: nothing speaks against the deployment (%s, %s changed)\n", terminal.Bold("FINE"), v.Environment, v.Compared, plaintext.Count(v.Changed, "resource"))
	}
	for i, f := range v.Stopped {
		fmt.Fprintf(w, "\n%d. ", i+1)
		f.print(w)
	}
	for _, f := range v.Allowed {
		fmt.Fprint(w, "\nAllowed: ")
		f.print(w)
		fmt.Fprintf(w, "   %s\n", terminal.Wrap("Allowed in "+v.file()+": "+f.Reason, terminal.Width-3, "   "))
	}
	for _, a := range v.Unused {
		fmt.Fprintf(w, "\n%s\n", terminal.Wrap(fmt.Sprintf("The entry for %s.%s with the hash %s in %s fits no change here. Remove it if its change is deployed.",
			a.LogicalID, a.Property, a.Hash, v.file()), terminal.Width, ""))
	}
	for _, note := range v.Notes {
		fmt.Fprintf(w, "\n%s\n", note)
	}
	if v.Verdict == verdictStopped {
		where, text := "add to", "guard:\n  allow:\n"+allowanceYAML(v.Stopped)
		if len(v.Allowed)+len(v.Unused) > 0 { // a second key of the same name is refused
			where, text = "add below guard.allow in", allowanceYAML(v.Stopped)
		}
		fmt.Fprintf(w, "\nUndo what is not meant. For what is meant, %s %s, with your reason:\n\n%s", where, v.file(), text)
	}
}

func (v *verdict) file() string { return configDir + "/" + v.Environment + ".yaml" }

func (f finding) print(w io.Writer) {
	fmt.Fprintf(w, "%s %s of stack %s\n", f.Kind, f.LogicalID, f.Stack)
	if f.Path != "" {
		fmt.Fprintf(w, "   construct %s\n", f.Path)
	}
	if f.Property != wholeResource {
		if equal(f.Old, f.New) {
			fmt.Fprintf(w, "   %s: %s, which gives another value\n", f.Property, show(f.Old))
		} else {
			fmt.Fprintf(w, "   %s: %s → %s\n", f.Property, show(f.Old), show(f.New))
		}
	}
	fmt.Fprintf(w, "   %s\n", terminal.Wrap(f.Problem, terminal.Width-3, "   "))
}

// allowanceYAML is the entries that let the findings pass, but for the reasons.
func allowanceYAML(findings []finding) string {
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

// terminationProtection is the change of a property of a stack that is in no template.
func terminationProtection(name string, before, after bool) []resourceChange {
	if before == after {
		return nil
	}
	return []resourceChange{{Stack: name, LogicalID: stackID(name), Type: stackType, Properties: []propertyChange{{
		Name: "TerminationProtection", Old: before, New: after, Certain: true,
	}}}}
}

// stackID is a name for the stack itself in an allowance, where logical ids are.
func stackID(name string) string { return strings.ReplaceAll(name, "-", "") }
