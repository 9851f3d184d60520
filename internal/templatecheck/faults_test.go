package templatecheck_test

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"flask-on-fargate/config"
	"flask-on-fargate/internal/templatecheck"
)

// change puts a fault into templates.
type change func(t *testing.T, env templatecheck.Templates)

// fault is a change of an environment's templates that a check must notice, and words of what it must say.
type fault struct {
	change change
	says   string
}

// wantNoticed changes the templates of dev by one fault at a time, and wants a check that finds nothing without it to say so.
func wantNoticed(t *testing.T, check func(env templatecheck.Templates, cfg config.Environment) []string, faults map[string]fault) {
	t.Helper()
	cfg := load(t, "dev")
	if broken := check(decode(t, "dev"), cfg); len(broken) > 0 {
		t.Fatalf("without a fault: %q", broken)
	}
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			env := decode(t, "dev")
			fault.change(t, env)
			if broken := strings.Join(check(env, cfg), "\n"); !strings.Contains(broken, fault.says) {
				t.Errorf("noticed: %q, want %q", broken, fault.says)
			}
		})
	}
}

// add is the change that adds a resource to the data stack, with properties in JSON. References name the stack: {"Ref": "data.Bucket83908E77"}.
func add(resourceType, properties string) change {
	return func(t *testing.T, env templatecheck.Templates) {
		added := templatecheck.Resource{ID: "data.Added", Type: resourceType, DeletionPolicy: "Delete", Metadata: map[string]any{"aws:cdk:path": "dev/Data/Added/Resource"}}
		if err := json.Unmarshal([]byte(properties), &added.Properties); err != nil {
			t.Fatalf("%v: %s", err, properties)
		}
		env.Resources[added.ID] = added
	}
}

// set is the change that sets properties, given in JSON, of the resource at a construct path.
func set(path, properties string) change {
	return func(t *testing.T, env templatecheck.Templates) {
		changed := env.ByPath(t, path)
		if err := json.Unmarshal([]byte(properties), &changed.Properties); err != nil {
			t.Fatalf("%v: %s", err, properties)
		}
	}
}

// The faults are put into the golden templates: these tests need neither the CDK nor Node.js. That templates as they are synthesized have
// none of the faults, TestInvariants asks in stacks.

func load(t *testing.T, name string) config.Environment {
	t.Helper()
	cfg, err := config.Load("../../config", name)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// bodies returns the golden templates of a shipped environment by stack.
func bodies(t *testing.T, name string) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	for _, stack := range templatecheck.Stacks {
		body, err := os.ReadFile("../../stacks/testdata/" + name + "/" + stack + ".template.json")
		if err != nil {
			t.Fatal(err)
		}
		all[stack] = body
	}
	return all
}

// decode returns a shipped environment, which a test may change.
func decode(t *testing.T, name string) templatecheck.Templates {
	t.Helper()
	env, err := templatecheck.Decode(bodies(t, name), templatecheck.Stacks...)
	if err != nil {
		t.Fatal(err)
	}
	return env
}
