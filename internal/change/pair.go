package change

import (
	"context"
	"fmt"
	"slices"

	"flask-on-fargate/internal/assembly"
)

// Pair is a stack's template before and after a change. A nil template stands for a stack that does not exist.
type Pair struct {
	Stack    string
	Old, New assembly.Template
}

// Resources returns the resources of both templates by logical id.
func (p Pair) Resources() (older, newer map[string]assembly.Resource, err error) {
	if older, err = p.Old.Resources(); err != nil {
		return nil, nil, fmt.Errorf("the earlier template of stack %s: %w", p.Stack, err)
	}
	if newer, err = p.New.Resources(); err != nil {
		return nil, nil, fmt.Errorf("the new template of stack %s: %w", p.Stack, err)
	}
	return older, newer, nil
}

// PairUp matches the stacks of two assemblies by name. It also returns the changes of termination protection, which is in no template.
func PairUp(earlier, later []assembly.Stack) (pairs []Pair, protection []Resource) {
	for _, s := range later {
		p := Pair{Stack: s.Name, New: s.Template}
		if i := named(earlier, s.Name); i >= 0 {
			p.Old = earlier[i].Template
			protection = append(protection, terminationProtection(s.Name, earlier[i].TerminationProtection, s.TerminationProtection)...)
		}
		pairs = append(pairs, p)
	}
	for _, e := range earlier {
		if named(later, e.Name) < 0 {
			pairs = append(pairs, Pair{Stack: e.Name, Old: e.Template})
		}
	}
	return pairs, protection
}

func named(stacks []assembly.Stack, name string) int {
	return slices.IndexFunc(stacks, func(s assembly.Stack) bool { return s.Name == name })
}

// PairWithDeployed matches the stacks of an assembly with the deployed ones. Apart from that it is [PairUp].
func PairWithDeployed(ctx context.Context, api StackReader, stacks []assembly.Stack) (pairs []Pair, protection []Resource, err error) {
	for _, s := range stacks {
		old, was, err := deployedTemplate(ctx, api, s.Name)
		if err != nil {
			return nil, nil, err
		}
		pairs = append(pairs, Pair{Stack: s.Name, Old: old, New: s.Template})
		protection = append(protection, terminationProtection(s.Name, was, s.TerminationProtection)...)
	}
	return pairs, protection, nil
}

// OfPairs returns what the schemas say of pairs.
func OfPairs(ctx context.Context, compare Comparer, pairs []Pair) ([]Resource, error) {
	diffs, err := compare(ctx, pairs)
	if err != nil {
		return nil, err
	}
	var all []Resource
	for i, p := range pairs {
		changes, err := OfPair(p, diffs[i])
		if err != nil {
			return nil, err
		}
		all = append(all, changes...)
	}
	return all, nil
}

// recreations translates the program's words.
var recreations = map[string]Recreation{"WILL_REPLACE": Always, "MAY_REPLACE": Conditionally}

// OfPair returns what the schemas say of one pair.
func OfPair(p Pair, diff Diff) ([]Resource, error) {
	b, err := newBuilder(p)
	if err != nil {
		return nil, err
	}
	for id, older := range b.old {
		newer, stays := b.new[id]
		if !stays {
			continue
		}
		b.updates[id] = map[string]alteration{}
		for name, value := range newer.Properties {
			// The resource that the value refers to may be replaced, although both templates say the same. The program tells only
			// the references whose own resource is replaced in turn.
			if causes := assembly.References(value); len(causes) > 0 && Equal(older.Properties[name], value) {
				b.updates[id][name] = alteration{causes: causes}
			}
		}
		for name, impact := range diff.Resources[id].Properties {
			u := b.updates[id][name]
			u.requires = recreations[impact]
			b.updates[id][name] = u
		}
	}
	return b.changes(), nil
}
