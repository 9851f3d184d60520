package stacks_test

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"flask-on-fargate/internal/templatecheck"
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
			if cycle := templatecheck.Cycle(decode(t, name)); cycle != nil {
				t.Errorf("dependency cycle: %v", cycle)
			}
		})
	}
}
