// Package imports holds the test of which package may import which.
package imports

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "flask-on-fargate"

// cdk are the modules of the CDK in Go: importing any package of theirs costs minutes of compiling and starts Node.js.
var cdk = []string{"github.com/aws/aws-cdk-go", "github.com/aws/constructs-go", "github.com/aws/jsii-runtime-go"}

// cdkNag only tests import: loading it costs every synth time.
const cdkNag = "github.com/cdklabs/cdk-nag-go"

// layers are the rooms of the tool and of the functions below internal/. None of them may depend on a room of a later line.
var layers = [][]string{
	{"clock", "folders", "imagetag", "plaintext", "platform", "registry", "rollout", "stop", "terminal"},
	{"assembly"},
	{"change", "synthesis"},
	{"account", "guard"},
	{"release", "review", "smoke"},
}

// forFunctions are the rooms that functions use. The others are the tool's.
var forFunctions = []string{"clock", "imagetag", "plaintext", "platform", "registry", "rollout"}

// forTests are the packages that only tests import.
var forTests = []string{module + "/internal/test", module + "/internal/templatecheck"}

// forbidden maps each part of this module to the packages and modules that nothing below it may depend on, directly
// or through others. What is below node_modules is not ours.
var forbidden = func() map[string][]string {
	library := []string{module + "/stacks", module + "/constructs"}
	parts := map[string][]string{
		module + "/cmd":        slices.Concat(library, cdk),
		module + "/config":     slices.Concat(library, cdk),
		module + "/functions":  slices.Concat(library, cdk),
		module + "/constructs": {module + "/stacks"},
		module + "/local":      slices.Concat(library, cdk),
		module + "/internal":   append(library, module+"/cmd", module+"/functions"),
		module:                 slices.Concat([]string{cdkNag}, forTests), // only tests import these

		module + "/internal/templatecheck": cdk,
	}
	later := cdk
	for _, layer := range slices.Backward(layers) {
		for _, room := range layer {
			parts[module+"/internal/"+room] = later
			if !slices.Contains(forFunctions, room) {
				parts[module+"/functions"] = append(parts[module+"/functions"], module+"/internal/"+room)
			}
		}
		for _, room := range layer {
			later = append(slices.Clip(later), module+"/internal/"+room)
		}
	}
	return parts
}()

type goPackage struct {
	ImportPath   string
	Deps         []string // all packages that it depends on, directly or not
	XTestImports []string // what its tests in a package of their own import; not in Deps
}

// within reports whether the package or module at path is root or below it.
func within(path, root string) bool {
	return path == root || strings.HasPrefix(path, root+"/")
}

func (p goPackage) dependsOn(root string) bool {
	return slices.ContainsFunc(p.Deps, func(dep string) bool { return within(dep, root) })
}

// violations returns a sentence for each package that depends on what forbidden denies it.
func violations(packages []goPackage) []string {
	var found []string
	for _, p := range packages {
		for part, roots := range forbidden {
			if !within(p.ImportPath, part) {
				continue
			}
			for _, root := range roots {
				if p.dependsOn(root) {
					found = append(found, fmt.Sprintf("%s depends on %s, perhaps through another package, but nothing below %s may; move what it needs to a package of internal/ that does not",
						p.ImportPath, root, part))
				}
			}
		}
	}
	slices.Sort(found)
	return found
}

func list(t *testing.T) []goPackage {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Deps,XTestImports",
		".", "./cmd/...", "./config/...", "./functions/...", "./constructs/...", "./stacks/...", "./internal/...", "./local/...")
	cmd.Dir = "../.."
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, &stderr)
	}
	var packages []goPackage
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		var p goPackage
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			return packages
		} else if err != nil {
			t.Fatal(err)
		}
		packages = append(packages, p)
	}
}

func TestPackagesDependOnlyOnWhatTheyMay(t *testing.T) {
	packages := list(t)
	for _, v := range violations(packages) {
		t.Error(v)
	}
	// A listing that lacks a part, or a CDK module of another name, would let everything pass.
	for part := range forbidden {
		if !slices.ContainsFunc(packages, func(p goPackage) bool { return within(p.ImportPath, part) }) {
			t.Errorf("no package below %s was listed: correct the table of forbidden imports", part)
		}
	}
	stacks := slices.IndexFunc(packages, func(p goPackage) bool { return p.ImportPath == module+"/stacks" })
	for _, root := range cdk {
		if stacks < 0 || !packages[stacks].dependsOn(root) {
			t.Errorf("%s/stacks does not depend on %s: correct the list of the CDK's modules", module, root)
		}
	}
	for _, root := range append([]string{cdkNag}, forTests...) {
		if !slices.ContainsFunc(packages, func(p goPackage) bool {
			return slices.ContainsFunc(p.XTestImports, func(path string) bool { return within(path, root) })
		}) {
			t.Errorf("no test imports %s: correct its name", root)
		}
	}
}

func TestViolationsAreFound(t *testing.T) {
	for name, test := range map[string]struct {
		pkg  string
		deps []string
		bad  bool
	}{
		"config uses the CDK":                {"config", []string{"fmt", "github.com/aws/aws-cdk-go/awscdk/v2/awsec2"}, true},
		"a command uses jsii":                {"cmd/infra", []string{"github.com/aws/jsii-runtime-go"}, true},
		"a function uses constructs-go":      {"functions/release/x", []string{"github.com/aws/constructs-go/constructs/v10"}, true},
		"a construct uses a stack":           {"constructs/network", []string{module + "/stacks"}, true},
		"internal uses a construct":          {"internal/removal", []string{module + "/constructs/network"}, true},
		"internal uses a command":            {"internal/guard", []string{module + "/cmd/infra"}, true},
		"a room uses jsii":                   {"internal/guard", []string{"github.com/aws/jsii-runtime-go"}, true},
		"a room uses a later one":            {"internal/assembly", []string{module + "/internal/guard"}, true},
		"a function uses the tool's room":    {"functions/release", []string{module + "/internal/release"}, true},
		"a program uses what tests use":      {"internal/guard", []string{module + "/internal/test"}, true},
		"a stack uses the templates' checks": {"stacks", []string{module + "/internal/templatecheck"}, true},
		"the templates' checks use the CDK":  {"internal/templatecheck", []string{"github.com/aws/aws-cdk-go/awscdk/v2"}, true},
		"the templates' checks use config":   {"internal/templatecheck", []string{module + "/config"}, false},
		"a command uses a construct":         {"cmd/infra", []string{module + "/constructs/network"}, true},
		"a stack uses cdk-nag":               {"stacks", []string{cdkNag + "/cdknag/v2"}, true},
		"a room uses an earlier one":         {"internal/guard", []string{module + "/internal/assembly", module + "/internal/stop"}, false},
		"a function uses its room":           {"functions/release", []string{module + "/internal/rollout"}, false},
		"a construct uses the CDK":           {"constructs/network", []string{"github.com/aws/aws-cdk-go/awscdk/v2", module + "/internal/removal"}, false},
		"a stack uses a construct":           {"stacks", []string{module + "/constructs/network", module + "/config"}, false},
		"a name that only begins the same":   {"configuration", []string{"github.com/aws/aws-cdk-go/awscdk/v2"}, false},
		"config uses an AWS SDK":             {"config", []string{"github.com/aws/aws-sdk-go-v2/aws"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			found := violations([]goPackage{{ImportPath: module + "/" + test.pkg, Deps: test.deps}})
			if (len(found) > 0) != test.bad {
				t.Errorf("found %q, want a violation: %v", found, test.bad)
			}
		})
	}
}
