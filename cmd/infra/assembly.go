package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// stack is one CloudFormation stack of a cloud assembly.
type stack struct {
	Name      string // the name in CloudFormation
	Path      string // the construct path, such as "dev/Network"
	Account   string // empty when the template fits any account
	Region    string // empty when the template fits any region
	Nested    bool   // part of a Stage, so that `cdk deploy --all` does not deploy it
	Resources int
	Outputs   []output  // by name
	Warnings  []warning // by construct path
	Pace      *pace     // of the load-balanced service, if the stack has one

	TerminationProtection bool
	TemplateFile          string
}

// environment returns the name of the environment that the stack belongs to: the construct or Stage at the top of
// its path. It is empty for a stack that is itself at the top.
func (s stack) environment() string {
	name, _, found := strings.Cut(s.Path, "/")
	if !found {
		return ""
	}
	return name
}

// output is one entry of a template's Outputs section.
type output struct {
	Name        string
	Description string // may be empty
	Value       any    // a literal, or an intrinsic function as decoded JSON
	Export      bool   // made by the library for another stack's reference, not by the application
}

// warning is one warning annotation on a construct.
type warning struct {
	Path string // of the construct
	Text string
	ID   string // what acknowledges it; may be empty
}

// The parts of a cloud assembly's files that this tool reads. The schema is the package
// @aws-cdk/cloud-assembly-schema; these parts have kept their form through all of its version 2 libraries, so the
// version is not checked.
type (
	manifest struct {
		Artifacts map[string]artifact `json:"artifacts"`
	}
	artifact struct {
		Type         string            `json:"type"`
		Environment  string            `json:"environment"` // aws://account/region
		DisplayName  string            `json:"displayName"`
		Dependencies []string          `json:"dependencies"`
		Metadata     constructMetadata `json:"metadata"`

		// AdditionalMetadataFile holds, in newer schemas, what used to be in Metadata.
		AdditionalMetadataFile string `json:"additionalMetadataFile"`

		Properties struct {
			TemplateFile  string `json:"templateFile"`
			StackName     string `json:"stackName"`
			DirectoryName string `json:"directoryName"`

			TerminationProtection bool `json:"terminationProtection"`
		} `json:"properties"`
	}
	constructMetadata map[string][]struct {
		Type string          `json:"type"`
		Data json.RawMessage `json:"data"`
	}
	template struct {
		Resources map[string]json.RawMessage `json:"Resources"`
		Outputs   map[string]struct {
			Description string `json:"Description"`
			Value       any    `json:"Value"`
			Export      struct {
				Name any `json:"Name"`
			} `json:"Export"`
		} `json:"Outputs"`
	}
)

const manifestFile = "manifest.json"

// readAssembly returns the stacks of the cloud assembly in dir, those of its Stages included, each after the stacks
// it depends on.
func readAssembly(dir string) ([]stack, error) {
	stacks, err := readNested(dir, false)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%q is not a complete cloud assembly: %w; run `make synth`, which writes one to %q", dir, err, defaultAssembly)
	}
	return stacks, err
}

func readNested(dir string, nested bool) ([]stack, error) {
	var m manifest
	if err := readJSON(filepath.Join(dir, manifestFile), &m); err != nil {
		return nil, err
	}
	var stacks []stack
	for _, id := range inDeployOrder(m.Artifacts) {
		a := m.Artifacts[id]
		switch a.Type {
		case "aws:cloudformation:stack":
			s, err := readStack(dir, id, a)
			if err != nil {
				return nil, err
			}
			s.Nested = nested
			stacks = append(stacks, s)
		case "cdk:cloud-assembly":
			inner, err := readNested(filepath.Join(dir, a.Properties.DirectoryName), true)
			if err != nil {
				return nil, err
			}
			stacks = append(stacks, inner...)
		}
	}
	return stacks, nil
}

// inDeployOrder returns the artifacts' ids, each after those it depends on, and by name where that leaves a choice.
func inDeployOrder(artifacts map[string]artifact) []string {
	var order []string
	seen := map[string]bool{}
	var visit func(ids []string)
	visit = func(ids []string) {
		for _, id := range slices.Sorted(slices.Values(ids)) {
			if seen[id] {
				continue
			}
			seen[id] = true
			visit(artifacts[id].Dependencies)
			order = append(order, id)
		}
	}
	visit(slices.Collect(maps.Keys(artifacts)))
	return order
}

func readStack(dir, id string, a artifact) (stack, error) {
	var t template
	if err := readJSON(filepath.Join(dir, a.Properties.TemplateFile), &t); err != nil {
		return stack{}, err
	}
	s := stack{
		Name:      cmp.Or(a.Properties.StackName, id),
		Path:      cmp.Or(a.DisplayName, id),
		Resources: len(t.Resources),

		TerminationProtection: a.Properties.TerminationProtection,
		TemplateFile:          filepath.Join(dir, a.Properties.TemplateFile),
	}
	account, region, _ := strings.Cut(strings.TrimPrefix(a.Environment, "aws://"), "/")
	if account != "unknown-account" {
		s.Account = account
	}
	if region != "unknown-region" {
		s.Region = region
	}
	for _, name := range slices.Sorted(maps.Keys(t.Outputs)) {
		o := t.Outputs[name]
		s.Outputs = append(s.Outputs, output{
			Name:        name,
			Description: o.Description,
			Value:       o.Value,
			// The name that aws-cdk-lib gives the export of a strong cross-stack reference.
			Export: strings.HasPrefix(name, "ExportsOutput") && o.Export.Name == s.Name+":"+name,
		})
	}
	if p, ok := readPace(t.Resources); ok {
		s.Pace = &p
	}
	var err error
	s.Warnings, err = readWarnings(dir, a)
	return s, err
}

func readWarnings(dir string, a artifact) ([]warning, error) {
	sources := []constructMetadata{a.Metadata}
	if a.AdditionalMetadataFile != "" {
		var additional constructMetadata
		if err := readJSON(filepath.Join(dir, a.AdditionalMetadataFile), &additional); err != nil {
			return nil, err
		}
		sources = append(sources, additional)
	}
	var warnings []warning
	for _, source := range sources {
		for _, path := range slices.Sorted(maps.Keys(source)) {
			for _, entry := range source[path] {
				var text string
				if entry.Type != "aws:cdk:warning" || json.Unmarshal(entry.Data, &text) != nil {
					continue
				}
				w := warning{Path: strings.TrimPrefix(path, "/"), Text: text}
				// Annotations.addWarningV2 appends the id of the warning in this form.
				if before, after, found := strings.Cut(text, " [ack: "); found {
					w.Text, w.ID = before, strings.TrimSuffix(after, "]")
				}
				warnings = append(warnings, w)
			}
		}
	}
	return warnings, nil
}

func readJSON(path string, into any) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, into); err != nil {
		return fmt.Errorf("%s is not the JSON of a cloud assembly: %w; delete the directory and run `make synth`", path, err)
	}
	return nil
}
