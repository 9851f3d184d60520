package stacks_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awss3"
	"github.com/aws/constructs-go/constructs/v10"
	"github.com/aws/jsii-runtime-go"
	"github.com/cdklabs/cdk-nag-go/cdknag/v2"
	"github.com/google/go-cmp/cmp"

	"flask-on-fargate/config"
	"flask-on-fargate/internal/nag"
	"flask-on-fargate/stacks"
)

// cdk-nag's rules AwsSolutions on every stack. What they find is mended, or accepted beside its construct with a reason
// (package internal/nag), one by one: a reason that nothing needs any more fails here too.

func TestAwsSolutionsFindsNothingThatIsNotAccepted(t *testing.T) {
	forEachReviewed(t, func(t *testing.T, r review) {
		for _, finding := range r.open {
			t.Errorf("%s\nMend it, or accept it beside its construct with nag.Accept, for a statement of a policy with Because.", finding)
		}
	})
}

func TestEveryAcceptedFindingIsFound(t *testing.T) {
	forEachReviewed(t, func(t *testing.T, r review) {
		if len(r.found) < 5 {
			t.Errorf("only %d findings were accepted: do the rules run?", len(r.found))
		}
		for _, fault := range r.unneeded() {
			t.Error(fault)
		}
		t.Logf("figure: %d findings of cdk-nag in %s, each accepted with a reason", len(r.found), t.Name())
	})
}

// Without the aspect of the stage nothing in it would be looked at.
func TestTheFindingsAreTheSameDeployedDirectlyAndDelivered(t *testing.T) {
	for _, env := range shipped {
		if diff := cmp.Diff(reviewOf(t, env).found, reviewOf(t, env+" delivered").found); diff != "" {
			t.Errorf("%s: the findings differ (-deployed directly +delivered)\n%s", env, diff)
		}
	}
}

func TestAFindingThatIsNotAcceptedIsNoticed(t *testing.T) {
	r := reviewBucket(t, nag.Finding{Rule: "AwsSolutions-S1", Reason: "this one is accepted"})
	if len(r.open) != 1 || !strings.HasPrefix(r.open[0], "/stage/Stack/Bare/Resource: AwsSolutions-S10: ") {
		t.Errorf("a bucket that answers without TLS: %q", r.open)
	}
	if unneeded := r.unneeded(); len(unneeded) > 0 {
		t.Errorf("the accepted finding is taken for unneeded: %q", unneeded)
	}
}

func TestAnAcceptedFindingThatIsNotFoundIsNoticed(t *testing.T) {
	for name, stale := range map[string]nag.Finding{
		"another rule": {Rule: "AwsSolutions-S2", Reason: "the bucket is closed to the public"},
		"a part":       {Rule: "AwsSolutions-S10", Part: "Resource::*", Reason: "the rule knows no parts"},
		"twice":        {Rule: "AwsSolutions-S1", Reason: "the first reason is enough"},
	} {
		t.Run(name, func(t *testing.T) {
			r := reviewBucket(t, nag.Finding{Rule: "AwsSolutions-S1", Reason: "this one is accepted"}, stale)
			if unneeded := r.unneeded(); len(unneeded) != 1 || !strings.HasPrefix(unneeded[0], "/stage/Stack/Bare/Resource: ") || !strings.Contains(unneeded[0], stale.Rule) {
				t.Errorf("noticed: %q", unneeded)
			}
		})
	}
}

// Accepting a rule for a whole policy would hide what is added to it later.
func TestAcceptingAllWildcardsOfAPolicyIsNoticed(t *testing.T) {
	r := review{
		found:    []string{"/role: AwsSolutions-IAM5[Resource::*]", "/role: AwsSolutions-IAM5[Action::s3:*]"},
		accepted: []string{"/role: AwsSolutions-IAM5"},
	}
	if unneeded := r.unneeded(); len(unneeded) != 1 {
		t.Errorf("noticed: %q", unneeded)
	}
}

// reviewBucket reviews a bucket without any protection, in a stage, with accepted findings.
func reviewBucket(t *testing.T, accepted ...nag.Finding) review {
	t.Helper()
	return newReview(t, func(app awscdk.App) {
		stack := awscdk.NewStack(awscdk.NewStage(app, jsii.String("stage"), nil), jsii.String("Stack"), nil)
		nag.Accept(awss3.NewBucket(stack, jsii.String("Bare"), nil), accepted...)
	})
}

// reviewed are the applications whose stacks are reviewed: each environment of config/, one with the required keys only, the
// shipped ones in the stages of the delivery, and its own stacks, with all environments in one account and region and with one
// in another. The stages are reviewed alone, since CDK Pipelines synthesizes them before an aspect could be added to them.
func reviewed(t *testing.T) map[string]func(awscdk.App) {
	t.Helper()
	names, err := config.Names("config")
	if err != nil {
		t.Fatal(err)
	}
	direct := func(env config.Environment) func(awscdk.App) {
		return func(app awscdk.App) {
			stacks.NewEnvironment(constructs.NewConstruct(app, jsii.String(env.Name)), env)
		}
	}
	all := map[string]func(awscdk.App){
		"four keys":                   direct(minimal(nil)),
		"delivery":                    func(app awscdk.App) { stacks.NewDelivery(app, shippedDelivery(t, nil), pinned(t)) },
		"delivery to another account": func(app awscdk.App) { stacks.NewDelivery(app, crossing(t), pinned(t)) },
	}
	for _, name := range shipped {
		all[name+" delivered"] = func(app awscdk.App) { stacks.NewEnvironmentStage(app, load(t, name)) }
	}
	for _, name := range names {
		all[name] = direct(load(t, name))
	}
	return all
}

var reviews = map[string]review{}

// reviewOf reviews an application of [reviewed] once for all tests.
func reviewOf(t *testing.T, name string) review {
	t.Helper()
	if _, ok := reviews[name]; !ok {
		reviews[name] = newReview(t, reviewed(t)[name])
	}
	return reviews[name]
}

func forEachReviewed(t *testing.T, test func(t *testing.T, r review)) {
	for _, name := range slices.Sorted(maps.Keys(reviewed(t))) {
		t.Run(name, func(t *testing.T) { test(t, reviewOf(t, name)) })
	}
}

// nagFinding is what a rule finds in the resource at a path; part is what it names in brackets.
func nagFinding(path, rule, part string) string {
	if part == "" {
		return path + ": " + rule
	}
	return path + ": " + rule + "[" + part + "]"
}

// review is what cdk-nag says of an application.
type review struct {
	open     []string // findings that are not accepted, and rules that cannot tell
	found    []string // that are accepted
	accepted []string // what the templates accept
}

// unneeded returns a sentence for each accepted finding that is none, is accepted twice, or stands for several.
func (r review) unneeded() []string {
	var faults []string
	left := slices.Clone(r.found)
	for _, accepted := range r.accepted {
		i := slices.Index(left, accepted)
		if i < 0 {
			faults = append(faults, fmt.Sprintf("%s is accepted, but cdk-nag finds no such thing there: remove the reason, or name exactly what it is for", accepted))
			continue
		}
		left = slices.Delete(left, i, i+1)
	}
	return faults
}

func newReview(t *testing.T, define func(awscdk.App)) review {
	t.Helper()
	context := inPlace(t)
	context["@aws-cdk/core:annotationsInValidationReport"] = false // with it the first finding is a panic
	out := t.TempDir()
	app := awscdk.NewApp(&awscdk.AppProps{
		Outdir: jsii.String(out), Context: &context, StackTraces: jsii.Bool(false), AnalyticsReporting: jsii.Bool(false),
	})
	define(app)
	scopes := []constructs.IConstruct{app}
	for _, child := range *app.Node().Children() {
		if *awscdk.Stage_IsStage(child) { // aspects do not cross into it
			scopes = append(scopes, child)
		}
	}
	for _, scope := range scopes {
		awscdk.Aspects_Of(scope).Add(cdknag.NewAwsSolutionsChecks(&cdknag.NagPackProps{Reports: jsii.Bool(false), LogIgnores: jsii.Bool(true)}), nil)
	}
	app.Synth(nil)

	// A stage that stands beside a pipeline was synthesized without the aspect.
	folders := []string{"."}
	if app.Node().TryFindChild(jsii.String("Delivery")) == nil {
		folders = append(folders, "assembly-*")
	}
	var r review
	for _, folder := range folders {
		for _, file := range matches(t, filepath.Join(out, folder, "*.metadata.json")) {
			r.readAnnotations(t, file)
		}
		for _, file := range matches(t, filepath.Join(out, folder, "*.template.json")) {
			r.readAccepted(t, file)
		}
	}
	return r
}

// said is the form of an annotation of cdk-nag: a rule or what it says of one, its part, and a text.
var said = regexp.MustCompile(`^(AwsSolutions-\w+|CdkNag\w+)(?:\[(.*)\])?: (\S+)`)

func (r *review) readAnnotations(t *testing.T, file string) {
	t.Helper()
	var entries map[string][]struct {
		Type string
		Data any
	}
	readJSON(t, file, &entries)
	for _, at := range slices.Sorted(maps.Keys(entries)) {
		for _, entry := range entries[at] {
			message, _ := entry.Data.(string)
			words := said.FindStringSubmatch(message)
			switch {
			case words == nil:
			case words[1] == "CdkNagSuppression":
				r.found = append(r.found, nagFinding(at, words[3], words[2]))
			default:
				r.open = append(r.open, at+": "+strings.TrimSpace(message))
			}
		}
	}
}

func (r *review) readAccepted(t *testing.T, file string) {
	t.Helper()
	type metadata struct {
		Path string `json:"aws:cdk:path"`
		Nag  struct {
			Rules []struct {
				ID        string   `json:"id"`
				AppliesTo []string `json:"applies_to"`
			} `json:"rules_to_suppress"`
		} `json:"cdk_nag"`
	}
	var template struct {
		Metadata  metadata
		Resources map[string]struct{ Metadata metadata }
	}
	readJSON(t, file, &template)
	if len(template.Metadata.Nag.Rules) > 0 {
		t.Errorf("%s accepts findings for the whole stack: accept each beside its construct", filepath.Base(file))
	}
	for _, id := range slices.Sorted(maps.Keys(template.Resources)) {
		m := template.Resources[id].Metadata
		for _, rule := range m.Nag.Rules {
			r.accepted = append(r.accepted, nagFinding("/"+m.Path, rule.ID, strings.Join(rule.AppliesTo, ", ")))
		}
	}
}

func readJSON(t *testing.T, file string, into any) {
	t.Helper()
	body, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(body, into); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
}

func matches(t *testing.T, pattern string) []string {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	return files
}
