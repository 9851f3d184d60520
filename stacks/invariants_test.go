package stacks_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"flask-on-fargate/config"
)

// What holds for every environment, whatever its configuration: sweep_test.go asks the same of generated ones.

func TestInvariants(t *testing.T) {
	names, err := config.Names("config")
	if err != nil {
		t.Fatal(err)
	}
	environments := map[string]config.Environment{"four keys": minimal(nil)}
	for _, name := range names {
		environments[name] = load(t, name)
	}
	var needed []string
	for name, cfg := range environments {
		t.Run(name, func(t *testing.T) {
			bodies := synthesize(t, cfg)
			for _, broken := range invariants(t, cfg, bodies) {
				t.Error(broken)
			}
			env := decodeTemplates(t, bodies)
			statements := policyStatements(env)
			if len(statements) < 40 {
				t.Errorf("only %d policy statements were found: the walk misses some", len(statements))
			}
			_, used := checkPolicies(env, cfg.Project+"-"+cfg.Name, byTheLibrary)
			needed = append(needed, used...)
			t.Logf("figure: %d policy statements of %s walked", len(statements), name)
		})
	}
	for action := range onEverything {
		if !slices.Contains(needed, action) {
			t.Errorf("no role has %s on * any more: take it from the table", action)
		}
	}
	for _, e := range byTheLibrary {
		if !slices.Contains(needed, e.reason) {
			t.Errorf("nothing needs the exception of %s for %s on %s any more", e.holder, e.actions, e.on)
		}
	}
}

// invariants returns a sentence for each invariant that an environment's templates break.
func invariants(t *testing.T, cfg config.Environment, bodies map[string][]byte) []string {
	t.Helper()
	env := decodeTemplates(t, bodies)
	policies, _ := checkPolicies(env, cfg.Project+"-"+cfg.Name, byTheLibrary)
	broken := slices.Concat(policies, checkSecretReaders(env), checkExposure(env, cfg), checkLifecycle(env, cfg), checkSecrets(env, cfg), checkLimits(env, bodies))
	if cycle := findCycle(env); cycle != nil {
		broken = append(broken, fmt.Sprintf("dependency cycle: %v", cycle))
	}
	return broken
}

// fault is a change of an environment's templates that a check must notice, and words of what it must say.
type fault struct {
	change func(t *testing.T, env environment)
	says   string
}

// wantNoticed changes the templates of dev by one fault at a time, and wants a check that finds nothing without it to say so.
func wantNoticed(t *testing.T, check func(env environment, cfg config.Environment) []string, faults map[string]fault) {
	t.Helper()
	cfg := load(t, "dev")
	bodies := synthesize(t, cfg)
	if broken := check(decodeTemplates(t, bodies), cfg); len(broken) > 0 {
		t.Fatalf("without a fault: %q", broken)
	}
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			env := decodeTemplates(t, bodies)
			fault.change(t, env)
			if broken := strings.Join(check(env, cfg), "\n"); !strings.Contains(broken, fault.says) {
				t.Errorf("noticed: %q, want %q", broken, fault.says)
			}
		})
	}
}

// add is the change that adds a resource to the data stack, with properties in JSON. References name the stack: {"Ref": "data.Bucket83908E77"}.
func add(resourceType, properties string) func(*testing.T, environment) {
	return func(t *testing.T, env environment) {
		added := resource{ID: "data.Added", Type: resourceType, DeletionPolicy: "Delete", Metadata: map[string]any{"aws:cdk:path": "dev/Data/Added/Resource"}}
		if err := json.Unmarshal([]byte(properties), &added.Properties); err != nil {
			t.Fatalf("%v: %s", err, properties)
		}
		env.Resources[added.ID] = added
	}
}

// set is the change that sets properties, given in JSON, of the resource at a construct path.
func set(path, properties string) func(*testing.T, environment) {
	return func(t *testing.T, env environment) {
		changed := env.byPath(t, path)
		if err := json.Unmarshal([]byte(properties), &changed.Properties); err != nil {
			t.Fatalf("%v: %s", err, properties)
		}
	}
}

// CloudFormation's and the services' limits, https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html
const (
	maxTemplate   = 1_000_000
	maxResources  = 500
	maxOutputs    = 200
	maxExportName = 255
	maxRolePolicy = 10_240 // characters of a role's inline policies, https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
)

// maxLengths are of properties with a text that the configuration is part of.
var maxLengths = map[string]int{
	"LogGroupName": 512, "Family": 255, "GroupDescription": 255, "SecretName": 512, "RuleName": 64, "ConnectionName": 32, "Description": 256,
}

func checkLimits(env environment, bodies map[string][]byte) []string {
	var broken []string
	for _, stack := range stackNames {
		body := bodies[stack]
		var file struct {
			Resources map[string]any
			Outputs   map[string]struct{ Export struct{ Name string } }
		}
		if err := json.Unmarshal(body, &file); err != nil {
			return []string{err.Error()}
		}
		for what, n := range map[string][2]int{"bytes": {len(body), maxTemplate}, "resources": {len(file.Resources), maxResources}, "outputs": {len(file.Outputs), maxOutputs}} {
			if n[0] > n[1] {
				broken = append(broken, fmt.Sprintf("%s has %d %s, CloudFormation takes %d", stack, n[0], what, n[1]))
			}
		}
		for _, output := range file.Outputs {
			if len(output.Export.Name) > maxExportName {
				broken = append(broken, fmt.Sprintf("%s exports a name of %d characters: %s", stack, len(output.Export.Name), output.Export.Name))
			}
		}
	}
	policies := map[string]int{}
	for _, r := range env.Resources {
		for property, limit := range maxLengths {
			if value, _ := r.Properties[property].(string); len(value) > limit {
				broken = append(broken, fmt.Sprintf("%s: %s has %d characters, allowed are %d: %s", r.ID, property, len(value), limit, value))
			}
		}
		if r.Type == "AWS::IAM::Policy" {
			for _, role := range references(r.Properties["Roles"]) {
				policies[role] += len(text(r.Properties["PolicyDocument"]))
			}
		}
	}
	for role, n := range policies {
		if n > maxRolePolicy {
			broken = append(broken, fmt.Sprintf("%s has policies of %d characters, IAM takes %d", role, n, maxRolePolicy))
		}
	}
	return broken
}

// pathOf is a resource's construct path below its environment.
func pathOf(r resource) string {
	full, _ := r.Metadata["aws:cdk:path"].(string)
	_, below, _ := strings.Cut(full, "/")
	return below
}
