package guard

import (
	"context"
	"fmt"
	"slices"

	"flask-on-fargate/config"
	"flask-on-fargate/internal/assembly"
	"flask-on-fargate/internal/change"
)

// The verdicts.
const (
	Fine    = "fine"
	Stopped = "stopped"
)

// Verdict is the guard's answer about a deployment.
type Verdict struct {
	Environment string             `json:"environment"`
	Verdict     string             `json:"verdict"`
	Compared    string             `json:"compared"`
	Changed     int                `json:"changedResources"` // of those that stay or go
	Stopped     []Finding          `json:"stopped"`
	Allowed     []Finding          `json:"allowed"`
	Unused      []config.Allowance `json:"unusedAllowances"`
	Notes       []string           `json:"notes,omitempty"`
}

// Decide judges the changes and applies the allowances.
func Decide(changes []change.Resource, allowances []config.Allowance) Verdict {
	v := Verdict{Verdict: Fine, Changed: len(changes), Stopped: []Finding{}, Allowed: []Finding{}, Unused: []config.Allowance{}}
	used := make([]bool, len(allowances))
	for _, f := range Judge(changes) {
		i := slices.IndexFunc(allowances, func(a config.Allowance) bool {
			return a.LogicalID == f.LogicalID && a.Property == f.Property && a.Hash == f.Hash
		})
		if i < 0 {
			v.Stopped = append(v.Stopped, f)
			continue
		}
		used[i] = true
		f.Reason = allowances[i].Reason
		v.Allowed = append(v.Allowed, f)
	}
	for i, a := range allowances {
		if !used[i] {
			v.Unused = append(v.Unused, a)
		}
	}
	if len(v.Stopped) > 0 {
		v.Verdict = Stopped
	}
	return v
}

// BetweenAssemblies returns the changes of an environment from one assembly to another, and notes about its stacks.
func BetweenAssemblies(ctx context.Context, compare change.Comparer, earlier, later []assembly.Stack) (changes []change.Resource, notes []string, err error) {
	pairs, protection := change.PairUp(earlier, later)
	for _, p := range pairs {
		switch {
		case p.Old == nil:
			notes = append(notes, fmt.Sprintf("Stack %s is new.", p.Stack))
		case p.New == nil:
			notes = append(notes, fmt.Sprintf("Stack %s is in the base only: a deployment leaves it as it is.", p.Stack))
		}
	}
	changes, err = change.OfPairs(ctx, compare, slices.DeleteFunc(pairs, func(p change.Pair) bool { return p.New == nil }))
	return append(changes, protection...), notes, err
}

// SinceDeployed returns the changes of an environment from its deployed stacks to an assembly, and notes about its stacks.
func SinceDeployed(ctx context.Context, compare change.Comparer, api change.StackReader, stacks []assembly.Stack) (changes []change.Resource, notes []string, err error) {
	pairs, protection, err := change.PairWithDeployed(ctx, api, stacks)
	if err != nil {
		return nil, nil, err
	}
	for _, p := range pairs {
		if p.Old == nil {
			notes = append(notes, fmt.Sprintf("Stack %s does not exist yet.", p.Stack))
		}
	}
	changes, err = change.OfPairs(ctx, compare, pairs)
	return append(changes, protection...), notes, err
}
