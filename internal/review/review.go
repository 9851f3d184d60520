// Package review reports what a change of the project does to its environments.
package review

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"flask-on-fargate/config"
	"flask-on-fargate/internal/assembly"
	"flask-on-fargate/internal/change"
	"flask-on-fargate/internal/folders"
	"flask-on-fargate/internal/guard"
	"flask-on-fargate/internal/plaintext"
)

// Report is what a change does, environment by environment. One of [Formats] writes it.
type Report struct {
	base         string
	environments []environment
}

type environment struct {
	name     string
	sections []section // none if nothing changed
}

// section is a part of a report. Texts have Markdown's marks for code, and no others.
type section struct {
	title string
	items []item
}

type item struct {
	text    string
	details []string
	folded  []string // names that Markdown folds away, and that a terminal leaves out
}

// Of reports what changes in every environment, in the order of their names. Base says in words what earlier is.
func Of(ctx context.Context, compare change.Comparer, base string, earlier, later []assembly.Stack) (Report, error) {
	r := Report{base: base}
	names := assembly.Environments(slices.Concat(later, earlier))
	slices.Sort(names)
	for _, name := range names {
		e, err := reviewEnvironment(ctx, compare, name, assembly.In(earlier, name), assembly.In(later, name))
		if err != nil {
			return Report{}, fmt.Errorf("environment %s: %w", name, err)
		}
		r.environments = append(r.environments, e)
	}
	return r, nil
}

func reviewEnvironment(ctx context.Context, compare change.Comparer, name string, earlier, later []assembly.Stack) (environment, error) {
	e := environment{name: cmp.Or(name, "(none)")}
	pairs, protection := change.PairUp(earlier, later)
	pairs = slices.DeleteFunc(pairs, func(p change.Pair) bool { return reflect.DeepEqual(p.Old, p.New) })
	if len(pairs) == 0 && len(protection) == 0 {
		return e, nil
	}
	diffs, err := compare(ctx, pairs)
	if err != nil {
		return e, err
	}
	naming := newNames(earlier, later)
	judged := slices.Clone(protection)
	var tasks, schema []item
	access := access{balance[permission]{}, balance[reach]{}}
	for i, p := range pairs {
		older, newer, err := p.Resources()
		if err != nil {
			return e, err
		}
		if p.New == nil {
			e.sections = append(e.sections, gone(p.Stack, len(older)))
			continue
		}
		changes, err := change.OfPair(p, diffs[i])
		if err != nil {
			return e, err
		}
		judged = append(judged, changes...)
		e.sections = append(e.sections, stackSection(p, older, newer, diffs[i], changes))
		tasks = append(tasks, tasksOf(p, newer, changes)...)
		schema = append(schema, schemaOf(p, newer, changes)...)
		access.add(naming.of(p.Stack), diffs[i])
	}
	if len(protection) > 0 {
		s := section{title: "Stacks"}
		for _, c := range protection {
			s.items = append(s.items, item{text: fmt.Sprintf("stack `%s`: termination protection %s → %s", c.Stack, change.Show(c.Properties[0].Old), change.Show(c.Properties[0].New))})
		}
		e.sections = append(e.sections, s)
	}
	verdict, err := guardSection(name, later, judged)
	if err != nil {
		return e, err
	}
	e.sections = append(e.sections, verdict,
		section{"Permissions", orNone(access.permissionItems(), "none gained, none lost")},
		section{"Reachability", orNone(access.reachItems(), "none gained, none lost")},
		section{"Running tasks", orNone(tasks, "untouched")},
		section{"Schema", orNone(schema, "untouched")})
	return e, nil
}

func orNone(items []item, none string) []item {
	if len(items) == 0 {
		return []item{{text: none}}
	}
	return items
}

// guardSection is the guard's verdict, with the allowances of the environment's file.
func guardSection(name string, later []assembly.Stack, changes []change.Resource) (section, error) {
	s := section{title: "Guard"}
	if len(later) == 0 {
		s.items = []item{{text: "nothing to judge: the environment is gone from the project, and a deployment leaves its stacks as they are"}}
		return s, nil
	}
	var env config.Environment
	if name != "" { // the delivery's own stack is in no environment
		var err error
		if env, err = config.Load(folders.Config, name); err != nil {
			return s, err
		}
	}
	v := guard.Decide(changes, env.Guard.Allow)
	if len(v.Stopped) == 0 {
		s.items = []item{{text: "nothing speaks against the deployment"}}
	}
	for _, f := range v.Stopped {
		s.items = append(s.items, item{text: "stops: " + brief(f), details: []string{code(f.Problem), fmt.Sprintf("hash `%s`", f.Hash)}})
	}
	for _, f := range v.Allowed {
		s.items = append(s.items, item{text: "allowed: " + brief(f), details: []string{code(f.Problem), "Reason: " + code(f.Reason)}})
	}
	for _, a := range v.Unused {
		s.items = append(s.items, item{text: fmt.Sprintf("the entry for `%s.%s` with the hash `%s` fits no change", a.LogicalID, a.Property, a.Hash)})
	}
	return s, nil
}

func brief(f guard.Finding) string {
	text := fmt.Sprintf("%s `%s` in `%s`", f.Kind, f.LogicalID, f.Stack)
	if f.Property != change.WholeResource {
		text += fmt.Sprintf(", `%s`", f.Property)
	}
	return text + " (" + f.Rule + ")"
}

// gone says what becomes of a stack that the project does not have any more.
func gone(stack string, resources int) section {
	return section{"Stack `" + stack + "` (gone from the project)", []item{{
		text:    fmt.Sprintf("its %d resources stay as they are, and are billed: a deployment leaves a stack alone that it does not know", resources),
		details: []string{"To remove them run `npx cdk destroy` for this stack in a revision that has it."},
	}}}
}

// fates are what may become of a resource or an output, in the order of the report.
var fates = []string{"added", "changed", "may be replaced", "replaced", "removed"}

// stackSection lists what becomes of a stack's resources and outputs.
func stackSection(p change.Pair, older, newer map[string]assembly.Resource, diff change.Diff, changes []change.Resource) section {
	s := section{title: "Stack `" + p.Stack + "`"}
	if p.Old == nil {
		s.title += " (new)"
	}
	byID := map[string]change.Resource{}
	ids := map[string]bool{}
	for _, c := range changes {
		byID[c.LogicalID], ids[c.LogicalID] = c, true
	}
	for id := range diff.Resources {
		ids[id] = true
	}
	lists := map[string][]item{}
	var folded []string
	for _, id := range slices.Sorted(maps.Keys(ids)) {
		before, wasThere := older[id]
		after, isThere := newer[id]
		switch {
		case !wasThere:
			lists["added"] = append(lists["added"], item{text: label(id, after)})
		case !isThere:
			lists["removed"] = append(lists["removed"], item{text: fmt.Sprintf("%s, %s", label(id, before), change.DeletionPolicy(before))})
		case before.Type != after.Type:
			lists["removed"] = append(lists["removed"], item{text: label(id, before), details: []string{"`Type`: `" + before.Type + "` → `" + after.Type + "`, which CloudFormation refuses under the same logical id"}})
		default:
			word, details := describe(byID[id], diff.Resources[id].Attributes, before, after)
			if word == onlyMetadata {
				folded = append(folded, id)
				continue
			}
			lists[word] = append(lists[word], item{text: label(id, after), details: details})
		}
	}
	listOutputs(p, lists)
	for _, word := range fates {
		for _, i := range lists[word] {
			i.text = word + ": " + i.text
			s.items = append(s.items, i)
		}
	}
	if len(folded) > 0 {
		s.items = append(s.items, item{text: onlyMetadata + ", nothing that runs: " + plaintext.Count(len(folded), "resource"), folded: folded})
	}
	s.items = orNone(s.items, "changed in other sections than Resources and Outputs")
	return s
}

func label(id string, r assembly.Resource) string {
	text := fmt.Sprintf("`%s` (%s", id, r.Type)
	if path := r.Path(); path != "" {
		text += ", " + path
	}
	return text + ")"
}

const onlyMetadata = "changed in Metadata only"

// describe says what changes in a resource that stays. The word says what becomes of the resource.
func describe(c change.Resource, attributes []string, before, after assembly.Resource) (word string, details []string) {
	word = "changed"
	for _, p := range c.Properties {
		if c.Replaces(p) {
			if p.Requires == change.Always && p.Certain {
				word = "replaced"
			} else if word == "changed" {
				word = "may be replaced"
			}
		}
		if len(p.Causes) == 0 {
			details = append(details, leaves(p.Name, p.Old, p.New)...)
			continue
		}
		var ids []string
		for _, cause := range p.Causes {
			if id := "`" + cause.LogicalID + "`"; !slices.Contains(ids, id) {
				ids = append(ids, id)
			}
		}
		details = append(details, fmt.Sprintf("`%s` refers to what is replaced: %s", p.Name, strings.Join(ids, ", ")))
	}
	policy := func(name, before, after string) {
		details = append(details, fmt.Sprintf("`%s`: `%s` → `%s`", name, cmp.Or(before, "(none)"), cmp.Or(after, "(none)")))
	}
	for _, name := range attributes {
		switch name {
		case "DeletionPolicy":
			policy(name, before.DeletionPolicy, after.DeletionPolicy)
		case "UpdateReplacePolicy":
			policy(name, before.UpdateReplacePolicy, after.UpdateReplacePolicy)
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
		if change.Equal(a, b) {
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
		was, is := change.ShowBoth(a, b)
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

// listOutputs adds what becomes of a stack's outputs.
func listOutputs(p change.Pair, lists map[string][]item) {
	older, _ := p.Old["Outputs"].(map[string]any)
	newer, _ := p.New["Outputs"].(map[string]any)
	names := map[string]any{}
	maps.Copy(names, older)
	maps.Copy(names, newer)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		before, wasThere := older[name]
		after, isThere := newer[name]
		i := item{text: "output `" + name + "`"}
		switch {
		case !wasThere:
			lists["added"] = append(lists["added"], i)
		case !isThere:
			lists["removed"] = append(lists["removed"], i)
		case !change.Equal(before, after):
			i.details = leaves("Output", before, after)
			lists["changed"] = append(lists["changed"], i)
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
func tasksOf(p change.Pair, resources map[string]assembly.Resource, changes []change.Resource) []item {
	const serviceType = "AWS::ECS::Service"
	var items []item
	if p.Old == nil {
		for _, id := range slices.Sorted(maps.Keys(resources)) {
			if resources[id].Type == serviceType {
				items = append(items, item{text: fmt.Sprintf("`%s` is new: %s tasks start", id, change.Show(resources[id].Properties["DesiredCount"]))})
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
			replaced = replaced || c.Replaces(property)
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
		items = append(items, item{text: fmt.Sprintf("`%s`: %s", c.LogicalID, text)})
	}
	return items
}

// runsSchemaTask are the properties, beside the hash of the files, with which functions/schemainit runs its task.
var runsSchemaTask = []string{"DatabaseResourceId", "EngineVersion"}

// schemaOf says what becomes of the database's schema.
func schemaOf(p change.Pair, resources map[string]assembly.Resource, changes []change.Resource) []item {
	const schemaType, hash = "Custom::SchemaInit", "SchemaHash"
	var items []item
	if p.Old == nil {
		for _, r := range resources {
			if r.Type == schemaType {
				items = append(items, item{text: "the files of `sql/` are applied before the service starts"})
			}
		}
		return items
	}
	for _, c := range changes {
		if c.Type == change.DatabaseType && slices.ContainsFunc(c.Properties, c.Replaces) {
			items = append(items, item{text: fmt.Sprintf("`%s` is replaced, or may be: all files of `sql/` are applied to the new database", c.LogicalID)})
		}
		if c.Type != schemaType {
			continue
		}
		before, after := c.Old.Properties[hash], c.New.Properties[hash]
		switch {
		case c.Removed:
			items = append(items, item{text: "no longer kept by a deployment; the tables stay"})
		case !change.Equal(before, after):
			items = append(items, item{text: fmt.Sprintf("the files of `sql/` change (hash `%.12s` → `%.12s`): those that the database does not have yet are applied before the service is updated", change.Show(before), change.Show(after))})
		case slices.ContainsFunc(c.Properties, func(p change.Property) bool { return slices.Contains(runsSchemaTask, p.Name) }):
			items = append(items, item{text: "the schema task runs again, with the same files: it applies those that the database does not have"})
		case len(c.Properties) > 0:
			items = append(items, item{text: "the schema task changes, and does not run: the files and the database are the same"})
		}
	}
	return items
}
