package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"
)

// list is the content of mutants.yaml.
type list struct {
	Commands map[string]string // shell commands by name, run in the project's folder; a mutant is killed when a test of its command fails
	Groups   []group
}

// group is the mutants of one file that the same command must kill.
type group struct {
	Part    string // of the project, for the summary
	File    string // below the project's folder
	Command string // a key of list.Commands
	Mutants []edit
}

// edit breaks a file in one way.
type edit struct {
	Name string // what is broken, in words
	Find string // a text that is in the file exactly once
	Put  string // what stands there instead
}

// mutant is one entry of the list.
type mutant struct {
	group
	edit
}

func (m mutant) String() string { return m.Part + ": " + m.Name }

func readList(file string) (list, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return list{}, err
	}
	var l list
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	decoder.KnownFields(true)
	if err := decoder.Decode(&l); err != nil {
		return list{}, fmt.Errorf("%s: %w", file, err)
	}
	return l, nil
}

func (l list) mutants() []mutant {
	var all []mutant
	for _, g := range l.Groups {
		for _, e := range g.Mutants {
			all = append(all, mutant{g, e})
		}
	}
	return all
}

// check reports everything in the list that does not fit the project in dir, all of it at once.
func (l list) check(dir string) error {
	var errs []error
	used, seen := map[string]bool{}, map[string]bool{}
	for _, m := range l.mutants() {
		used[m.Command] = true
		if l.Commands[m.Command] == "" {
			errs = append(errs, fmt.Errorf("mutant %q: there is no command %q: name one of the list `commands`", m, m.Command))
		}
		if seen[m.String()] {
			errs = append(errs, fmt.Errorf("mutant %q is there twice: give the second another name, or remove it", m))
		}
		seen[m.String()] = true
		if _, _, err := m.apply(dir); err != nil {
			errs = append(errs, err)
		}
	}
	for name := range l.Commands {
		if !used[name] {
			errs = append(errs, fmt.Errorf("no mutant uses the command %q: remove it", name))
		}
	}
	slices.SortFunc(errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errors.Join(errs...)
}

// apply returns the text of the mutant's file without the mutation and with it.
func (m mutant) apply(dir string) (before, after string, err error) {
	data, err := os.ReadFile(filepath.Join(dir, m.File))
	if err != nil {
		return "", "", fmt.Errorf("mutant %q: %w", m, err)
	}
	before = string(data)
	if m.Find == m.Put {
		return "", "", fmt.Errorf("mutant %q puts what it finds, %q: give another text to put", m, m.Find)
	}
	if n := strings.Count(before, m.Find); m.Find == "" || n != 1 {
		return "", "", fmt.Errorf("mutant %q: %s has %d times the text %q, want it once: adapt `find` in checks/mutants/mutants.yaml to the code as it is, or remove the mutant", m, m.File, n, m.Find)
	}
	return before, strings.Replace(before, m.Find, m.Put, 1), nil
}

// checkSyntax tells why the mutant's file, which is in dir with this text, is no valid program: a test that fails for that has
// not found the fault.
func (m mutant) checkSyntax(dir, text string) error {
	var tool *exec.Cmd
	switch filepath.Ext(m.File) {
	case ".go":
		// Unlike `go build` it links no program.
		tool = exec.Command("go", "list", "-export", "./"+filepath.Dir(m.File))
	case ".sh":
		tool = exec.Command("sh", "-n", m.File)
	case ".json":
		var v any
		return json.Unmarshal([]byte(text), &v)
	case ".yml", ".yaml":
		var v any
		return yaml.Unmarshal([]byte(text), &v)
	default:
		return fmt.Errorf("it is not known how to check the syntax of %s: add it to checkSyntax in checks/mutants/list.go", m.File)
	}
	tool.Dir = dir
	if output, err := tool.CombinedOutput(); err != nil {
		return fmt.Errorf("%w\n%s", err, output)
	}
	return nil
}
