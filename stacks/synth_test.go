package stacks_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/cxapi"
	"github.com/aws/constructs-go/constructs/v10"
	"github.com/aws/jsii-runtime-go"

	"flask-on-fargate/config"
	"flask-on-fargate/internal/templatecheck"
	"flask-on-fargate/stacks"
)

// TestMain runs the tests in the folder of cdk.json, like the application itself.
func TestMain(m *testing.M) {
	if err := os.Chdir(".."); err != nil {
		panic(err)
	}
	code := m.Run()
	jsii.Close() // or its files stay in the temporary directory
	os.Exit(code)
}

// shipped are the environments whose files this project ships.
var shipped = []string{"dev", "prod"}

// stackNames are the suffixes of the stacks' names, in the order in which they are deployed.
var stackNames = templatecheck.Stacks

// load reads config/<name>.yaml.
func load(t *testing.T, name string) config.Environment {
	t.Helper()
	env, err := config.Load("config", name)
	if err != nil {
		t.Fatal(err)
	}
	return env
}

// minimal is an environment of which only the four required keys are set, changed by edit.
func minimal(edit func(*config.Environment)) config.Environment {
	env := config.Default()
	env.Name, env.Project, env.Region = "test", "shop", "eu-west-1"
	env.Database.Name, env.Database.User = "shop", "admin"
	if edit != nil {
		edit(&env)
	}
	return env
}

// assemble returns the stacks of the assembly that env makes.
func assemble(t *testing.T, env config.Environment) []cxapi.CloudFormationStackArtifact {
	t.Helper()
	return *define(newApp(t, inPlace(t)), env).Synth(nil).StacksRecursively()
}

func define(app awscdk.App, env config.Environment) awscdk.App {
	stacks.NewEnvironment(constructs.NewConstruct(app, jsii.String(env.Name)), env)
	return app
}

func newApp(t *testing.T, context map[string]any) awscdk.App {
	t.Helper()
	return awscdk.NewApp(&awscdk.AppProps{
		Outdir:             jsii.String(t.TempDir()),
		Context:            &context,
		StackTraces:        jsii.Bool(false),
		AnalyticsReporting: jsii.Bool(false),
	})
}

// synthesize returns the bytes of each stack's template, by the suffix of the stack's name.
func synthesize(t *testing.T, env config.Environment) map[string][]byte {
	t.Helper()
	return bySuffix(env, templates(t, define(newApp(t, inPlace(t)), env)))
}

// stage is synthesize with copies of the assets, as the CLI does it.
func stage(t *testing.T, env config.Environment) map[string][]byte {
	t.Helper()
	return bySuffix(env, templates(t, define(newApp(t, cliContext(t)), env)))
}

func bySuffix(env config.Environment, bodies map[string][]byte) map[string][]byte {
	suffixed := map[string][]byte{}
	for name, body := range bodies {
		suffixed[strings.TrimPrefix(name, env.FullName()+"-")] = body
	}
	return suffixed
}

// templates returns the bytes of all templates of an application, by the stack's name.
func templates(t *testing.T, app awscdk.App) map[string][]byte {
	t.Helper()
	bodies := map[string][]byte{}
	for _, artifact := range *app.Synth(nil).StacksRecursively() {
		body, err := os.ReadFile(*artifact.TemplateFullPath())
		if err != nil {
			t.Fatal(err)
		}
		bodies[*artifact.StackName()] = body
	}
	return bodies
}

// inPlace is [cliContext] but for the assets, which stay where they are instead of being copied into each assembly, some 50 MB. The
// templates lack nothing but the metadata that says where the copies are.
func inPlace(t *testing.T) map[string]any {
	t.Helper()
	context := cliContext(t)
	context["aws:cdk:disable-asset-staging"] = true
	context["aws:cdk:enable-asset-metadata"] = false
	return context
}

// cliContext is the context with which the CDK CLI runs the application: what cdk.json holds, and what the CLI adds.
func cliContext(t *testing.T) map[string]any {
	t.Helper()
	body, err := os.ReadFile("cdk.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Context map[string]any `json:"context"`
	}
	if err := json.Unmarshal(body, &file); err != nil {
		t.Fatalf("cdk.json: %v", err)
	}
	file.Context["aws:cdk:enable-path-metadata"] = true
	file.Context["aws:cdk:enable-asset-metadata"] = true
	file.Context["aws:cdk:disable-creation-stack-traces"] = true
	return file.Context
}

// What these tests read templates with.
type (
	environment = templatecheck.Templates
	resource    = templatecheck.Resource
)

var (
	at          = templatecheck.At
	list        = templatecheck.List
	permissions = templatecheck.Permissions
	readable    = templatecheck.Readable
	references  = templatecheck.References
	text        = templatecheck.Text
)

var decoded = map[string]environment{}

// decode returns the environment of config/<name>.yaml, synthesized once for all tests.
func decode(t *testing.T, name string) environment {
	t.Helper()
	if _, ok := decoded[name]; !ok {
		decoded[name] = decodeTemplates(t, synthesize(t, load(t, name)))
	}
	return decoded[name]
}

func decodeTemplates(t *testing.T, bodies map[string][]byte) environment {
	t.Helper()
	return decodeStacks(t, bodies, stackNames...)
}

func decodeStacks(t *testing.T, bodies map[string][]byte, names ...string) environment {
	t.Helper()
	env, err := templatecheck.Decode(bodies, names...)
	if err != nil {
		t.Fatal(err)
	}
	return env
}

// forEachShipped runs a test on the templates of each shipped environment.
func forEachShipped(t *testing.T, test func(t *testing.T, env environment, cfg config.Environment)) {
	for _, name := range shipped {
		t.Run(name, func(t *testing.T) { test(t, decode(t, name), load(t, name)) })
	}
}

// want fails unless the value found at a path of a resource's properties has the wanted JSON.
func want(t *testing.T, r resource, wanted any, path ...any) {
	t.Helper()
	if got := text(at(r.Properties, path...)); got != text(wanted) {
		t.Errorf("%s: %v is %s, want %s", r.ID, path, got, text(wanted))
	}
}

func golden(env, stack string) string {
	return filepath.Join("stacks", "testdata", env, stack+".template.json")
}
