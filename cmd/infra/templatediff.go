package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"

	"flask-on-fargate/internal/assembly"
)

// templateDiffDir holds the Node.js program that compares templates by AWS's resource schemas, seen from the root of the project.
const templateDiffDir = "cmd/infra/templatediff"

// nodeTools holds what package.json pins, seen from the root of the project.
var nodeTools = filepath.Join("node_modules", ".bin")

// pair is a stack's template before and after a change. A nil template stands for a stack that does not exist.
type pair struct {
	Stack    string
	Old, New assembly.Template
}

// templateDiff is what the program in [templateDiffDir] says of a pair.
type templateDiff struct {
	Resources map[string]struct {
		Impact     string            // WILL_CREATE, WILL_UPDATE, MAY_REPLACE, WILL_REPLACE, WILL_DESTROY or WILL_ORPHAN
		Properties map[string]string // impact of each property that changes, by itself or since what it refers to is replaced
		Attributes []string          // what else changes, such as DeletionPolicy
	}
	Permissions     additions[statement]
	ManagedPolicies additions[struct{ IdentityArn, ManagedPolicyArn string }]
	Ingress, Egress additions[securityRule]
}

type additions[T any] struct{ Added, Removed []T }

type statement struct {
	Effect                         string
	Resources, Actions, Principals targets
	Condition                      any
}

type targets struct {
	Values []string
	Not    bool
}

type securityRule struct {
	GroupID    string `json:"groupId"`
	IPProtocol string `json:"ipProtocol"`
	FromPort   any    `json:"fromPort"`
	ToPort     any    `json:"toPort"`
	Peer       *struct {
		IP              string `json:"ip"`
		SecurityGroupID string `json:"securityGroupId"`
		PrefixListID    string `json:"prefixListId"`
	} `json:"peer"`
}

// compareTemplates asks the program in dir what changes in each pair.
func compareTemplates(ctx context.Context, dir string, pairs []pair) ([]templateDiff, error) {
	question, err := templateQuestion(pairs)
	if err != nil {
		return nil, err
	}
	cmd, err := templateDiffCommand(ctx, dir)
	if err != nil {
		return nil, err
	}
	var out, problems bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(question), &out, &problems
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("compare templates by %s: %w\n%s", dir, err, bytes.TrimSpace(problems.Bytes()))
	}
	return templateAnswer(dir, out.Bytes(), len(pairs))
}

// templateDiffCommand is the program in dir, which answers each line of questions with a line.
func templateDiffCommand(ctx context.Context, dir string) (*exec.Cmd, error) {
	program := filepath.Join(dir, "diff.js")
	if _, err := os.Stat(filepath.Join(dir, "node_modules")); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s, which knows AWS's resource schemas, is not installed: run `make templatediff` in the root of the project", program)
	}
	node := filepath.Join(nodeTools, "node") // the one that package.json pins
	if _, err := os.Stat(node); err != nil {
		node = "node"
	}
	return exec.CommandContext(ctx, node, program), nil
}

func templateQuestion(pairs []pair) ([]byte, error) {
	type input struct {
		Old assembly.Template `json:"old"`
		New assembly.Template `json:"new"`
	}
	inputs := make([]input, len(pairs))
	for i, p := range pairs {
		inputs[i] = input{p.Old, p.New}
		for _, d := range []*assembly.Template{&inputs[i].Old, &inputs[i].New} {
			if *d == nil {
				*d = assembly.Template{}
			}
		}
	}
	data, err := json.Marshal(inputs)
	return append(data, '\n'), err
}

func templateAnswer(dir string, line []byte, pairs int) ([]templateDiff, error) {
	var diffs []templateDiff
	err := json.Unmarshal(line, &diffs)
	if err == nil && len(diffs) != pairs {
		err = fmt.Errorf("%d results for %d pairs", len(diffs), pairs)
	}
	if err != nil {
		return nil, fmt.Errorf("compare templates by %s: its answer: %w; run `make clean templatediff`", dir, err)
	}
	return diffs, nil
}

// changesOfPair puts what the schemas say of a pair into the neutral form that the rules judge.
func changesOfPair(p pair, diff templateDiff) ([]resourceChange, error) {
	older, newer, err := bothResources(p)
	if err != nil {
		return nil, err
	}
	b := builder{stack: p.Stack, old: older, new: newer, updates: map[string]map[string]alteration{}}
	for id := range older {
		if _, stays := newer[id]; !stays {
			continue
		}
		b.updates[id] = map[string]alteration{}
		for name, value := range newer[id].Properties {
			// What the value refers to may be replaced, though the template says the same. The program tells only those that are
			// replaced then in turn.
			if causes := assembly.References(value); len(causes) > 0 && equal(older[id].Properties[name], value) {
				b.updates[id][name] = alteration{causes: causes}
			}
		}
		for name, impact := range diff.Resources[id].Properties {
			u := b.updates[id][name]
			u.requires = requires[impact]
			b.updates[id][name] = u
		}
	}
	return b.changes(), nil
}

// requires translates the program's words.
var requires = map[string]recreation{"WILL_REPLACE": always, "MAY_REPLACE": conditionally}

func bothResources(p pair) (older, newer map[string]assembly.Resource, err error) {
	if older, err = p.Old.Resources(); err != nil {
		return nil, nil, fmt.Errorf("the earlier template of stack %s: %w", p.Stack, err)
	}
	if newer, err = p.New.Resources(); err != nil {
		return nil, nil, fmt.Errorf("the new template of stack %s: %w", p.Stack, err)
	}
	return older, newer, nil
}
