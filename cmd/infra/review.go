package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"flask-on-fargate/config"
	"flask-on-fargate/internal/assembly"
	"flask-on-fargate/internal/plaintext"
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
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return fmt.Errorf("%q given, but the command takes flags only: name an assembly by --base", args)
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			render, known := renderers[o.format]
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

// report is what a change does, environment by environment.
type report struct {
	Base         string
	Environments []environmentReport
}

type environmentReport struct {
	Name     string
	Sections []section // none if nothing changed
}

// section is a part of a report. Texts have Markdown's marks for code, and no others.
type section struct {
	Title string
	Items []item
}

type item struct {
	Text    string
	Details []string
	Folded  []string // names that Markdown folds away, and a terminal leaves out
}

func (o reviewOptions) review(ctx context.Context, w world, progress io.Writer) (report, error) {
	base, err := findBaseline(ctx, o.base)
	if err != nil {
		return report{}, err
	}
	if o.synth {
		if o.app, err = os.MkdirTemp("", "infra-review-"); err != nil {
			return report{}, err
		}
		defer os.RemoveAll(o.app)
		if err := synthesizeEveryHere(ctx, o.app, progress); err != nil {
			return report{}, err
		}
	}
	later, err := assembly.ReadAll(o.app)
	if err != nil {
		return report{}, err
	}
	envs := assembly.Environments(later)
	if o.synth {
		envs = nil // what only the base has is gone from the project
	}
	dir, remove, err := base.assemblies(ctx, envs, progress)
	if err != nil {
		return report{}, err
	}
	defer remove()
	earlier, err := assembly.ReadAll(dir)
	if err != nil {
		return report{}, err
	}
	r := report{Base: o.base}
	names := assembly.Environments(append(slices.Clone(later), earlier...))
	slices.Sort(names)
	for _, name := range names {
		e, err := reviewEnvironment(ctx, w, name, assembly.In(earlier, name), assembly.In(later, name))
		if err != nil {
			return report{}, fmt.Errorf("environment %s: %w", name, err)
		}
		r.Environments = append(r.Environments, e)
	}
	return r, nil
}

func reviewEnvironment(ctx context.Context, w world, name string, earlier, later []assembly.Stack) (environmentReport, error) {
	e := environmentReport{Name: cmp.Or(name, "(none)")}
	pairs, protection := pairUp(earlier, later)
	pairs = slices.DeleteFunc(pairs, func(p pair) bool { return reflect.DeepEqual(p.Old, p.New) })
	if len(pairs) == 0 && len(protection) == 0 {
		return e, nil
	}
	diffs, err := w.compare(ctx, pairs)
	if err != nil {
		return e, err
	}
	naming := newNames(earlier, later)
	judged := slices.Clone(protection)
	var stacks, tasks, schema []item
	var access accessChanges
	for i, p := range pairs {
		changes, err := changesOfPair(p, diffs[i])
		if err != nil {
			return e, err
		}
		if p.New == nil {
			goneStack, err := describeGone(p)
			if err != nil {
				return e, err
			}
			e.Sections = append(e.Sections, goneStack)
			continue
		}
		judged = append(judged, changes...)
		sections, err := describeStack(p, diffs[i], changes)
		if err != nil {
			return e, err
		}
		e.Sections = append(e.Sections, sections)
		tasks = append(tasks, tasksOf(p, changes)...)
		schema = append(schema, schemaOf(p, changes)...)
		access.add(naming.of(p.Stack), diffs[i])
	}
	for _, c := range protection {
		stacks = append(stacks, item{Text: fmt.Sprintf("stack `%s`: termination protection %s → %s", c.Stack, show(c.Properties[0].Old), show(c.Properties[0].New))})
	}
	if len(stacks) > 0 {
		e.Sections = append(e.Sections, section{"Stacks", stacks})
	}
	guard, err := guardSection(name, later, judged)
	if err != nil {
		return e, err
	}
	e.Sections = append(e.Sections, guard,
		section{"Permissions", orNone(access.permissions(), "none gained, none lost")},
		section{"Reachability", orNone(access.reachability(), "none gained, none lost")},
		section{"Running tasks", orNone(tasks, "untouched")},
		section{"Schema", orNone(schema, "untouched")})
	return e, nil
}

func orNone(items []item, none string) []item {
	if len(items) == 0 {
		return []item{{Text: none}}
	}
	return items
}

// guardSection is the guard's verdict, with the allowances of the environment's file.
func guardSection(name string, later []assembly.Stack, changes []resourceChange) (section, error) {
	s := section{Title: "Guard"}
	if len(later) == 0 {
		s.Items = append(s.Items, item{Text: "nothing to judge: the environment is gone from the project, and a deployment leaves its stacks as they are"})
		return s, nil
	}
	var env config.Environment
	if name != "" { // the delivery's own stack is in no environment
		var err error
		if env, err = config.Load(configDir, name); err != nil {
			return s, err
		}
	}
	var v verdict
	v.decide(changes, env.Guard.Allow)
	for _, f := range v.Stopped {
		s.Items = append(s.Items, item{Text: "stops: " + f.brief(), Details: []string{code(f.Problem), fmt.Sprintf("hash `%s`", f.Hash)}})
	}
	for _, f := range v.Allowed {
		s.Items = append(s.Items, item{Text: "allowed: " + f.brief(), Details: []string{code(f.Problem), "Reason: " + code(f.Reason)}})
	}
	for _, a := range v.Unused {
		s.Items = append(s.Items, item{Text: fmt.Sprintf("the entry for `%s.%s` with the hash `%s` fits no change", a.LogicalID, a.Property, a.Hash)})
	}
	if len(v.Stopped) == 0 {
		s.Items = slices.Insert(s.Items, 0, item{Text: "nothing speaks against the deployment"})
	}
	return s, nil
}

func (f finding) brief() string {
	text := fmt.Sprintf("%s `%s` in `%s`", f.Kind, f.LogicalID, f.Stack)
	if f.Property != wholeResource {
		text += fmt.Sprintf(", `%s`", f.Property)
	}
	return text + " (" + f.Rule + ")"
}

// code makes a text harmless among Markdown's marks for code, and in a list: one line.
func code(text string) string { return strings.NewReplacer("`", "'", "\n", `\n`).Replace(text) }

// describeGone says what becomes of a stack that the project does not have any more.
func describeGone(p pair) (section, error) {
	older, _, err := bothResources(p)
	if err != nil {
		return section{}, err
	}
	return section{"Stack `" + p.Stack + "` (gone from the project)", []item{{
		Text:    fmt.Sprintf("its %d resources stay as they are, and are billed: a deployment leaves a stack alone that it does not know", len(older)),
		Details: []string{"To remove them run `npx cdk destroy` for this stack in a revision that has it."},
	}}}, nil
}

// describeStack lists what becomes of a stack's resources and outputs.
func describeStack(p pair, diff templateDiff, changes []resourceChange) (section, error) {
	s := section{Title: "Stack `" + p.Stack + "`"}
	if p.Old == nil {
		s.Title += " (new)"
	}
	older, newer, err := bothResources(p)
	if err != nil {
		return s, err
	}
	byID := map[string]resourceChange{}
	for _, c := range changes {
		byID[c.LogicalID] = c
	}
	lists := map[string][]item{}
	var folded []string
	ids := map[string]bool{}
	for id := range diff.Resources {
		ids[id] = true
	}
	for id := range byID {
		ids[id] = true
	}
	for _, id := range slices.Sorted(maps.Keys(ids)) {
		before, wasThere := older[id]
		after, isThere := newer[id]
		switch {
		case !wasThere:
			lists["added"] = append(lists["added"], item{Text: label(id, after)})
		case !isThere:
			lists["removed"] = append(lists["removed"], item{Text: fmt.Sprintf("%s, %s", label(id, before), fate[policyOf(before.Type, "DeletionPolicy", before.DeletionPolicy)])})
		case before.Type != after.Type:
			lists["removed"] = append(lists["removed"], item{Text: label(id, before), Details: []string{"`Type`: `" + before.Type + "` → `" + after.Type + "`, which CloudFormation refuses under the same logical id"}})
		default:
			word, details := describeChange(byID[id], diff.Resources[id].Attributes, before, after)
			if word == onlyMetadata {
				folded = append(folded, id)
				continue
			}
			lists[word] = append(lists[word], item{Text: label(id, after), Details: details})
		}
	}
	outputs(p, lists)
	for _, word := range []string{"added", "changed", "may be replaced", "replaced", "removed"} {
		for _, i := range lists[word] {
			s.Items = append(s.Items, item{Text: word + ": " + i.Text, Details: i.Details})
		}
	}
	if len(folded) > 0 {
		s.Items = append(s.Items, item{Text: onlyMetadata + ", nothing that runs: " + plaintext.Count(len(folded), "resource"), Folded: folded})
	}
	if len(s.Items) == 0 {
		s.Items = []item{{Text: "changed in other sections than Resources and Outputs"}}
	}
	return s, nil
}

func label(id string, r assembly.Resource) string {
	text := fmt.Sprintf("`%s` (%s", id, r.Type)
	if path := r.Path(); path != "" {
		text += ", " + path
	}
	return text + ")"
}

const onlyMetadata = "changed in Metadata only"

// describeChange says what changes in a resource that stays, and in a word what becomes of it.
func describeChange(c resourceChange, attributes []string, before, after assembly.Resource) (word string, details []string) {
	word = "changed"
	for _, p := range c.Properties {
		if replaces(after.Type, p.Name, p.Requires) {
			if p.Requires == always && p.Certain {
				word = "replaced"
			} else if word == "changed" {
				word = "may be replaced"
			}
		}
		if len(p.Causes) > 0 {
			var ids []string
			for _, cause := range p.Causes {
				if id := "`" + cause.LogicalID + "`"; !slices.Contains(ids, id) {
					ids = append(ids, id)
				}
			}
			details = append(details, fmt.Sprintf("`%s` refers to what is replaced: %s", p.Name, strings.Join(ids, ", ")))
			continue
		}
		details = append(details, leaves(p.Name, p.Old, p.New)...)
	}
	for _, name := range attributes {
		switch name {
		case "DeletionPolicy":
			details = append(details, fmt.Sprintf("`DeletionPolicy`: `%s` → `%s`", cmp.Or(before.DeletionPolicy, "(none)"), cmp.Or(after.DeletionPolicy, "(none)")))
		case "UpdateReplacePolicy":
			details = append(details, fmt.Sprintf("`UpdateReplacePolicy`: `%s` → `%s`", cmp.Or(before.UpdateReplacePolicy, "(none)"), cmp.Or(after.UpdateReplacePolicy, "(none)")))
		case "Metadata": // paths of constructs and assets, which change nothing
			if len(c.Properties) == 0 && len(attributes) == 1 {
				word = onlyMetadata
			}
		default:
			details = append(details, "`"+name+"`")
		}
	}
	return word, details
}

// leaves lists where a property's old and new value differ. The library's own formatter prints whole values.
func leaves(path string, older, newer any) []string {
	const most = 6
	var found []string
	var walk func(path string, a, b any)
	walk = func(path string, a, b any) {
		if equal(a, b) {
			return
		}
		if from, ok := a.(map[string]any); ok && !isFunction(from) {
			if to, ok := b.(map[string]any); ok && !isFunction(to) {
				keys := maps.Clone(from)
				maps.Copy(keys, to)
				for _, key := range slices.Sorted(maps.Keys(keys)) {
					walk(path+"."+key, from[key], to[key])
				}
				return
			}
		}
		from, isList := a.([]any)
		if to, ok := b.([]any); ok && isList && len(from) == len(to) {
			for i := range from {
				walk(fmt.Sprintf("%s[%d]", path, i), from[i], to[i])
			}
			return
		}
		was, is := showBoth(a, b)
		found = append(found, fmt.Sprintf("`%s`: `%s` → `%s`", path, code(was), code(is)))
	}
	walk(path, older, newer)
	if len(found) > most {
		found = append(found[:most], fmt.Sprintf("and %d more in `%s`", len(found)-most, path))
	}
	return found
}

// isFunction tells an intrinsic function, which is one value, from a mapping.
func isFunction(mapping map[string]any) bool {
	for key := range mapping {
		if len(mapping) == 1 && (key == "Ref" || strings.HasPrefix(key, "Fn::")) {
			return true
		}
	}
	return false
}

// outputs adds what becomes of a stack's outputs.
func outputs(p pair, lists map[string][]item) {
	older, _ := p.Old["Outputs"].(map[string]any)
	newer, _ := p.New["Outputs"].(map[string]any)
	names := maps.Clone(older)
	if names == nil {
		names = map[string]any{}
	}
	maps.Copy(names, newer)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		before, wasThere := older[name]
		after, isThere := newer[name]
		text := "output `" + name + "`"
		switch {
		case !wasThere:
			lists["added"] = append(lists["added"], item{Text: text})
		case !isThere:
			lists["removed"] = append(lists["removed"], item{Text: text})
		case !equal(before, after):
			lists["changed"] = append(lists["changed"], item{Text: text, Details: leaves("Output", before, after)})
		}
	}
}

// startsDeployment are the properties of a service that make ECS replace its tasks when they change.
// https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_UpdateService.html
var startsDeployment = []string{
	"CapacityProviderStrategy", "ForceNewDeployment", "LoadBalancers", "NetworkConfiguration", "PlatformVersion",
	"ServiceConnectConfiguration", "ServiceRegistries", "TaskDefinition", "VolumeConfigurations", "VpcLatticeConfigurations",
}

// tasksOf says what becomes of the tasks of a stack's services.
func tasksOf(p pair, changes []resourceChange) []item {
	const serviceType = "AWS::ECS::Service"
	var items []item
	if p.Old == nil {
		resources, _ := p.New.Resources()
		for _, id := range slices.Sorted(maps.Keys(resources)) {
			if resources[id].Type == serviceType {
				items = append(items, item{Text: fmt.Sprintf("`%s` is new: %s tasks start", id, show(resources[id].Properties["DesiredCount"]))})
			}
		}
		return items
	}
	for _, c := range changes {
		if c.Type != serviceType {
			continue
		}
		var starting, other []string
		replaced := false
		for _, property := range c.Properties {
			replaced = replaced || replaces(c.Type, property.Name, property.Requires)
			if slices.Contains(startsDeployment, property.Name) {
				starting = append(starting, "`"+property.Name+"`")
			} else {
				other = append(other, "`"+property.Name+"`")
			}
		}
		var text string
		switch {
		case c.Removed:
			text = "stop: the service is removed"
		case replaced:
			text = "are replaced together with the service: a new service starts its tasks, then the old one stops"
		case len(starting) > 0:
			text = "rolling restart: " + strings.Join(starting, ", ") + " changes, so that ECS starts new tasks and then stops the old ones"
		case len(other) > 0:
			text = "rolling restart if a release has registered a newer task definition since: " + strings.Join(other, ", ") +
				" needs none itself, but CloudFormation sends its own task definition again with every update of the service"
		default:
			continue
		}
		items = append(items, item{Text: fmt.Sprintf("`%s`: %s", c.LogicalID, text)})
	}
	return items
}

// runsSchemaTask are the properties, beside the hash of the files, with which functions/schemainit runs its task.
var runsSchemaTask = []string{"DatabaseResourceId", "EngineVersion"}

// schemaOf says what becomes of the database's schema.
func schemaOf(p pair, changes []resourceChange) []item {
	const schemaType, hash = "Custom::SchemaInit", "SchemaHash"
	var items []item
	if p.Old == nil {
		resources, _ := p.New.Resources()
		for _, r := range resources {
			if r.Type == schemaType {
				items = append(items, item{Text: "the files of `sql/` are applied before the service starts"})
			}
		}
		return items
	}
	for _, c := range changes {
		if c.Type == databaseType && slices.ContainsFunc(c.Properties, func(p propertyChange) bool { return replaces(c.Type, p.Name, p.Requires) }) {
			items = append(items, item{Text: fmt.Sprintf("`%s` is replaced, or may be: all files of `sql/` are applied to the new database", c.LogicalID)})
		}
		if c.Type != schemaType {
			continue
		}
		before, after := c.Old.Properties[hash], c.New.Properties[hash]
		switch {
		case c.Removed:
			items = append(items, item{Text: "no longer kept by a deployment; the tables stay"})
		case !equal(before, after):
			items = append(items, item{Text: fmt.Sprintf("the files of `sql/` change (hash `%.12s` → `%.12s`): those that the database does not have yet are applied before the service is updated", show(before), show(after))})
		case slices.ContainsFunc(c.Properties, func(p propertyChange) bool { return slices.Contains(runsSchemaTask, p.Name) }):
			items = append(items, item{Text: "the schema task runs again, with the same files: it applies those that the database does not have"})
		case len(c.Properties) > 0:
			items = append(items, item{Text: "the schema task changes, and does not run: the files and the database are the same"})
		}
	}
	return items
}
