package stacks_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"flask-on-fargate/config"
)

// iamPrefixes are the services whose IAM prefix is not the name of the SDK's package.
var iamPrefixes = map[string]string{"cloudwatchlogs": "logs"}

// sdkCalls returns the actions that the Go files in folders ask AWS for: each ecs.RunTaskInput{…} is ecs:RunTask.
func sdkCalls(t *testing.T, folders ...string) []string {
	t.Helper()
	actions := map[string]bool{}
	for _, folder := range folders {
		files, err := filepath.Glob(filepath.Join(folder, "*.go"))
		if err != nil || len(files) == 0 {
			t.Fatalf("no Go files in %s: %v", folder, err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			services := map[string]string{} // the names of the SDK's packages in this file
			for _, spec := range parsed.Imports {
				importPath, _ := strconv.Unquote(spec.Path.Value)
				if base, service := path.Split(importPath); base == "github.com/aws/aws-sdk-go-v2/service/" {
					prefix := service
					if iamPrefixes[service] != "" {
						prefix = iamPrefixes[service]
					}
					services[service] = prefix
				}
			}
			ast.Inspect(parsed, func(node ast.Node) bool {
				literal, _ := node.(*ast.CompositeLit)
				if literal == nil {
					return true
				}
				selector, _ := literal.Type.(*ast.SelectorExpr)
				if selector == nil {
					return true
				}
				if pkg, ok := selector.X.(*ast.Ident); ok && services[pkg.Name] != "" {
					if action, ok := strings.CutSuffix(selector.Sel.Name, "Input"); ok {
						actions[services[pkg.Name]+":"+action] = true
					}
				}
				return true
			})
		}
	}
	return slices.Sorted(maps.Keys(actions))
}

// TestEveryCallOfAHandlerIsAllowed reads the handlers' sources: what they ask AWS for, their roles allow, and nothing but that.
func TestEveryCallOfAHandlerIsAllowed(t *testing.T) {
	logs := []string{"logs:CreateLogStream", "logs:PutLogEvents"} // by Lambda itself
	registry := []string{                                         // by the registry's protocol
		"ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:CompleteLayerUpload", "ecr:GetDownloadUrlForLayer", "ecr:InitiateLayerUpload", "ecr:PutImage", "ecr:UploadLayerPart",
	}
	for name, program := range map[string]struct {
		folders []string
		roles   []string
		other   []string // actions that no SDK call in the folders shows
		theirs  []string // calls with other credentials than the role's
	}{
		"seedimage":  {[]string{"functions/seedimage", "internal/registry"}, []string{"Data/SeedImage/Handler/Role"}, slices.Concat(logs, registry), nil},
		"fetch":      {[]string{"functions/seedimage/seed"}, []string{"Service/SchemaInit/Task/TaskRole"}, nil, nil},
		"schemainit": {[]string{"functions/schemainit"}, []string{"Service/SchemaInit/OnEvent/Role", "Service/SchemaInit/IsComplete/Role"}, slices.Concat(logs, []string{"iam:PassRole"}), nil},
		"release":    {[]string{"functions/release"}, []string{"Pipeline/Release/Handler/Role"}, logs, []string{"s3:GetObject", "sns:Publish"}}, // the job's; with a topic only
	} {
		t.Run(name, func(t *testing.T) {
			forEachShipped(t, func(t *testing.T, env environment, _ config.Environment) {
				allowed := map[string]bool{}
				for _, role := range program.roles {
					for _, permission := range permissions(env, env.byPath(t, role+"/Resource").ID) {
						action, _, _ := strings.Cut(permission, " on ")
						allowed[action] = true
					}
				}
				called := sdkCalls(t, program.folders...)
				if len(called) == 0 {
					t.Fatal("no call was found in the sources")
				}
				for _, action := range called {
					if !allowed[action] && !slices.Contains(program.theirs, action) {
						t.Errorf("the sources call %s, which no role of %v allows", action, program.roles)
					}
				}
				for _, action := range slices.Sorted(maps.Keys(allowed)) {
					if !slices.Contains(called, action) && !slices.Contains(program.other, action) {
						t.Errorf("%v allow %s, which no source calls", program.roles, action)
					}
				}
			})
		})
	}
}
