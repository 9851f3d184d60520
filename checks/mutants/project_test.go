//go:build mutants

package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// A golden template notices every difference, also those that no test asserts anything about.
func TestNoCommandComparesGoldenTemplates(t *testing.T) {
	l, err := readList("mutants.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for folder, count := range map[string]int{".": 2, "./stacks": 2} {
		goldens := goldenTests(t, folder)
		if len(goldens) != count {
			t.Errorf("the tests %q of %s compare golden templates, want %d: correct goldenTests, or the number", goldens, folder, count)
		}
		for name, line := range l.Commands {
			for command := range strings.SplitSeq(line, "&&") {
				if !slices.Contains(strings.Fields(command), folder) || !strings.Contains(command, "go test") || strings.Contains(command, "-run=Buildspec") {
					continue
				}
				skip := regexp.MustCompile(`-skip='?([^' ]+)`).FindStringSubmatch(command)
				for _, golden := range goldens {
					if skip == nil || !regexp.MustCompile(skip[1]).MatchString(golden) {
						t.Errorf("command %q runs %s, which compares golden templates: skip it", name, golden)
					}
				}
			}
		}
	}
}

// goldenTests are the tests of a folder that read stacks/testdata.
func goldenTests(t *testing.T, folder string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", "..", folder, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, function := range strings.Split(string(text), "\nfunc ")[1:] {
			name, body, _ := strings.Cut(function, "(")
			if strings.HasPrefix(name, "Test") && (strings.Contains(body, `"testdata"`) || strings.Contains(body, "equalsGolden(")) {
				found = append(found, name)
			}
		}
	}
	return found
}
