package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"flask-on-fargate/internal/assembly"
	"flask-on-fargate/internal/terminal"

	"github.com/fatih/color"
)

// The assemblies in testdata were written by aws-cdk-lib 2.270.0 and trimmed to what a summary can show: "direct" has
// two stacks under a construct "dev"; "delivery" has a stack and, in a Stage "prod", the same two.
func TestSummaryShowsAnAssembly(t *testing.T) {
	for _, name := range []string{"direct", "delivery"} {
		t.Run(name, func(t *testing.T) {
			want, err := os.ReadFile(filepath.Join("testdata", name+".txt"))
			if err != nil {
				t.Fatal(err)
			}
			// As a process, because its standard output is then no terminal.
			cmd := infra(t, "", nil, "summary", filepath.Join("testdata", name))
			got, err := cmd.Output()
			if err != nil {
				t.Fatal(err)
			}
			if string(got) != string(want) {
				t.Errorf("got:\n%s\nwant:\n%s", got, want)
			}
			for line := range strings.Lines(string(got)) {
				if len(line) > terminal.Width+1 && !strings.Contains(line, "https://") {
					t.Errorf("line of %d columns: %s", len(line), line)
				}
			}
		})
	}
}

func TestSummaryColoursOnlyHeadings(t *testing.T) {
	defer func(old bool) { color.NoColor = old }(color.NoColor)
	color.NoColor = false
	var out bytes.Buffer
	if code := run([]string{"summary", "testdata/direct"}, &out, &out); code != 0 {
		t.Fatalf("exit code %d: %s", code, &out)
	}
	var headings []string
	for _, match := range regexp.MustCompile(`\x1b\[1[;0-9]*m(.*?)\x1b`).FindAllStringSubmatch(out.String(), -1) {
		headings = append(headings, match[1])
	}
	want := "Environment dev|Total:|Warnings|Next"
	if os.Getenv("NO_COLOR") != "" {
		want = ""
	}
	if got := strings.Join(headings, "|"); got != want {
		t.Errorf("coloured: %q, want %q", got, want)
	}
}

func TestSummaryBreaksLongNames(t *testing.T) {
	stacks := []assembly.Stack{{
		Name: strings.Repeat("n", 128), Path: "dev/Data", Resources: 500,
		Outputs: []assembly.Output{{Name: "AlbDnsName", Description: strings.Repeat("word ", 40)}},
	}}
	for line := range strings.Lines(stackTable(stacks)) {
		if len(strings.TrimRight(line, "\n")) > terminal.Width {
			t.Errorf("line of %d columns: %s", len(line), line)
		}
	}
}

func TestValueKind(t *testing.T) {
	for want, value := range map[string]any{
		"eu-central-1":      "eu-central-1",
		"42":                42.0,
		"Ref Bucket":        map[string]any{"Ref": "Bucket"},
		"Fn::GetAtt Lb.DNS": map[string]any{"Fn::GetAtt": []any{"Lb", "DNS"}},
		"Fn::Join":          map[string]any{"Fn::Join": []any{"", []any{"http://"}}},
		"Fn::GetAtt":        map[string]any{"Fn::GetAtt": "Lb.DNS"},
	} {
		if got := valueKind(value); got != want {
			t.Errorf("valueKind(%v) = %q, want %q", value, got, want)
		}
	}
}
