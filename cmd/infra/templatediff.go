package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// templateDiffDir holds the Node.js program that compares templates by AWS's resource schemas, seen from the root of the project.
const templateDiffDir = "cmd/infra/templatediff"

// nodeTools holds what package.json pins, seen from the root of the project.
var nodeTools = filepath.Join("node_modules", ".bin")

// document is a CloudFormation template: all of it, as it is decoded from JSON.
type document map[string]any

// resource is one of a template.
type resource struct {
	Type                string
	Properties          map[string]any
	DeletionPolicy      string
	UpdateReplacePolicy string
	Metadata            map[string]any
}

// Path is the path of the construct that defines the resource, or "".
func (r resource) Path() string {
	path, _ := r.Metadata["aws:cdk:path"].(string)
	for _, generated := range []string{"/Resource", "/Default"} { // ids that the library appends to the construct's own
		path = strings.TrimSuffix(path, generated)
	}
	return strings.TrimSuffix(path, "/Resource")
}

// resources returns the template's resources by logical id.
func (d document) resources() (map[string]resource, error) {
	data, err := json.Marshal(d["Resources"])
	if err != nil {
		return nil, err
	}
	var found map[string]resource
	if err := json.Unmarshal(data, &found); err != nil {
		return nil, fmt.Errorf("the section Resources is not that of a template: %w", err)
	}
	return found, nil
}

// pair is a stack's template before and after a change. A nil template stands for a stack that does not exist.
type pair struct {
	Stack    string
	Old, New document
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
		Old document `json:"old"`
		New document `json:"new"`
	}
	inputs := make([]input, len(pairs))
	for i, p := range pairs {
		inputs[i] = input{p.Old, p.New}
		for _, d := range []*document{&inputs[i].Old, &inputs[i].New} {
			if *d == nil {
				*d = document{}
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
			if causes := references(value); len(causes) > 0 && equal(older[id].Properties[name], value) {
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

func bothResources(p pair) (older, newer map[string]resource, err error) {
	if older, err = p.Old.resources(); err != nil {
		return nil, nil, fmt.Errorf("the earlier template of stack %s: %w", p.Stack, err)
	}
	if newer, err = p.New.resources(); err != nil {
		return nil, nil, fmt.Errorf("the new template of stack %s: %w", p.Stack, err)
	}
	return older, newer, nil
}

// references returns the logical ids that a value of a template refers to, sorted.
func references(value any) []string {
	ids := map[string]bool{}
	var walk func(any)
	walk = func(value any) {
		switch v := value.(type) {
		case []any:
			for _, item := range v {
				walk(item)
			}
		case map[string]any:
			if id, ok := v["Ref"].(string); ok {
				ids[id] = true
			}
			if of, ok := v["Fn::GetAtt"].([]any); ok && len(of) > 0 {
				if id, ok := of[0].(string); ok {
					ids[id] = true
				}
			}
			for _, item := range v {
				walk(item)
			}
		}
	}
	walk(value)
	return slices.Sorted(maps.Keys(ids))
}
