package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"flask-on-fargate/internal/assembly"
	"flask-on-fargate/internal/golden"

	"github.com/google/go-cmp/cmp"
)

var rewrite = flag.Bool("update", false, "rewrite the golden texts of guard and review")

// checkText compares with a file of testdata.
func checkText(t *testing.T, file, got string) {
	t.Helper()
	path := filepath.Join(golden.Root, "cmd", "infra", "testdata", file)
	if *rewrite {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got; -update rewrites it):\n%s", file, diff)
	}
}

var lowerRetain = map[string][]golden.Edit{
	"data": {
		golden.Set(golden.Database+".DeletionPolicy", "Delete"), golden.Set(golden.Database+".UpdateReplacePolicy", "Delete"),
		golden.Set(golden.Database+".Properties.DeletionProtection", false), golden.Set(golden.Database+".Properties.DeleteAutomatedBackups", true),
		golden.Set(golden.Bucket+".DeletionPolicy", "Delete"), golden.Set(golden.Bucket+".UpdateReplacePolicy", "Delete"),
		golden.Set(golden.Repository+".DeletionPolicy", "Delete"), golden.Set(golden.Repository+".UpdateReplacePolicy", "Delete"),
		golden.Set(golden.Credentials+".DeletionPolicy", "Delete"), golden.Set(golden.Credentials+".UpdateReplacePolicy", "Delete"),
		golden.Set(golden.Secret+".DeletionPolicy", "Delete"), golden.Set(golden.Secret+".UpdateReplacePolicy", "Delete"),
	},
	"unprotected": {},
}

func TestGuardStopsALowerRetain(t *testing.T) {
	w := guardWorld(t, &fakeStacks{}, "")
	golden.WriteAssembly(t, "base", "prod", nil)
	golden.WriteAssembly(t, "cdk.out", "prod", lowerRetain)
	code, stdout, stderr := runGuard(w, "--env", "prod", "--base", "base", "--json")
	if code != 1 {
		t.Fatalf("exit code %d; stderr: %s", code, stderr)
	}
	want := []string{
		"protection: " + golden.Bucket + ".DeletionPolicy", "protection: " + golden.Bucket + ".UpdateReplacePolicy",
		"protection: " + golden.Credentials + ".DeletionPolicy", "protection: " + golden.Credentials + ".UpdateReplacePolicy",
		"protection: " + golden.Database + ".DeleteAutomatedBackups", "protection: " + golden.Database + ".DeletionPolicy",
		"protection: " + golden.Database + ".DeletionProtection", "protection: " + golden.Database + ".UpdateReplacePolicy",
		"protection: " + golden.Repository + ".DeletionPolicy", "protection: " + golden.Repository + ".UpdateReplacePolicy",
		"protection: " + golden.Secret + ".DeletionPolicy", "protection: " + golden.Secret + ".UpdateReplacePolicy",
		"protection: flaskappproddata.TerminationProtection", "protection: flaskappprodnetwork.TerminationProtection",
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, brief(decodeVerdict(t, stdout).Stopped)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestGuardComparesWithTheDeployedStacks(t *testing.T) {
	deployed := map[string]assembly.Template{}
	for _, stack := range []string{"network", "data"} { // the other two do not exist yet
		deployed["flask-app-prod-"+stack] = golden.Template(t, "prod", stack)
	}
	w := guardWorld(t, &fakeStacks{deployed: deployed, protected: true}, "")
	golden.WriteAssembly(t, "cdk.out", "prod", nil)
	if code, stdout, stderr := runGuard(w, "--env", "prod"); code != 0 {
		t.Errorf("nothing changed: exit code %d, stdout %s, stderr %s", code, stdout, stderr)
	}
	golden.WriteAssembly(t, "cdk.out", "prod", map[string][]golden.Edit{"data": golden.Edits(golden.Set(golden.Database+".Properties.DBName", "other"))})
	code, stdout, stderr := runGuard(w, "--env", "prod")
	if code != 1 {
		t.Errorf("exit code %d; stderr: %s", code, stderr)
	}
	checkText(t, "guard/deployed.txt", stdout)

	golden.WriteAssembly(t, "cdk.out", "prod", map[string][]golden.Edit{"unprotected": {}})
	code, stdout, stderr = runGuard(w, "--env", "prod", "--json")
	want := []string{"protection: flaskappproddata.TerminationProtection", "protection: flaskappprodnetwork.TerminationProtection"}
	if diff := cmp.Diff(want, brief(decodeVerdict(t, stdout).Stopped)); code != 1 || diff != "" {
		t.Errorf("without termination protection: exit code %d, stderr %s (-want +got):\n%s", code, stderr, diff)
	}
}

func TestAnAllowanceIsValidForOneChangeOnly(t *testing.T) {
	w := guardWorld(t, &fakeStacks{}, "")
	change := func(days int) {
		golden.WriteAssembly(t, "cdk.out", "prod", map[string][]golden.Edit{"data": golden.Edits(golden.Set(golden.Database+".Properties.BackupRetentionPeriod", days))})
	}
	golden.WriteAssembly(t, "base", "prod", nil)
	change(7)
	code, stdout, _ := runGuard(w, "--env", "prod", "--base", "base")
	if code != 1 {
		t.Fatalf("exit code %d, want 1", code)
	}
	checkText(t, "guard/stopped.txt", stdout)

	// What the guard prints is pasted, and the reason is written.
	_, entry, found := strings.Cut(stdout, "with your reason:\n\n")
	if !found {
		t.Fatalf("no entry to paste in %s", stdout)
	}
	shipped, err := os.ReadFile("config/prod.yaml")
	if err != nil {
		t.Fatal(err)
	}
	golden.Put(t, "config/prod.yaml", string(shipped)+strings.Replace(entry, "reason:", "reason: A week is what the contract asks for.", 1))

	code, stdout, stderr := runGuard(w, "--env", "prod", "--base", "base")
	if code != 0 {
		t.Errorf("allowed: exit code %d, stderr %s", code, stderr)
	}
	checkText(t, "guard/allowed.txt", stdout)

	change(8)
	code, stdout, stderr = runGuard(w, "--env", "prod", "--base", "base")
	if code != 1 {
		t.Errorf("another change: exit code %d, stderr %s", code, stderr)
	}
	checkText(t, "guard/another.txt", stdout)

	change(30)
	code, stdout, stderr = runGuard(w, "--env", "prod", "--base", "base")
	if code != 0 || !strings.Contains(stdout, "fits no change here") {
		t.Errorf("no change: exit code %d, stdout %s, stderr %s", code, stdout, stderr)
	}
}

func TestGuardRefusesWrongUse(t *testing.T) {
	w := guardWorld(t, &fakeStacks{}, "")
	golden.WriteAssembly(t, "cdk.out", "dev", nil)
	for name, test := range map[string]struct {
		args []string
		want string
	}{
		"no environment":        {nil, "--env is missing"},
		"unknown environment":   {[]string{"--env", "staging"}, `there is no environment "staging"`},
		"half a change set":     {[]string{"--env", "prod", "--stack", "x"}, `--stack is "x" and --change-set is ""`},
		"stack of another":      {[]string{"--env", "prod", "--stack", "flask-app-dev-data", "--change-set", "x"}, `--stack is "flask-app-dev-data", but the stacks of --env prod begin with "flask-app-prod-"`},
		"base and account":      {[]string{"--env", "prod", "--base", "x", "--profile", "y"}, "--base compares two assemblies and asks no AWS account"},
		"synth and change set":  {[]string{"--env", "prod", "--synth", "--stack", "x", "--change-set", "y"}, "--synth makes an assembly, but --change-set looks at none"},
		"synth over the base":   {[]string{"--env", "prod", "--synth", "--base", "./cdk.out"}, `--base is "./cdk.out", which --synth overwrites`},
		"synth over a part":     {[]string{"--env", "prod", "--synth", "--base", "."}, `--base is ".", which --synth overwrites`},
		"base of another":       {[]string{"--env", "prod", "--base", "cdk.out"}, `"cdk.out" has the environments dev, and not prod`},
		"role and profile":      {[]string{"--env", "prod", "--role-arn", "x", "--profile", "y"}, "--role-arn and --profile are both given"},
		"argument":              {[]string{"prod"}, `["prod"] given, but the command takes flags only`},
		"base that is nothing":  {[]string{"--env", "prod", "--base", "nowhere"}, `"nowhere" is neither a folder nor a git revision`},
		"other environment":     {[]string{"--env", "prod"}, `"cdk.out" has the environments dev, and not prod: run ` + "`make synth ENV=prod`"},
		"folder without one":    {[]string{"--env", "prod", "--app", "config"}, `"config" is not a complete cloud assembly`},
		"not installed program": {[]string{"--env", "prod", "--app", "prod", "--base", "prod"}, "run `make templatediff`"},
	} {
		t.Run(name, func(t *testing.T) {
			w := w
			if name == "not installed program" {
				golden.WriteAssembly(t, "prod", "prod", nil)
				w.compare = compareIn(".")
			}
			if code, stdout, stderr := runGuard(w, test.args...); code != 2 || !strings.Contains(stderr, test.want) {
				t.Errorf("exit code %d, stdout %q, stderr %q, want it to contain %q", code, stdout, stderr, test.want)
			}
		})
	}
}

func TestWrongCredentialsAreNoVerdict(t *testing.T) {
	w := guardWorld(t, &fakeStacks{}, "account: \"222222222222\"\n")
	golden.WriteAssembly(t, "cdk.out", "prod", nil)
	if code, _, stderr := runGuard(w, "--env", "prod"); code != 2 || !strings.Contains(stderr, "environment prod is in account 222222222222 by config/prod.yaml") {
		t.Errorf("exit code %d, stderr %s", code, stderr)
	}
}

// revisions makes a git repository whose `make synth` copies the folder assemblies/ENV to cdk.out. It has two commits: the first
// is tagged before.
func revisions(t *testing.T, before, after map[string]map[string][]golden.Edit) {
	t.Helper()
	golden.Put(t, "Makefile", "synth:\n\t@echo \"copying $(ENV), validation $$CDK_VALIDATION\" >&2 && test -z \"$$BASE$(BASE)\" && test \"$$CDK_VALIDATION\" = false && cp -r assemblies/$(ENV) cdk.out && echo a summary\n")
	golden.Put(t, ".gitignore", "cdk.out\n")
	run := func(args ...string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "git", append([]string{"-c", "user.name=Ada", "-c", "user.email=ada@example.com", "-c", "init.defaultBranch=main"}, args...)...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %s: %v\n%s", args, err, out)
		}
	}
	run("init", "--quiet")
	for i, edits := range []map[string]map[string][]golden.Edit{before, after} {
		for env, e := range edits {
			golden.WriteAssembly(t, filepath.Join("assemblies", env), env, e)
		}
		run("add", "--all")
		run("commit", "--quiet", "--allow-empty", "--message", fmt.Sprint("commit ", i))
		if i == 0 {
			run("tag", "before")
		}
	}
}

func TestGuardSynthesizesARevision(t *testing.T) {
	w := guardWorld(t, &fakeStacks{}, "")
	t.Setenv("MAKEFLAGS", "-- BASE=before")
	t.Setenv("BASE", "before")
	revisions(t, map[string]map[string][]golden.Edit{"prod": nil}, nil)
	golden.WriteAssembly(t, "cdk.out", "prod", map[string][]golden.Edit{"data": golden.Edits(golden.Set(golden.Database+".Properties.DBName", "other"))})
	w.compare = compareIn(filepath.Join(golden.Root, templateDiffDir)) // the program of its own, as outside the tests
	t.Setenv("TMPDIR", t.TempDir())

	code, stdout, stderr := runGuard(w, "--env", "prod", "--base", "before")
	if code != 1 || !strings.Contains(stdout, "(cdk.out with before)") {
		t.Errorf("exit code %d, stdout %s", code, stdout)
	}
	if want := regexp.MustCompile(`^Synthesizing prod of before \([0-9a-f]{12}\), which builds it first: up to three minutes\n$`); !want.MatchString(stderr) {
		t.Errorf("progress is %q", stderr)
	}
	left, err := os.ReadDir(os.Getenv("TMPDIR"))
	if err != nil || len(left) != 0 {
		t.Errorf("left in the temporary folder: %v, %v", left, err)
	}
	if trees, err := git(t.Context(), "worktree", "list"); err != nil || strings.Count(trees, "\n") != 0 {
		t.Errorf("worktrees left: %s, %v", trees, err)
	}
	if _, err := os.Stat("cdk.out"); err != nil {
		t.Errorf("the assembly that would be deployed: %v", err)
	}
}

func TestGuardSaysWhyARevisionCannotBeSynthesized(t *testing.T) {
	w := guardWorld(t, &fakeStacks{}, "")
	revisions(t, nil, nil) // no assembly to copy
	golden.WriteAssembly(t, "cdk.out", "prod", nil)
	t.Setenv("TMPDIR", t.TempDir())
	code, _, stderr := runGuard(w, "--env", "prod", "--base", "before")
	if code != 2 || !strings.Contains(stderr, "synthesize the revision before: make synth ENV=prod: exit status 2\ncopying prod, validation false\n") {
		t.Errorf("exit code %d, stderr %s", code, stderr)
	}
	if left, err := os.ReadDir(os.Getenv("TMPDIR")); err != nil || len(left) != 0 {
		t.Errorf("left in the temporary folder: %v, %v", left, err)
	}
}

// putCLI puts a CDK CLI in place that only records how it was called, and then copies the folder assemblies/ENV if there is one.
func putCLI(t *testing.T) {
	t.Helper()
	golden.Put(t, "node_modules/.bin/cdk", `#!/bin/sh
echo "$@, validation $CDK_VALIDATION" | tee -a called
for argument; do case "$argument" in env=*) env="${argument#env=}";; esac; done
mkdir -p "$6" && cp "assemblies/$env"/* "$6"
`)
	if err := os.Chmod("node_modules/.bin/cdk", 0o755); err != nil {
		t.Fatal(err)
	}
}

// What is wrong shows before the minutes of a synth, this project's or the base's.
func TestWhatIsWrongShowsBeforeAnySynth(t *testing.T) {
	w := guardWorld(t, &fakeStacks{}, "")
	putCLI(t)
	revisions(t, map[string]map[string][]golden.Edit{"prod": nil}, nil)
	shipped, err := os.ReadFile("config/prod.yaml")
	if err != nil {
		t.Fatal(err)
	}
	golden.Put(t, "config/later.yaml", string(shipped))
	golden.WriteAssembly(t, "dev", "dev", nil)
	for name, test := range map[string]struct {
		args []string
		want string
	}{
		"guard, unknown environment":    {[]string{"guard", "--synth", "--env", "staging"}, `there is no environment "staging"`},
		"guard, no such base":           {[]string{"guard", "--synth", "--env", "prod", "--base", "nowhere"}, `"nowhere" is neither a folder nor a git revision`},
		"guard, base without assembly":  {[]string{"guard", "--synth", "--env", "prod", "--base", "config"}, `"config" is not a complete cloud assembly`},
		"guard, base of another":        {[]string{"guard", "--synth", "--env", "prod", "--base", "dev"}, `"dev" has the environments dev, and not prod`},
		"guard, base without it":        {[]string{"guard", "--synth", "--env", "later", "--base", "before"}, "the revision before has no environment later"},
		"guard, assembly of another":    {[]string{"guard", "--env", "prod", "--app", "dev", "--base", "before"}, `"dev" has the environments dev, and not prod`},
		"guard, no assembly":            {[]string{"guard", "--env", "prod", "--app", "nowhere", "--base", "before"}, `"nowhere" is not a complete cloud assembly`},
		"review, unknown format":        {[]string{"review", "--synth", "--base", "before", "--format", "html"}, `--format is "html": choose text or markdown`},
		"review, no such base":          {[]string{"review", "--synth", "--base", "nowhere"}, `"nowhere" is neither a folder nor a git revision`},
		"review, base without assembly": {[]string{"review", "--synth", "--base", "config"}, `"config" is not a complete cloud assembly`},
		"review, no assembly":           {[]string{"review", "--app", "nowhere", "--base", "before"}, `"nowhere" is not a complete cloud assembly`},
		"review, synth and assembly":    {[]string{"review", "--synth", "--app", "dev", "--base", "before"}, "--app names what is there already, but --synth makes it"},
	} {
		t.Run(name, func(t *testing.T) {
			var out, problems strings.Builder
			code := runIn(w, test.args, nil, &out, &problems)
			if code != 2 || !strings.Contains(problems.String(), test.want) || strings.Contains(problems.String(), "Synthesizing") {
				t.Errorf("exit code %d, stderr %q, want it to contain %q and no progress", code, problems.String(), test.want)
			}
			if called, err := os.ReadFile("called"); err == nil {
				t.Errorf("the CDK CLI was called: %s", called)
			}
		})
	}
}

func TestGuardSynthesizesFirst(t *testing.T) {
	w := guardWorld(t, &fakeStacks{}, "")
	t.Setenv("CDK_VALIDATION", "by the user")
	code, _, stderr := runGuard(w, "--env", "prod", "--synth")
	if code != 2 || !strings.Contains(stderr, "the CDK CLI is not installed") || !strings.Contains(stderr, "run `make app`") {
		t.Errorf("without the CLI: exit code %d, stderr %s", code, stderr)
	}
	putCLI(t)
	code, _, stderr = runGuard(w, "--env", "prod", "--synth")
	if code != 2 || !strings.Contains(stderr, "cdk synth of environment prod: exit status 1\nsynth --quiet --context env=prod --output cdk.out, validation by the user\n") {
		t.Errorf("the synth fails: exit code %d, stderr %s", code, stderr)
	}
	golden.WriteAssembly(t, "base", "prod", nil)
	golden.WriteAssembly(t, "assemblies/prod", "prod", nil)
	if code, _, stderr = runGuard(w, "--env", "prod", "--synth", "--base", "base"); code != 0 || stderr != "Synthesizing prod\n" {
		t.Errorf("exit code %d, stderr %q", code, stderr)
	}
}
