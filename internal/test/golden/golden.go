// Package golden gives tests the golden templates of stacks/testdata, and assemblies of them, with changes.
package golden

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"flask-on-fargate/internal/assembly"
)

// Logical ids of the golden templates.
const (
	VPC         = "Network1C6012B5"
	Subnet      = "NetworkPrivateSubnet1SubnetC4D46731"
	Database    = "DatabaseInstanceAA8A5FDE"
	Credentials = "DatabaseCredentials24F58BE6"
	Attachment  = "DatabaseCredentialsAttachment15FFA803"
	Parameters  = "DatabaseParametersB8AC9B07"
	SubnetGroup = "DatabaseInstanceSubnetGroupDE121BB6"
	Bucket      = "Bucket83908E77"
	Repository  = "Repository22E53BBD"
	Secret      = "FlaskSecretDB73E49F"

	Service         = "WebServiceD04B5F3E"
	Task            = "TaskDefinitionB36D86D9"
	TaskPolicy      = "TaskDefinitionTaskRoleDefaultPolicy282E8624"
	Schema          = "SchemaInit766FB62E"
	SchemaTask      = "SchemaInitTask5FE6143A"
	BalancerGroup   = "WebLBSecurityGroupAD942A36"
	TaskRole        = "TaskDefinitionTaskRoleFD40A61D"
	ReleaseFunction = "ReleaseHandlerFunction1022F433"
)

// here is the folder of the package under test, and Root the project's, two folders above. Both are absolute, since some tests change
// the working directory.
var (
	here = func() string {
		dir, err := os.Getwd()
		if err != nil {
			panic(err)
		}
		return dir
	}()
	Root = filepath.Dir(filepath.Dir(here))
)

// Edit is a change of a template's resources.
type Edit func(t *testing.T, resources map[string]any)

// Edits lists the changes of one template.
func Edits(edits ...Edit) []Edit { return edits }

// Set gives a property or an attribute another value. Its path is such as Database.Properties.MultiAZ.
func Set(path string, value any) Edit {
	return func(t *testing.T, resources map[string]any) {
		t.Helper()
		parent, name := find(t, resources, path)
		parent[name] = value
	}
}

// Remove removes a resource, a property or an attribute.
func Remove(path string) Edit {
	return func(t *testing.T, resources map[string]any) {
		t.Helper()
		parent, name := find(t, resources, path)
		if _, there := parent[name]; !there {
			t.Fatalf("%s: there is nothing to remove", path)
		}
		delete(parent, name)
	}
}

// First edits the first item of a list.
func First(path string, change func(item map[string]any)) Edit { return Nth(path, 0, change) }

// Nth edits the item n of a list. The first one is 0.
func Nth(path string, n int, change func(item map[string]any)) Edit {
	return func(t *testing.T, resources map[string]any) {
		t.Helper()
		parent, name := find(t, resources, path)
		list, ok := parent[name].([]any)
		if !ok || len(list) <= n {
			t.Fatalf("%s is no list in the golden template, or too short", path)
		}
		change(list[n].(map[string]any))
	}
}

// find returns the mapping that holds the end of a path, and the end.
func find(t *testing.T, in map[string]any, path string) (map[string]any, string) {
	t.Helper()
	parts := strings.Split(path, ".")
	last := len(parts) - 1
	for _, part := range parts[:last] {
		next, ok := in[part].(map[string]any)
		if !ok {
			t.Fatalf("%s: the golden template has no %s", path, part)
		}
		in = next
	}
	return in, parts[last]
}

// LowerRetain are the changes that `retain: false` makes to the stacks of an environment.
var LowerRetain = map[string][]Edit{
	"data": {
		Set(Database+".DeletionPolicy", "Delete"), Set(Database+".UpdateReplacePolicy", "Delete"),
		Set(Database+".Properties.DeletionProtection", false), Set(Database+".Properties.DeleteAutomatedBackups", true),
		Set(Bucket+".DeletionPolicy", "Delete"), Set(Bucket+".UpdateReplacePolicy", "Delete"),
		Set(Repository+".DeletionPolicy", "Delete"), Set(Repository+".UpdateReplacePolicy", "Delete"),
		Set(Credentials+".DeletionPolicy", "Delete"), Set(Credentials+".UpdateReplacePolicy", "Delete"),
		Set(Secret+".DeletionPolicy", "Delete"), Set(Secret+".UpdateReplacePolicy", "Delete"),
	},
	"unprotected": {},
}

// Template returns the template of a shipped environment, with changes.
func Template(t *testing.T, env, stack string, edits ...Edit) assembly.Template {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(Root, "stacks", "testdata", env, stack+".template.json"))
	if err != nil {
		t.Fatal(err)
	}
	var template assembly.Template
	if err := json.Unmarshal(data, &template); err != nil {
		t.Fatal(err)
	}
	for _, edit := range edits {
		edit(t, template["Resources"].(map[string]any))
	}
	return template
}

// WriteAssembly writes an assembly of an environment to dir: the golden templates with changes by stack. With a key "unprotected" no
// stack has termination protection.
func WriteAssembly(t *testing.T, dir, env string, edits map[string][]Edit) {
	t.Helper()
	artifacts := map[string]any{}
	for _, stack := range []string{"network", "data", "service", "pipeline"} {
		file := stack + ".template.json"
		data, err := json.Marshal(Template(t, env, stack, edits[stack]...))
		if err != nil {
			t.Fatal(err)
		}
		Put(t, filepath.Join(dir, file), string(data))
		artifacts[stack] = map[string]any{
			"type": "aws:cloudformation:stack", "environment": "aws://unknown-account/us-east-1", "displayName": env + "/" + stack,
			"properties": map[string]any{
				"templateFile": file, "stackName": "flask-app-" + env + "-" + stack,
				"terminationProtection": env == "prod" && (stack == "network" || stack == "data") && edits["unprotected"] == nil,
			},
		}
	}
	data, err := json.Marshal(map[string]any{"artifacts": artifacts})
	if err != nil {
		t.Fatal(err)
	}
	Put(t, filepath.Join(dir, "manifest.json"), string(data))
}

// Put writes a file, and makes its folders.
func Put(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

var update = flag.Bool("update", false, "rewrite the golden texts of guard and review")

// CheckText compares a text with a file below testdata of the package under test.
func CheckText(t *testing.T, file, got string) {
	t.Helper()
	path := filepath.Join(here, "testdata", file)
	if *update {
		Put(t, path, got)
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got; -update rewrites it):\n%s", file, diff)
	}
}
