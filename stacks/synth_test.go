package stacks_test

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/cxapi"
	"github.com/aws/constructs-go/constructs/v10"
	"github.com/aws/jsii-runtime-go"

	"flask-on-fargate/config"
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
var stackNames = []string{"network", "data", "service", "pipeline"}

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

// resource is a resource of any of an environment's stacks. Its references name the stack too: data.Bucket83908E77.
type resource struct {
	ID                  string
	Type                string
	Properties          map[string]any
	DependsOn           []string
	DeletionPolicy      string
	UpdateReplacePolicy string
	Metadata            map[string]any
}

// environment is the decoded templates of one environment, with the references between stacks resolved.
type environment struct {
	Resources map[string]resource
	Outputs   map[string]any // values, by stack and name: data.RdsEndpoint
	Sections  map[string]any // all of the templates but the resources, as it is, by stack and name: data.Parameters
}

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
	type output struct {
		Value  any
		Export struct{ Name string }
	}
	exports := map[string]any{}
	env := environment{Resources: map[string]resource{}, Outputs: map[string]any{}, Sections: map[string]any{}}
	for _, stack := range names {
		var file struct {
			Resources map[string]resource
			Outputs   map[string]output
		}
		if err := json.Unmarshal(bodies[stack], &file); err != nil {
			t.Fatalf("%s: %v", stack, err)
		}
		var sections map[string]any
		if err := json.Unmarshal(bodies[stack], &sections); err != nil {
			t.Fatalf("%s: %v", stack, err)
		}
		delete(sections, "Resources")
		for name, section := range sections {
			env.Sections[stack+"."+name] = section
		}
		for id, r := range file.Resources {
			r.ID = stack + "." + id
			if r.Properties != nil {
				r.Properties = qualify(r.Properties, stack, exports).(map[string]any)
			}
			for i, dependency := range r.DependsOn {
				r.DependsOn[i] = stack + "." + dependency
			}
			env.Resources[r.ID] = r
		}
		for name, o := range file.Outputs {
			value := qualify(o.Value, stack, exports)
			if o.Export.Name != "" {
				exports[o.Export.Name] = value
			} else {
				env.Outputs[stack+"."+name] = value
			}
		}
	}
	return env
}

// qualify prefixes references with the name of the stack and replaces imports by what was exported.
func qualify(node any, stack string, exports map[string]any) any {
	switch node := node.(type) {
	case []any:
		for i := range node {
			node[i] = qualify(node[i], stack, exports)
		}
	case map[string]any:
		if name, ok := node["Fn::ImportValue"].(string); ok {
			return exports[name]
		}
		if id, ok := node["Ref"].(string); ok && !strings.HasPrefix(id, "AWS::") {
			return map[string]any{"Ref": stack + "." + id}
		}
		if path, ok := node["Fn::GetAtt"].([]any); ok {
			return map[string]any{"Fn::GetAtt": []any{stack + "." + path[0].(string), path[1]}}
		}
		if template, ok := node["Fn::Sub"].(string); ok {
			node["Fn::Sub"] = substitution.ReplaceAllString(template, "$${"+stack+".$1}")
		}
		for key := range node {
			node[key] = qualify(node[key], stack, exports)
		}
	}
	return node
}

// qualified is such a reference after [qualify].
var qualified = regexp.MustCompile(`\$\{([a-z]+\.[A-Za-z0-9]+)\}`)

// substitution is a reference to a resource, or to its attribute, in the template of Fn::Sub.
var substitution = regexp.MustCompile(`\$\{([A-Za-z0-9]+)(?:\.[A-Za-z0-9.]+)?\}`)

// all returns the resources of a type, sorted by id.
func (e environment) all(resourceType string) []resource {
	var found []resource
	for _, id := range slices.Sorted(maps.Keys(e.Resources)) {
		if e.Resources[id].Type == resourceType {
			found = append(found, e.Resources[id])
		}
	}
	return found
}

// one returns the only resource of a type.
func (e environment) one(t *testing.T, resourceType string) resource {
	t.Helper()
	found := e.all(resourceType)
	if len(found) != 1 {
		t.Fatalf("%d resources of type %s, want exactly one", len(found), resourceType)
	}
	return found[0]
}

// byPath returns the only resource that the construct at path, or at a path that ends in it, defines.
func (e environment) byPath(t *testing.T, path string) resource {
	t.Helper()
	var found []resource
	for _, r := range e.Resources {
		if full, _ := r.Metadata["aws:cdk:path"].(string); full == path || strings.HasSuffix(full, "/"+path) {
			found = append(found, r)
		}
	}
	if len(found) != 1 {
		t.Fatalf("%d resources at %s, want one", len(found), path)
	}
	return found[0]
}

// at follows keys and indexes through decoded JSON, as in at(properties, "A", 0, "B"), and is nil where there is nothing.
func at(node any, path ...any) any {
	for _, step := range path {
		switch step := step.(type) {
		case string:
			object, _ := node.(map[string]any)
			node = object[step]
		case int:
			list, _ := node.([]any)
			if step >= len(list) {
				return nil
			}
			node = list[step]
		}
	}
	return node
}

// text is the JSON of a value: for comparison and for messages.
func text(value any) string {
	body, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	return string(body)
}

// references returns the ids of the resources that node refers to.
func references(node any) []string {
	var ids []string
	switch node := node.(type) {
	case []any:
		for _, element := range node {
			ids = append(ids, references(element)...)
		}
	case map[string]any:
		if id, ok := node["Ref"].(string); ok && !strings.HasPrefix(id, "AWS::") {
			return []string{id}
		}
		if path, ok := node["Fn::GetAtt"].([]any); ok {
			return []string{path[0].(string)}
		}
		if template, ok := node["Fn::Sub"].(string); ok {
			for _, id := range qualified.FindAllStringSubmatch(template, -1) {
				ids = append(ids, id[1])
			}
		}
		for _, key := range slices.Sorted(maps.Keys(node)) {
			ids = append(ids, references(node[key])...)
		}
	}
	return ids
}

func golden(env, stack string) string {
	return filepath.Join("stacks", "testdata", env, stack+".template.json")
}
