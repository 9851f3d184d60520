package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// fakeApp behaves as an application under the CDK CLI does: it writes a validation report if the validation is on,
// and exits with 0 whatever the report says. It notes how it was run, and runs the file "hook" if there is one.
const fakeApp = `#!/bin/sh
echo "$$ ${CDK_VALIDATION-unset}" >> runs
[ ! -f hook ] || . ./hook
if [ "$CDK_VALIDATION" != false ] && [ -f report.json ]; then cp report.json "$CDK_OUTDIR/validation-report.json"; fi
exit $(cat exitcode)
`

const (
	cleanReportJSON = `{"version": "54.0.0", "title": "Validation Report", "pluginReports": []}`
	passOnStderr    = "Validating the templates with AWS's rules: these inputs have not passed them yet.\n"
)

// project is a directory with a fake application that `infra validate-once` runs.
type project struct {
	t    *testing.T
	dir  string
	env  []string // beyond PATH
	args []string
}

func newProject(t *testing.T) *project {
	return &project{
		t: t,
		dir: write(t, map[string]string{
			"app":                 fakeApp,
			"exitcode":            "0",
			"report.json":         cleanReportJSON,
			"cdk.out/x":           "",
			"config/dev.yaml":     "region: eu-central-1",
			"config/sub/deep.txt": "deep",
			"cdk.json":            "{}",
			"overflow.json":       `{"large": 1}`,
		}),
		env:  []string{"CDK_OUTDIR=cdk.out", `CDK_CONTEXT_JSON={"env":"dev"}`, "CONTEXT_OVERFLOW_LOCATION_ENV=overflow.json"},
		args: []string{"--input", "config", "--input", "cdk.json", "--", "./app", "one"},
	}
}

func (p *project) path(name string) string { return filepath.Join(p.dir, name) }

func (p *project) write(name, content string) {
	p.t.Helper()
	if err := os.WriteFile(p.path(name), []byte(content), 0o755); err != nil {
		p.t.Fatal(err)
	}
}

func (p *project) must(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

// synth runs the application and returns the exit code, what CDK_VALIDATION was for it, and standard error.
func (p *project) synth() (code int, validation, stderr string) {
	p.t.Helper()
	p.must(os.RemoveAll(p.path("runs")))
	cmd := infra(p.t, p.dir, p.env, append([]string{"validate-once"}, p.args...)...)
	var errors bytes.Buffer
	cmd.Stderr = &errors
	code = exitStatus(p.t, cmd.Run())
	runs, err := os.ReadFile(p.path("runs"))
	if err != nil {
		p.t.Fatalf("the application did not run, exit code %d: %s", code, &errors)
	}
	if fields := strings.Fields(string(runs)); len(fields) == 2 {
		return code, fields[1], errors.String()
	}
	p.t.Fatalf("the application ran more than once: %s", runs)
	return
}

func exitStatus(t *testing.T, err error) int {
	t.Helper()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return exit.ExitCode()
	}
	t.Fatal(err)
	return 0
}

// wantValidated fails the test unless the next synth validates, and says so.
func (p *project) wantValidated() {
	p.t.Helper()
	if code, validation, stderr := p.synth(); code != 0 || validation != "unset" || stderr != passOnStderr {
		p.t.Fatalf("exit code %d, CDK_VALIDATION %s, stderr %q; want a validation", code, validation, stderr)
	}
}

// wantSkipped fails the test unless the next synth does not validate, and says nothing.
func (p *project) wantSkipped() {
	p.t.Helper()
	if code, validation, stderr := p.synth(); code != 0 || validation != "false" || stderr != "" {
		p.t.Fatalf("exit code %d, CDK_VALIDATION %s, stderr %q; want no validation", code, validation, stderr)
	}
}

func TestValidateOnceValidatesAgainAfter(t *testing.T) {
	for name, change := range map[string]func(p *project){
		"a changed binary":            func(p *project) { p.write("app", fakeApp+"# changed\n") },
		"another argument":            func(p *project) { p.args[len(p.args)-1] = "two" },
		"one more argument":           func(p *project) { p.args = append(p.args, "two") },
		"a changed input file":        func(p *project) { p.write("cdk.json", "{ }") },
		"a changed file in an input":  func(p *project) { p.write("config/sub/deep.txt", "DEEP") },
		"an added file":               func(p *project) { p.write("config/prod.yaml", "") },
		"a removed file":              func(p *project) { p.must(os.Remove(p.path("config/sub/deep.txt"))) },
		"a renamed file":              func(p *project) { p.must(os.Rename(p.path("config/dev.yaml"), p.path("config/uat.yaml"))) },
		"one input less":              func(p *project) { p.args = p.args[2:] },
		"another context":             func(p *project) { p.env[1] = `CDK_CONTEXT_JSON={"env":"prod"}` },
		"another overflowing context": func(p *project) { p.write("overflow.json", `{"large": 2}`) },
		"a new CDK_ variable":         func(p *project) { p.env = append(p.env, "CDK_DEFAULT_ACCOUNT=111122223333") },
		"a deleted stamp":             func(p *project) { p.must(os.Remove(p.path(".cdk-validated"))) },
		"a damaged stamp":             func(p *project) { p.must(os.Truncate(p.path(".cdk-validated"), 20)) },
		"garbage in the stamp":        func(p *project) { p.write(".cdk-validated", "\x00\xff h1:\n\n") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newProject(t)
			p.wantValidated()
			p.wantSkipped()
			change(p)
			p.wantValidated()
			p.wantSkipped()
		})
	}
}

func TestValidateOnceDoesNotValidateAgainAfter(t *testing.T) {
	for name, change := range map[string]func(p *project){
		"another output directory": func(p *project) {
			p.must(os.Mkdir(p.path("other.out"), 0o755))
			p.env[0] = "CDK_OUTDIR=other.out"
			p.env = append(p.env, "CDK_ERROR_FILE=other.out/error.txt", "CDK_PERF_COUNTERS_FILE=other.out/performance-counters.json")
		},
		"a variable that is not CDK's": func(p *project) { p.env = append(p.env, "EDITOR=vi") },
		"a file that is no input":      func(p *project) { p.write("README.md", "") },
		"a touched file":               func(p *project) { p.write("cdk.json", "{}") },
		"a move to another folder": func(p *project) {
			moved := filepath.Join(p.t.TempDir(), "moved")
			p.must(os.Rename(p.dir, moved))
			p.dir = moved
		},
		"another environment in between": func(p *project) {
			p.env[1] = `CDK_CONTEXT_JSON={"env":"prod"}`
			p.wantValidated()
			p.env[1] = `CDK_CONTEXT_JSON={"env":"dev"}`
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newProject(t)
			p.wantValidated()
			change(p)
			p.wantSkipped()
		})
	}
}

func TestValidateOnceRemembersNoPassWhen(t *testing.T) {
	report := func(plugin, conclusion, violations string) string {
		return fmt.Sprintf(`{"pluginReports": [{"pluginName": %q, "conclusion": %q, "violations": [%s]}]}`, plugin, conclusion, violations)
	}
	for name, arrange := range map[string]func(p *project){
		"the report has an error, although the application exits with 0": func(p *project) {
			p.write("report.json", report("CloudFormation Validate", "failure", `{"ruleName": "F3002"}`))
		},
		"the report has a warning": func(p *project) {
			p.write("report.json", report("CloudFormation Validate", "success", `{"ruleName": "W9008"}`))
		},
		"a plugin failed without a finding": func(p *project) { p.write("report.json", report("Custom", "failure", "")) },
		"the report is not one":             func(p *project) { p.write("report.json", "{}") },
		"the report is from an earlier run": func(p *project) {
			p.must(os.Rename(p.path("report.json"), p.path("cdk.out/validation-report.json")))
		},
		"there is no output directory": func(p *project) { p.env = p.env[1:]; p.must(os.Remove(p.path("report.json"))) },
		"an input changed meanwhile":   func(p *project) { p.write("hook", "echo x >> config/dev.yaml") },
		"an input vanished meanwhile": func(p *project) {
			p.write("config/hook-made", "")
			p.write("hook", "rm config/hook-made")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newProject(t)
			arrange(p)
			p.wantValidated()
			if stamped, err := os.ReadFile(p.path(".cdk-validated")); err == nil {
				t.Errorf("the stamp exists: %s", stamped)
			}
		})
	}
}

func TestValidateOnceNeverStampsAFailingApplication(t *testing.T) {
	p := newProject(t)
	p.write("exitcode", "7")
	for range 2 {
		if code, validation, _ := p.synth(); code != 7 || validation != "unset" {
			t.Fatalf("exit code %d, CDK_VALIDATION %s; want 7 and a validation each time", code, validation)
		}
	}
	p.write("exitcode", "0")
	p.wantValidated()
}

func TestValidateOnceStampsAReportWithAnnotationsAndAcknowledgedFindingsOnly(t *testing.T) {
	p := newProject(t)
	p.write("report.json", `{"pluginReports": [
		{"pluginName": "CloudFormation Validate", "conclusion": "success", "violations": [], "suppressedViolations": [{"ruleName": "E9006"}]},
		{"pluginName": "Construct Annotations", "conclusion": "success", "violations": [{"ruleName": "flask:extendedSupport"}]}]}`)
	p.wantValidated()
	p.wantSkipped()
}

// The CDK CLI takes a report in the output directory for this run's, and fails on what it says.
func TestValidateOnceRemovesTheReportOfAnEarlierRun(t *testing.T) {
	p := newProject(t)
	p.wantValidated()
	p.write("cdk.out/validation-report.json", `{"pluginReports": [{"conclusion": "failure"}]}`)
	p.wantSkipped()
	if _, err := os.Stat(p.path("cdk.out/validation-report.json")); err == nil {
		t.Error("the failed report of another run is still there")
	}
}

func TestValidateOnceLeavesTheReportIfTheApplicationFailsBeforeIt(t *testing.T) {
	for name, validation := range map[string][]string{"validated": nil, "by the user's choice": {"CDK_VALIDATION=false"}} {
		t.Run(name, func(t *testing.T) {
			p := newProject(t)
			p.env = append(p.env, validation...)
			p.write("cdk.out/validation-report.json", "earlier")
			p.write("exitcode", "1")
			p.must(os.Remove(p.path("report.json")))
			if code, _, _ := p.synth(); code != 1 {
				t.Fatalf("exit code %d, want 1", code)
			}
			if report, err := os.ReadFile(p.path("cdk.out/validation-report.json")); string(report) != "earlier" {
				t.Errorf("the report is %q, %v; want it as it was", report, err)
			}
		})
	}
}

func TestValidateOnceObeysTheUsersCDKValidation(t *testing.T) {
	for _, value := range []string{"false", "true", ""} {
		t.Run(value, func(t *testing.T) {
			p := newProject(t)
			plain := p.env
			p.env = append(slices.Clip(plain), "CDK_VALIDATION="+value)
			for range 2 {
				cmd := infra(t, p.dir, p.env, append([]string{"validate-once"}, p.args...)...)
				if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
					t.Fatalf("%v: %s", err, out)
				}
			}
			runs, err := os.ReadFile(p.path("runs"))
			p.must(err)
			for line := range strings.Lines(string(runs)) {
				if _, got, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " "); got != value {
					t.Errorf("CDK_VALIDATION is %q, want %q", got, value)
				}
			}
			p.env = plain
			p.wantValidated()
		})
	}
}

func TestValidateOnceSaysThatItCannotRememberAndSucceeds(t *testing.T) {
	p := newProject(t)
	p.args = append([]string{"--stamp", "no/such/directory/stamp"}, p.args...)
	code, validation, stderr := p.synth()
	if code != 0 || validation != "unset" || !strings.Contains(stderr, "cannot be remembered: open no/such/directory/stamp") {
		t.Errorf("exit code %d, CDK_VALIDATION %s, stderr %q", code, validation, stderr)
	}
}

func TestValidateOnceStopsWhenAnInputIsMissing(t *testing.T) {
	p := newProject(t)
	p.args = append([]string{"--input", "confg"}, p.args...)
	out, err := infra(t, p.dir, p.env, append([]string{"validate-once"}, p.args...)...).CombinedOutput()
	want := `infra validate-once: --input "confg" cannot be read: lstat confg: no such file or directory; name a file or directory that exists`
	if code := exitStatus(t, err); code != 2 || !strings.Contains(string(out), want) {
		t.Errorf("exit code %d, output %q; want 2 and %q", code, out, want)
	}
	if _, err := os.Stat(p.path("runs")); err == nil {
		t.Error("the application ran")
	}
}

func TestValidateOncePassesTheExitCodeThrough(t *testing.T) {
	for _, passedBefore := range []bool{false, true} {
		for hook, want := range map[string]int{"exit 0": 0, "exit 1": 1, "exit 42": 42, "kill -TERM $$": 143} {
			t.Run(fmt.Sprintf("%s, passed before: %v", hook, passedBefore), func(t *testing.T) {
				t.Parallel()
				p := newProject(t)
				if passedBefore {
					p.wantValidated()
				}
				p.write("hook", hook)
				code, _, _ := p.synth()
				if passedBefore && want == 143 {
					want = -1 // replaced by the application, the process itself ends by the signal
				}
				if code != want {
					t.Errorf("exit code %d, want %d", code, want)
				}
			})
		}
	}
}

func TestValidateOncePassesTheStandardStreamsThrough(t *testing.T) {
	p := newProject(t)
	p.write("hook", `read line; echo "out $line $1"; echo "err $line" >&2`)
	for _, stderrWant := range []string{passOnStderr + "err in\n", "err in\n"} {
		cmd := infra(t, p.dir, p.env, append([]string{"validate-once"}, p.args...)...)
		var stderr bytes.Buffer
		cmd.Stdin, cmd.Stderr = strings.NewReader("in\n"), &stderr
		out, err := cmd.Output()
		if err != nil || string(out) != "out in one\n" || stderr.String() != stderrWant {
			t.Errorf("%v, stdout %q, stderr %q; want %q", err, out, stderr.String(), stderrWant)
		}
	}
}

func TestValidateOnceLeavesNoProcessOfItsOwnWhenItSkips(t *testing.T) {
	p := newProject(t)
	p.wantValidated()
	p.must(os.Remove(p.path("runs")))
	cmd := infra(t, p.dir, p.env, append([]string{"validate-once"}, p.args...)...)
	p.must(cmd.Run())
	runs, err := os.ReadFile(p.path("runs"))
	p.must(err)
	if want := fmt.Sprintf("%d false\n", cmd.Process.Pid); string(runs) != want {
		t.Errorf("the application ran as %q, want %q, the process that was started", runs, want)
	}
}

func TestValidateOnceForwardsSignals(t *testing.T) {
	for name, sig := range map[string]syscall.Signal{"INT": syscall.SIGINT, "TERM": syscall.SIGTERM, "HUP": syscall.SIGHUP} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newProject(t)
			p.write("hook", "trap 'exit 9' "+name+"\necho ready\nwhile :; do sleep 0.02; done")
			cmd := infra(t, p.dir, p.env, append([]string{"validate-once"}, p.args...)...)
			stdout, err := cmd.StdoutPipe()
			p.must(err)
			p.must(cmd.Start())
			if _, err := stdout.Read(make([]byte, 16)); err != nil {
				t.Fatal(err)
			}
			p.must(cmd.Process.Signal(sig))
			if code := exitStatus(t, cmd.Wait()); code != 9 {
				t.Errorf("exit code %d, want 9, the application's own after %v", code, sig)
			}
			if _, err := os.Stat(p.path(".cdk-validated")); err == nil {
				t.Error("an interrupted run was stamped")
			}
		})
	}
}

func TestValidateOnceGivesJsiiThePinnedNode(t *testing.T) {
	for name, test := range map[string]struct {
		env  string
		node bool
		want string // "" means unset; NODE stands for the project's
	}{
		"installed":                 {node: true, want: "NODE"},
		"installed, variable empty": {node: true, env: "JSII_NODE=", want: "NODE"},
		"chosen by the user":        {node: true, env: "JSII_NODE=/opt/node", want: "/opt/node"},
		"not installed":             {},
	} {
		t.Run(name, func(t *testing.T) {
			p := newProject(t)
			if test.env != "" {
				p.env = append(p.env, test.env)
			}
			if test.node {
				p.must(os.MkdirAll(p.path("node_modules/.bin"), 0o755))
				p.write("node_modules/.bin/node", "")
			}
			p.write("hook", `echo "$JSII_NODE" > jsii`)
			real, err := filepath.EvalSymlinks(p.dir)
			p.must(err)
			for range 2 { // validated and not
				p.synth()
				got, err := os.ReadFile(p.path("jsii"))
				p.must(err)
				want := strings.Replace(test.want, "NODE", filepath.Join(real, "node_modules/.bin/node"), 1)
				if strings.TrimSpace(string(got)) != want {
					t.Errorf("JSII_NODE is %q, want %q", got, want)
				}
			}
		})
	}
}

func TestValidateOnceRunsSideBySide(t *testing.T) {
	p := newProject(t)
	var wg sync.WaitGroup
	for i := range 6 {
		wg.Go(func() {
			args := append([]string{"validate-once"}, slices.Concat(p.args, []string{fmt.Sprint(i)})...)
			if out, err := infra(t, p.dir, p.env, args...).CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
	wg.Wait()
	data, err := os.ReadFile(p.path(".cdk-validated"))
	p.must(err)
	for line := range strings.Lines(string(data)) {
		if !digestForm.MatchString(strings.TrimSuffix(line, "\n")) {
			t.Errorf("damaged line %q", line)
		}
	}
	if left, _ := filepath.Glob(p.path(".cdk-validated.*")); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}
