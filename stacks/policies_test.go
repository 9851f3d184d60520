package stacks_test

import (
	"slices"
	"testing"

	"flask-on-fargate/internal/templatecheck"
)

// TestPoliciesOfTheDelivery walks the pipeline's own stacks. Those of the delivered environments are the same as of deployed ones, to
// the byte.
func TestPoliciesOfTheDelivery(t *testing.T) {
	for name, delivery := range map[string]struct {
		env    environment
		except templatecheck.Exceptions
	}{
		"to one account":     {theDelivery(t), templatecheck.InDelivery},
		"to another account": {theCrossing(t), slices.Concat(templatecheck.InDelivery, templatecheck.ToAnotherAccount)},
	} {
		broken, used := templatecheck.Policies(delivery.env, templatecheck.Owner{Name: "flask-app-delivery"}, delivery.except)
		for _, fault := range broken {
			t.Errorf("%s: %s", name, fault)
		}
		for _, unneeded := range delivery.except.Unneeded(used) {
			t.Errorf("%s: %s", name, unneeded)
		}
		t.Logf("figure: %d policy statements of the delivery %s walked", templatecheck.CountStatements(delivery.env), name)
	}
}

// TestPoliciesAreAsAWSDefinesThem asks the shipped environments and the delivery; [templatecheck.Invariants] asks the generated ones.
func TestPoliciesAreAsAWSDefinesThem(t *testing.T) {
	var needed []string
	for name, env := range map[string]environment{
		"dev": decode(t, "dev"), "prod": decode(t, "prod"), "delivery": theDelivery(t), "delivery to another account": theCrossing(t),
	} {
		broken, used := templatecheck.AuthorizationOf(env)
		for _, fault := range broken {
			t.Errorf("%s: %s", name, fault)
		}
		needed = append(needed, used...)
	}
	for _, unneeded := range templatecheck.UnneededAccepted(needed) {
		t.Error(unneeded)
	}
}
