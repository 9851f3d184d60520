package change

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"

	"flask-on-fargate/internal/assembly"
	"flask-on-fargate/internal/folders"
)

// ProgramDir holds the Node.js program that compares templates by AWS's resource schemas, seen from the root of the project.
const ProgramDir = "internal/change/templatediff"

// Diff is what the program says of a pair.
type Diff struct {
	Resources map[string]struct {
		Impact     string            // WILL_CREATE, WILL_UPDATE, MAY_REPLACE, WILL_REPLACE, WILL_DESTROY or WILL_ORPHAN
		Properties map[string]string // impact of each property that changes, by itself or since what it refers to is replaced
		Attributes []string          // what else changes, such as DeletionPolicy
	}
	Permissions     Additions[Statement]
	ManagedPolicies Additions[struct{ IdentityArn, ManagedPolicyArn string }]
	Ingress, Egress Additions[SecurityRule]
}

// Additions are what comes and what goes.
type Additions[T any] struct{ Added, Removed []T }

// Statement is one of an IAM policy.
type Statement struct {
	Effect                         string
	Resources, Actions, Principals Targets
	Condition                      any
}

// Targets are what a statement is about: all of Values, or, with Not, everything else.
type Targets struct {
	Values []string
	Not    bool
}

// SecurityRule is one of a security group.
type SecurityRule struct {
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

// Comparer returns what changes in each pair, in their order.
type Comparer func(context.Context, []Pair) ([]Diff, error)

// Program is the program in Dir. Its process starts with the first question, and answers each line with a line. It ends with its
// standard input, at the end of this process.
type Program struct {
	Dir string

	process  *exec.Cmd // nil if it has not started yet
	in       io.Writer
	out      *bufio.Reader
	problems bytes.Buffer
}

// Compare is a [Comparer]. Only one goroutine may call it at a time.
func (p *Program) Compare(ctx context.Context, pairs []Pair) ([]Diff, error) {
	type input struct {
		Old assembly.Template `json:"old"`
		New assembly.Template `json:"new"`
	}
	inputs := make([]input, len(pairs))
	for i, pair := range pairs {
		inputs[i] = input{orEmpty(pair.Old), orEmpty(pair.New)}
	}
	question, err := json.Marshal(inputs)
	if err != nil {
		return nil, err
	}
	if p.process == nil {
		if err := p.start(); err != nil {
			return nil, err
		}
	}
	stop := context.AfterFunc(ctx, func() { _ = p.process.Process.Kill() })
	defer stop()
	_, err = p.in.Write(append(question, '\n'))
	var line []byte
	if err == nil {
		line, err = p.out.ReadBytes('\n')
	}
	if err != nil {
		if ended := p.process.Wait(); ended != nil {
			err = ended
		}
		return nil, fmt.Errorf("compare templates by %s: %w\n%s", p.Dir, err, bytes.TrimSpace(p.problems.Bytes()))
	}
	return p.answer(line, len(pairs))
}

func orEmpty(t assembly.Template) assembly.Template {
	if t == nil {
		return assembly.Template{}
	}
	return t
}

func (p *Program) start() error {
	dir, err := filepath.Abs(p.Dir)
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(dir, "node_modules")); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s, which knows AWS's resource schemas, is not installed: run `make templatediff` in the root of the project", filepath.Join(p.Dir, "diff.js"))
	}
	node, err := filepath.Abs(filepath.Join(folders.NodeTools, "node"))
	if err != nil {
		return err
	}
	if _, err := os.Stat(node); err != nil {
		node = "node"
	}
	cmd := exec.Command(node, "diff.js")
	cmd.Dir, cmd.Stderr = dir, &p.problems
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	p.in, p.out, p.process = in, bufio.NewReader(out), cmd
	return cmd.Start()
}

func (p *Program) answer(line []byte, pairs int) ([]Diff, error) {
	var diffs []Diff
	err := json.Unmarshal(line, &diffs)
	if err == nil && len(diffs) != pairs {
		err = fmt.Errorf("%d results for %d pairs", len(diffs), pairs)
	}
	if err != nil {
		return nil, fmt.Errorf("compare templates by %s: its answer: %w; run `make clean templatediff`", p.Dir, err)
	}
	return diffs, nil
}
