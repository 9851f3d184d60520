// Package assembly reads cloud assemblies, the directories that `cdk synth` writes.
package assembly

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

// Default is the directory that `cdk synth` writes to, seen from the root of the project.
const Default = "cdk.out"

// Stack is one CloudFormation stack of a cloud assembly.
type Stack struct {
	Name      string // the name in CloudFormation
	Path      string // the construct path, such as "dev/Network"
	Account   string // empty when the template fits any account
	Region    string // empty when the template fits any region
	Nested    bool   // part of a Stage, so that `cdk deploy --all` does not deploy it
	Resources int
	Outputs   []Output  // by name
	Warnings  []Warning // by construct path
	Pace      *Pace     // of the load-balanced service, if the stack has one
	Template  Template

	TerminationProtection bool
}

// Environment returns the name of the environment that the stack belongs to: the construct or Stage at the top of its path. The name
// is empty for a stack that is itself at the top.
func (s Stack) Environment() string {
	name, _, found := strings.Cut(s.Path, "/")
	if !found {
		return ""
	}
	return name
}

// Environments returns the names of the stacks' environments in the order of their first stacks.
func Environments(stacks []Stack) []string {
	var names []string
	for _, s := range stacks {
		if name := s.Environment(); !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// In returns the stacks of one environment.
func In(stacks []Stack, environment string) []Stack {
	return slices.DeleteFunc(slices.Clone(stacks), func(s Stack) bool { return s.Environment() != environment })
}

// Output is one entry of a template's Outputs section.
type Output struct {
	Name        string
	Description string // may be empty
	Value       any    // a literal, or an intrinsic function as decoded JSON
	Export      string // the name of its export; may be empty
	Generated   bool   // made by the library for another stack's reference, not by the application
}

// Warning is one warning annotation on a construct.
type Warning struct {
	Path string // of the construct
	Text string
	ID   string // acknowledges the warning; may be empty
}

// These are the parts of a cloud assembly's files that this package reads. Their schema is the npm package
// @aws-cdk/cloud-assembly-schema. These parts are the same for all libraries of version 2, so the version is not checked.
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

		// AdditionalMetadataFile holds, in newer schemas, the content of Metadata.
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
)

const manifestFile = "manifest.json"

// Read returns the stacks of the cloud assembly in dir, each after the stacks that it depends on. The stacks of Stages are included.
func Read(dir string) ([]Stack, error) {
	stacks, err := readNested(dir, false)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%q is not a complete cloud assembly: %w; run `make synth`, which writes one to %q", dir, err, Default)
	}
	return stacks, err
}

// ReadAll reads the assembly in dir. If dir has none itself, ReadAll reads those in its folders.
func ReadAll(dir string) ([]Stack, error) {
	if _, err := os.Stat(filepath.Join(dir, manifestFile)); !errors.Is(err, fs.ErrNotExist) {
		return Read(dir)
	}
	inner, err := filepath.Glob(filepath.Join(dir, "*", manifestFile))
	if err != nil || len(inner) == 0 {
		return Read(dir) // says what is missing
	}
	var all []Stack
	for _, file := range inner {
		stacks, err := Read(filepath.Dir(file))
		if err != nil {
			return nil, err
		}
		all = append(all, stacks...)
	}
	return all, nil
}

// ReadEnvironment returns the stacks of an environment in an assembly, or in a folder of assemblies. There must be at least one.
func ReadEnvironment(dir, environment string) ([]Stack, error) {
	all, err := ReadAll(dir)
	if err != nil {
		return nil, err
	}
	stacks := In(all, environment)
	if len(stacks) == 0 {
		return nil, fmt.Errorf("%q has the environments %s, and not %s: run `make synth ENV=%[3]s`", dir, strings.Join(Environments(all), ", "), environment)
	}
	return stacks, nil
}

func readNested(dir string, nested bool) ([]Stack, error) {
	var m manifest
	if err := readJSON(filepath.Join(dir, manifestFile), &m); err != nil {
		return nil, err
	}
	var stacks []Stack
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

// inDeployOrder returns the artifacts' ids, each after those that it depends on. Where that leaves a choice, the order is by name.
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

func readStack(dir, id string, a artifact) (Stack, error) {
	s := Stack{
		Name: cmp.Or(a.Properties.StackName, id),
		Path: cmp.Or(a.DisplayName, id),

		TerminationProtection: a.Properties.TerminationProtection,
	}
	file := filepath.Join(dir, a.Properties.TemplateFile)
	if err := readJSON(file, &s.Template); err != nil {
		return s, err
	}
	resources, err := s.Template.Resources()
	if err == nil {
		s.Resources, s.Pace = len(resources), paceOf(resources)
		s.Outputs, err = s.Template.outputs(s.Name)
	}
	if err != nil {
		return s, fmt.Errorf("%s: %w; delete the directory and run `make synth`", file, err)
	}
	account, region, _ := strings.Cut(strings.TrimPrefix(a.Environment, "aws://"), "/")
	if account != "unknown-account" {
		s.Account = account
	}
	if region != "unknown-region" {
		s.Region = region
	}
	s.Warnings, err = readWarnings(dir, a)
	return s, err
}

func readWarnings(dir string, a artifact) ([]Warning, error) {
	sources := []constructMetadata{a.Metadata}
	if a.AdditionalMetadataFile != "" {
		var additional constructMetadata
		if err := readJSON(filepath.Join(dir, a.AdditionalMetadataFile), &additional); err != nil {
			return nil, err
		}
		sources = append(sources, additional)
	}
	var warnings []Warning
	for _, source := range sources {
		for _, path := range slices.Sorted(maps.Keys(source)) {
			for _, entry := range source[path] {
				var text string
				if entry.Type != "aws:cdk:warning" || json.Unmarshal(entry.Data, &text) != nil {
					continue
				}
				// Annotations.addWarningV2 appends the id of the warning in this form.
				text, id, _ := strings.Cut(text, " [ack: ")
				warnings = append(warnings, Warning{Path: strings.TrimPrefix(path, "/"), Text: text, ID: strings.TrimSuffix(id, "]")})
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
