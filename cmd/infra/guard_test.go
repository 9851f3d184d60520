package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"flask-on-fargate/internal/account"
	"flask-on-fargate/internal/assembly"
	"flask-on-fargate/internal/change"
	"flask-on-fargate/internal/clock"
	"flask-on-fargate/internal/folders"
	"flask-on-fargate/internal/guard"
	"flask-on-fargate/internal/test/golden"

	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"
)

// guardWorld is where the guard runs in tests: in a folder with config/prod.yaml, and with CloudFormation as given.
func guardWorld(t *testing.T, api *golden.Stacks, more string) world {
	t.Helper()
	t.Chdir(t.TempDir())
	golden.Put(t, "config/prod.yaml", shipped(t, "prod")+more)
	now := time.Date(2026, 11, 24, 9, 0, 0, 0, time.UTC)
	return world{
		connect: func(context.Context, string, string) (account.Account, error) {
			return account.Account{Identity: api, Stacks: api}, nil
		},
		assume: func(_ context.Context, region, role string) (change.StackReader, error) {
			if region != "us-east-1" || role != lookupRole {
				return nil, fmt.Errorf("region %s, role %s", region, role)
			}
			return api, nil
		},
		compare: compare,
		Clock:   clock.Manual(&now),
	}
}

// compare asks AWS's resource schemas.
var compare = (&change.Program{Dir: filepath.Join(golden.Root, change.ProgramDir)}).Compare

// shipped is the file of an environment of this project.
func shipped(t *testing.T, env string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(golden.Root, folders.Config, env+".yaml"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

const lookupRole = "arn:aws:iam::111111111111:role/cdk-hnb659fds-lookup-role-111111111111-us-east-1"

func runGuard(w world, args ...string) (code int, stdout, stderr string) {
	var out, problems bytes.Buffer
	code = runIn(w, append([]string{"guard"}, args...), strings.NewReader(""), &out, &problems)
	return code, out.String(), problems.String()
}

func askChangeSet(w world, stack string, more ...string) (code int, stdout, stderr string) {
	return runGuard(w, append([]string{"--env", "prod", "--stack", "flask-app-prod-" + stack, "--change-set", "PipelineChange", "--role-arn", lookupRole}, more...)...)
}

func decodeVerdict(t *testing.T, text string) guard.Verdict {
	t.Helper()
	var v guard.Verdict
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%v in %q", err, text)
	}
	return v
}

// brief writes findings as "rule: logical id.property".
func brief(findings []guard.Finding) []string {
	list := []string{}
	for _, f := range findings {
		list = append(list, fmt.Sprintf("%s: %s.%s", f.Rule, f.LogicalID, f.Property))
	}
	slices.Sort(list)
	return list
}

func TestGuardOfAChangeSet(t *testing.T) {
	for name, test := range map[string]struct {
		file string
		edit golden.Edit
		code int
		want []string
	}{
		"stops":  {"engine", golden.Set(golden.Database+".Properties.Engine", "mariadb"), 1, []string{"replacement: " + golden.Database + ".Engine"}},
		"passes": {"in-progress", golden.Set(golden.Database+".Properties.DBInstanceClass", "db.m7g.large"), 0, []string{}},
	} {
		t.Run(name, func(t *testing.T) {
			api := &golden.Stacks{
				Deployed:  map[string]assembly.Template{"flask-app-prod-data": golden.Template(t, "prod", "data")},
				ChangeSet: golden.Template(t, "prod", "data", test.edit),
				Pages:     golden.Recorded(t, test.file),
			}
			w := guardWorld(t, api, "")
			roles := 0
			assume := w.assume
			w.assume = func(ctx context.Context, region, role string) (change.StackReader, error) {
				roles++
				return assume(ctx, region, role)
			}
			code, stdout, stderr := askChangeSet(w, "data", "--json")
			if diff := cmp.Diff(test.want, brief(decodeVerdict(t, stdout).Stopped)); code != test.code || diff != "" {
				t.Errorf("exit code %d, want %d; stderr %s (-want +got):\n%s", code, test.code, stderr, diff)
			}
			if roles != 1 {
				t.Errorf("%d roles were assumed, want one", roles)
			}
		})
	}
}

func TestGuardStopsALowerRetain(t *testing.T) {
	w := guardWorld(t, &golden.Stacks{}, "")
	golden.WriteAssembly(t, "base", "prod", nil)
	golden.WriteAssembly(t, "cdk.out", "prod", golden.LowerRetain)
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
	w := guardWorld(t, &golden.Stacks{Deployed: deployed, Protected: true}, "")
	golden.WriteAssembly(t, "cdk.out", "prod", nil)
	if code, stdout, stderr := runGuard(w, "--env", "prod"); code != 0 {
		t.Errorf("nothing changed: exit code %d, stdout %s, stderr %s", code, stdout, stderr)
	}
	golden.WriteAssembly(t, "cdk.out", "prod", map[string][]golden.Edit{"data": golden.Edits(golden.Set(golden.Database+".Properties.DBName", "other"))})
	code, stdout, stderr := runGuard(w, "--env", "prod")
	if code != 1 {
		t.Errorf("exit code %d; stderr: %s", code, stderr)
	}
	golden.CheckText(t, "guard/deployed.txt", stdout)

	golden.WriteAssembly(t, "cdk.out", "prod", map[string][]golden.Edit{"unprotected": {}})
	code, stdout, stderr = runGuard(w, "--env", "prod", "--json")
	want := []string{"protection: flaskappproddata.TerminationProtection", "protection: flaskappprodnetwork.TerminationProtection"}
	if diff := cmp.Diff(want, brief(decodeVerdict(t, stdout).Stopped)); code != 1 || diff != "" {
		t.Errorf("without termination protection: exit code %d, stderr %s (-want +got):\n%s", code, stderr, diff)
	}
}

func TestAnAllowanceIsValidForOneChangeOnly(t *testing.T) {
	w := guardWorld(t, &golden.Stacks{}, "")
	change := func(days int) {
		golden.WriteAssembly(t, "cdk.out", "prod", map[string][]golden.Edit{"data": golden.Edits(golden.Set(golden.Database+".Properties.BackupRetentionPeriod", days))})
	}
	golden.WriteAssembly(t, "base", "prod", nil)
	change(7)
	code, stdout, _ := runGuard(w, "--env", "prod", "--base", "base")
	if code != 1 {
		t.Fatalf("exit code %d, want 1", code)
	}
	golden.CheckText(t, "guard/stopped.txt", stdout)

	// What the guard prints is pasted, and the reason is written.
	_, entry, found := strings.Cut(stdout, "with your reason:\n\n")
	if !found {
		t.Fatalf("no entry to paste in %s", stdout)
	}
	golden.Put(t, "config/prod.yaml", shipped(t, "prod")+strings.Replace(entry, "reason:", "reason: A week is what the contract asks for.", 1))

	code, stdout, stderr := runGuard(w, "--env", "prod", "--base", "base")
	if code != 0 {
		t.Errorf("allowed: exit code %d, stderr %s", code, stderr)
	}
	golden.CheckText(t, "guard/allowed.txt", stdout)

	change(8)
	code, stdout, stderr = runGuard(w, "--env", "prod", "--base", "base")
	if code != 1 {
		t.Errorf("another change: exit code %d, stderr %s", code, stderr)
	}
	golden.CheckText(t, "guard/another.txt", stdout)

	change(30)
	code, stdout, stderr = runGuard(w, "--env", "prod", "--base", "base")
	if code != 0 || !strings.Contains(stdout, "fits no change here") {
		t.Errorf("no change: exit code %d, stdout %s, stderr %s", code, stdout, stderr)
	}
}

func TestGuardRefusesWrongUse(t *testing.T) {
	w := guardWorld(t, &golden.Stacks{}, "")
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
				w.compare = (&change.Program{Dir: "."}).Compare
			}
			if code, stdout, stderr := runGuard(w, test.args...); code != 2 || !strings.Contains(stderr, test.want) {
				t.Errorf("exit code %d, stdout %q, stderr %q, want it to contain %q", code, stdout, stderr, test.want)
			}
		})
	}
}

func TestWrongCredentialsAreNoVerdict(t *testing.T) {
	w := guardWorld(t, &golden.Stacks{}, "account: \"222222222222\"\n")
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
	w := guardWorld(t, &golden.Stacks{}, "")
	t.Setenv("MAKEFLAGS", "-- BASE=before")
	t.Setenv("BASE", "before")
	revisions(t, map[string]map[string][]golden.Edit{"prod": nil}, nil)
	golden.WriteAssembly(t, "cdk.out", "prod", map[string][]golden.Edit{"data": golden.Edits(golden.Set(golden.Database+".Properties.DBName", "other"))})
	w.compare = (&change.Program{Dir: filepath.Join(golden.Root, change.ProgramDir)}).Compare // the program of its own, as outside the tests
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
	if trees, err := exec.CommandContext(t.Context(), "git", "worktree", "list").Output(); err != nil || strings.Count(string(trees), "\n") != 1 {
		t.Errorf("worktrees left: %s, %v", trees, err)
	}
	if _, err := os.Stat("cdk.out"); err != nil {
		t.Errorf("the assembly that would be deployed: %v", err)
	}
}

func TestGuardSaysWhyARevisionCannotBeSynthesized(t *testing.T) {
	w := guardWorld(t, &golden.Stacks{}, "")
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
	w := guardWorld(t, &golden.Stacks{}, "")
	putCLI(t)
	revisions(t, map[string]map[string][]golden.Edit{"prod": nil}, nil)
	golden.Put(t, "config/later.yaml", shipped(t, "prod"))
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
	w := guardWorld(t, &golden.Stacks{}, "")
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

func TestGuardSaysWhenItCannotTell(t *testing.T) {
	for name, test := range map[string]struct {
		api  *golden.Stacks
		want string
	}{
		"failed":   {&golden.Stacks{Pages: golden.Recorded(t, "failed")}, "its status is FAILED, not CREATE_COMPLETE: Export flask-app-prod-network"},
		"missing":  {&golden.Stacks{}, "change set PipelineChange of stack flask-app-prod-data: it does not exist"},
		"too slow": {&golden.Stacks{Pages: slow(t)}, "it is still CREATE_PENDING after 10m0s"},
		"refused": {&golden.Stacks{Pages: golden.Recorded(t, "creation"), Fault: &smithy.GenericAPIError{Code: "AccessDenied", Message: "is not authorized"}},
			"look for stack flask-app-prod-data: api error AccessDenied"},
	} {
		t.Run(name, func(t *testing.T) {
			w := guardWorld(t, test.api, "")
			code, stdout, stderr := askChangeSet(w, "data", "--json")
			if code != 2 || !strings.Contains(stderr, test.want) || !strings.Contains(stdout, `"verdict": "unknown"`) {
				t.Errorf("exit code %d, stdout %s, stderr %s", code, stdout, stderr)
			}
		})
	}
}

// CodePipeline may remove a change set that has no changes.
func TestGuardPassesWhereThereIsNothingToExecute(t *testing.T) {
	w := guardWorld(t, &golden.Stacks{Deployed: map[string]assembly.Template{"flask-app-prod-data": {"Resources": map[string]any{}}}}, "")
	code, stdout, stderr := askChangeSet(w, "data")
	if code != 0 || !strings.Contains(stderr, "it does not exist") || !strings.Contains(stderr, "there is nothing to execute") {
		t.Errorf("exit code %d, stdout %s, stderr %s", code, stdout, stderr)
	}
}

// slow returns the answers about a change set that is never there.
func slow(t *testing.T) []json.RawMessage {
	t.Helper()
	var pages []json.RawMessage
	for range 300 {
		pages = append(pages, golden.Recorded(t, "in-progress")[0])
	}
	return pages
}

func TestGuardLetsAStackBeCreated(t *testing.T) {
	api := &golden.Stacks{Review: true, Pages: golden.Recorded(t, "creation")}
	if code, stdout, stderr := askChangeSet(guardWorld(t, api, ""), "data"); code != 0 || !strings.HasPrefix(stdout, "FINE environment prod") {
		t.Errorf("exit code %d, stdout %s, stderr %s", code, stdout, stderr)
	}
}
