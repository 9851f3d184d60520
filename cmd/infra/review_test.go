package main

import (
	"bytes"
	"os"
	"regexp"
	"strings"
	"testing"

	"flask-on-fargate/internal/test/golden"
)

func TestReviewOfARevision(t *testing.T) {
	w := guardWorld(t, &golden.Stacks{}, "")
	golden.Put(t, "config/dev.yaml", shipped(t, "dev"))
	revisions(t, map[string]map[string][]golden.Edit{"prod": nil, "dev": nil}, nil)
	golden.WriteAssembly(t, "with/prod", "prod", nil)
	golden.WriteAssembly(t, "with/dev", "dev", nil)
	var out, problems bytes.Buffer
	if code := runIn(w, []string{"review", "--format", "markdown", "--base", "before", "--app", "with"}, nil, &out, &problems); code != 0 {
		t.Errorf("exit code %d, stderr %s", code, &problems)
	}
	golden.CheckText(t, "review/revision.md", out.String())
}

func TestReviewRefusesWrongUse(t *testing.T) {
	w := guardWorld(t, &golden.Stacks{}, "")
	golden.WriteAssembly(t, "cdk.out", "prod", nil)
	for name, test := range map[string]struct {
		args []string
		want string
	}{
		"no base":        {nil, "--base is missing"},
		"unknown format": {[]string{"--base", "cdk.out", "--format", "html"}, `--format is "html": choose text or markdown`},
		"argument":       {[]string{"main"}, `["main"] given, but the command takes flags only`},
		"no such base":   {[]string{"--base", "nowhere"}, `"nowhere" is neither a folder nor a git revision`},
	} {
		t.Run(name, func(t *testing.T) {
			var out, problems bytes.Buffer
			if code := runIn(w, append([]string{"review"}, test.args...), nil, &out, &problems); code != 2 || !strings.Contains(problems.String(), test.want) {
				t.Errorf("exit code %d, stderr %q, want it to contain %q", code, &problems, test.want)
			}
		})
	}
}

// An environment that the change removes is in the base only.
func TestReviewSynthesizesEveryEnvironment(t *testing.T) {
	w := guardWorld(t, &golden.Stacks{}, "")
	golden.Put(t, "config/dev.yaml", shipped(t, "dev"))
	revisions(t, map[string]map[string][]golden.Edit{"prod": nil, "dev": nil}, nil)
	putCLI(t)
	if err := os.Remove("config/dev.yaml"); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", t.TempDir())
	var out, problems bytes.Buffer
	if code := runIn(w, []string{"review", "--synth", "--base", "before"}, nil, &out, &problems); code != 0 {
		t.Errorf("exit code %d, stderr %s", code, &problems)
	}
	for _, want := range []string{"Compared with before. Nothing changed in prod.\n\nEnvironment dev\n", "Stack flask-app-dev-data (gone from the project)\n    its 19 resources stay as they are"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in the report:\n%s", want, &out)
		}
	}
	want := regexp.MustCompile(`^Synthesizing prod\nSynthesizing dev of before \(.{12}\), which builds it first: up to three minutes\nSynthesizing prod of before \(.{12}\)\n$`)
	if !want.Match(problems.Bytes()) {
		t.Errorf("progress is %q", &problems)
	}
	if called, err := os.ReadFile("called"); err != nil || !strings.Contains(string(called), ", validation false") {
		t.Errorf("the CDK CLI was called with %s, %v", called, err)
	}
	if left, err := os.ReadDir(os.Getenv("TMPDIR")); err != nil || len(left) != 0 {
		t.Errorf("left in the temporary folder: %v, %v", left, err)
	}
	golden.Put(t, "config/dev.yaml", "regoin: x\n")
	problems.Reset()
	if code := runIn(w, []string{"review", "--synth", "--base", "before"}, nil, &out, &problems); code != 2 || strings.Contains(problems.String(), "Synthesizing") || !strings.Contains(problems.String(), "regoin") {
		t.Errorf("a wrong file: exit code %d, stderr %s", code, &problems)
	}
}
