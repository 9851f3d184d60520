package stacks_test

import (
	"go/ast"
	"go/types"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/go/packages"
)

// iamPrefixes are the services whose IAM prefix is not the name of the SDK's package.
var iamPrefixes = map[string]string{"cloudwatchlogs": "logs"}

// iamAction returns the IAM action of what takes an input of the SDK, whatever the file calls the package: a method of a client or of
// an interface, a paginator, a waiter. With *ecs.RunTaskInput it is ecs:RunTask.
func iamAction(used types.Object) string {
	signature, ok := used.Type().(*types.Signature)
	if !ok {
		return ""
	}
	for parameter := range signature.Params().Variables() {
		pointer, ok := parameter.Type().(*types.Pointer)
		if !ok {
			continue
		}
		input, ok := pointer.Elem().(*types.Named)
		if !ok || input.Obj().Pkg() == nil {
			continue
		}
		service, ofSDK := strings.CutPrefix(input.Obj().Pkg().Path(), "github.com/aws/aws-sdk-go-v2/service/")
		operation, isInput := strings.CutSuffix(input.Obj().Name(), "Input")
		if !ofSDK || !isInput {
			continue
		}
		if iamPrefixes[service] != "" {
			service = iamPrefixes[service]
		}
		return service + ":" + operation
	}
	return ""
}

// sdkCalls returns the actions that the functions of a package ask AWS for: all of them, or the
// method root, as in starter.onEvent, and what it uses.
func sdkCalls(t *testing.T, pkg *packages.Package, root string) []string {
	t.Helper()
	uses := map[string]map[types.Object]bool{} // by the function that uses them; "" for what is outside of functions
	for _, file := range pkg.Syntax {
		for _, declaration := range file.Decls {
			name := ""
			if function, ok := declaration.(*ast.FuncDecl); ok {
				name = pkg.TypesInfo.Defs[function.Name].(*types.Func).FullName()
			}
			if uses[name] == nil {
				uses[name] = map[types.Object]bool{}
			}
			ast.Inspect(declaration, func(node ast.Node) bool {
				if identifier, ok := node.(*ast.Ident); ok && pkg.TypesInfo.Uses[identifier] != nil {
					uses[name][pkg.TypesInfo.Uses[identifier]] = true
				}
				return true
			})
		}
	}
	reached := slices.Collect(maps.Keys(uses))
	if receiver, method, ok := strings.Cut(root, "."); ok {
		reached = []string{"(" + pkg.PkgPath + "." + receiver + ")." + method, ""}
		if uses[reached[0]] == nil {
			t.Fatalf("%s has no method %s", pkg.PkgPath, root)
		}
	}
	actions := map[string]bool{}
	for i := 0; i < len(reached); i++ {
		for used := range uses[reached[i]] {
			if a := iamAction(used); a != "" {
				actions[a] = true
			}
			if function, ok := used.(*types.Func); ok && uses[function.Origin().FullName()] != nil && !slices.Contains(reached, function.Origin().FullName()) {
				reached = append(reached, function.Origin().FullName())
			}
		}
	}
	return slices.Sorted(maps.Keys(actions))
}

// loadSources returns packages of this module by their folder.
func loadSources(t *testing.T, folders ...string) map[string]*packages.Package {
	t.Helper()
	loaded, err := packages.Load(&packages.Config{Mode: packages.NeedName | packages.NeedSyntax | packages.NeedTypes | packages.NeedTypesInfo | packages.NeedImports}, folders...)
	if err != nil || packages.PrintErrors(loaded) > 0 {
		t.Fatalf("the sources cannot be read: %v", err)
	}
	sources := map[string]*packages.Package{}
	for _, pkg := range loaded {
		sources[strings.TrimPrefix(pkg.PkgPath, "flask-on-fargate/")] = pkg
	}
	return sources
}

// TestEveryCallOfAHandlerIsAllowed reads the handlers' sources: what each asks AWS for, its own role allows, and nothing but that.
// TestRolesAllowExactly says on what.
func TestEveryCallOfAHandlerIsAllowed(t *testing.T) {
	sources := loadSources(t, "./functions/seedimage", "./internal/registry", "./functions/seedimage/seed", "./functions/schemainit", "./functions/release", "./internal/rollout")
	logs := []string{"logs:CreateLogStream", "logs:PutLogEvents"} // by Lambda itself
	registry := []string{                                         // by the registry's protocol
		"ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:CompleteLayerUpload", "ecr:GetDownloadUrlForLayer", "ecr:InitiateLayerUpload", "ecr:PutImage", "ecr:UploadLayerPart",
	}
	for role, program := range map[string]struct {
		root    string // of the first package
		folders []string
		other   []string // actions that no call in the folders shows
		theirs  []string // calls with other credentials than the role's
	}{
		"Data/SeedImage/Handler/Role":        {folders: []string{"functions/seedimage", "internal/registry"}, other: slices.Concat(logs, registry)},
		"Service/SchemaInit/Task/TaskRole":   {folders: []string{"functions/seedimage/seed"}},
		"Service/SchemaInit/OnEvent/Role":    {root: "starter.onEvent", folders: []string{"functions/schemainit"}, other: append(logs, "iam:PassRole")},
		"Service/SchemaInit/IsComplete/Role": {root: "waiter.isComplete", folders: []string{"functions/schemainit"}, other: logs},
		"Pipeline/Release/Handler/Role":      {folders: []string{"functions/release", "internal/rollout"}, other: logs, theirs: []string{"s3:GetObject"}}, // the job's
	} {
		t.Run(role, func(t *testing.T) {
			var called []string
			for _, folder := range program.folders {
				called = append(called, sdkCalls(t, sources[folder], program.root)...)
			}
			if len(called) == 0 {
				t.Fatal("no call was found in the sources")
			}
			allowed := map[string]bool{}
			env := withTopic(t)
			for _, permission := range permissions(env, env.ByPath(t, role+"/Resource").ID) {
				action, _, _ := strings.Cut(permission, " on ")
				allowed[action] = true
			}
			for _, action := range called {
				if !allowed[action] && !slices.Contains(program.theirs, action) {
					t.Errorf("%v call %s, which the role does not allow", program.folders, action)
				}
			}
			for _, action := range program.other {
				if !allowed[action] {
					t.Errorf("the role does not allow %s, which Lambda, the registry's protocol or a call needs", action)
				}
			}
			for _, action := range program.theirs {
				if !slices.Contains(called, action) {
					t.Errorf("%s is excepted, but %v do not call it", action, program.folders)
				}
			}
			for _, action := range slices.Sorted(maps.Keys(allowed)) {
				if !slices.Contains(called, action) && !slices.Contains(program.other, action) {
					t.Errorf("the role allows %s, which %v do not call", action, program.folders)
				}
			}
		})
	}
}

// withTopic is dev with a notification topic, to which the handlers publish.
func withTopic(t *testing.T) environment {
	t.Helper()
	if _, ok := decoded["with topic"]; !ok {
		cfg := load(t, "dev")
		cfg.NotificationTopicArn = "arn:aws:sns:" + cfg.Region + ":123456789012:alerts"
		decoded["with topic"] = decodeTemplates(t, synthesize(t, cfg))
	}
	return decoded["with topic"]
}

func TestACallIsFoundHoweverItIsWritten(t *testing.T) {
	loaded := loadSources(t, "./stacks/testdata/calls")
	for root, wanted := range map[string][]string{
		"first.handle":  {"ecr:DeleteRepository", "ecr:DescribeRegistry", "ecr:ListImages"},
		"second.handle": {"ecs:StopTask"},
	} {
		if diff := cmp.Diff(wanted, sdkCalls(t, loaded["stacks/testdata/calls"], root)); diff != "" {
			t.Errorf("%s (-want +got)\n%s", root, diff)
		}
	}
}
