package stacks_test

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the golden templates")

// The golden templates are the contract with running stacks: review a difference like code. A changed logical id of a
// database, bucket, secret, repository or VPC is data loss.
func TestTemplatesEqualTheGoldenOnes(t *testing.T) {
	for _, name := range shipped {
		bodies := stage(t, load(t, name))
		for _, stack := range stackNames {
			t.Run(name+"/"+stack, func(t *testing.T) { equalsGolden(t, golden(name, stack), bodies[stack]) })
		}
	}
}

func TestTheDeliverysTemplateEqualsTheGoldenOne(t *testing.T) {
	equalsGolden(t, golden("delivery", "delivery"), stageDelivery(t)["flask-app-delivery"])
}

func equalsGolden(t *testing.T, file string, got []byte) {
	t.Helper()
	if *update {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("the template differs from %s (-want +got). If the change is meant, rewrite it with `make golden`.\n%s", file, diff)
	}
}

// A cycle is reported by CloudFormation only, when the stack is deployed.
func TestTemplatesHaveNoDependencyCycle(t *testing.T) {
	for _, name := range shipped {
		t.Run(name, func(t *testing.T) {
			if cycle := findCycle(decode(t, name)); cycle != nil {
				t.Errorf("dependency cycle: %v", cycle)
			}
		})
	}
}

func TestACycleIsFound(t *testing.T) {
	env := environment{Resources: map[string]resource{
		"a": {ID: "a", Properties: map[string]any{"X": map[string]any{"Ref": "b"}}},
		"b": {ID: "b", DependsOn: []string{"c"}},
		"c": {ID: "c", Properties: map[string]any{"Y": []any{map[string]any{"Fn::GetAtt": []any{"a", "Arn"}}}}},
	}}
	if findCycle(env) == nil {
		t.Error("a → b → c → a was not found")
	}
}

// findCycle returns the ids along a cycle of references and dependencies, or nil.
func findCycle(env environment) []string {
	const (
		unseen = iota
		open
		done
	)
	state := map[string]int{}
	var path []string
	var visit func(id string) []string
	visit = func(id string) []string {
		path = append(path, id)
		switch state[id] {
		case done:
			path = path[:len(path)-1]
			return nil
		case open:
			return path
		}
		state[id] = open
		r := env.Resources[id]
		for _, next := range append(references(r.Properties), r.DependsOn...) {
			if cycle := visit(next); cycle != nil {
				return cycle
			}
		}
		state[id] = done
		path = path[:len(path)-1]
		return nil
	}
	for id := range env.Resources {
		if cycle := visit(id); cycle != nil {
			return cycle
		}
	}
	return nil
}
