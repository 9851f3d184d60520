package validateonce

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// The test binary is the tool or the application if this variable says so. The application must be a Go program.
const role = "VALIDATEONCE_TEST_ROLE"

var self, _ = os.Executable()

// script is the application: it writes what is in the folder assembly, and a report if it validates.
const script = `
echo "${CDK_VALIDATION-unset}" >> runs
printf %s "$JSII_NODE" > node
[ ! -f hook ] || . ./hook
cp -r assembly/. "$CDK_OUTDIR"
[ "$CDK_VALIDATION" = false ] || [ ! -f report ] || cp report "$CDK_OUTDIR/validation-report.json"
`

// What CDK_VALIDATION is in the runs of the application.
const validated, validatedAtOnce, skipped = "false unset", "unset", "false"

func TestMain(m *testing.M) {
	switch os.Getenv(role) {
	case "tool":
		os.Setenv(role, "app")
		code, err := Run(os.Args[1:])
		if err != nil {
			panic(err) // which is exit code 2
		}
		os.Exit(code)
	case "app":
		panic(syscall.Exec("/bin/sh", append([]string{"sh", "script"}, os.Args[1:]...), os.Environ()))
	}
	os.Unsetenv("CDK_VALIDATION")
	os.Unsetenv("JSII_NODE")
	os.Setenv("CDK_OUTDIR", "cdk.out")
	os.Exit(m.Run())
}

// project goes to a new folder with an application, and with the report of an earlier run.
func project(t *testing.T) {
	t.Chdir(t.TempDir())
	must(t, os.Symlink(self, "app"))
	for name, content := range map[string]string{
		"script":                               script,
		"assembly/manifest.json":               `{"environment": "aws://111111111111/eu-west-1"}`,
		"assembly/data.template.json":          "{}",
		"assembly/data.metadata.json":          `{"/dev/Data/Database": [{"data": {"A::E1": "why"}}]}`,
		"assembly/stage/service.template.json": "{}",
		"assembly/stage/service.metadata.json": "{}",
		"cdk.out/validation-report.json":       "earlier",
		"node_modules/.bin/node":               "",
		stamp:                                  "another",
	} {
		write(t, name, content)
	}
	report(t, "CloudFormation Validate", "success", ``, `{"acknowledgedAt": "dev/Data/Database"}`)
}

func must(t *testing.T, err error) {
	if t.Helper(); err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, name, content string) {
	must(t, errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte(content), 0o755)))
}

func read(name string) string {
	data, _ := os.ReadFile(name)
	return string(data)
}

func report(t *testing.T, plugin, conclusion, violations, suppressed string) {
	write(t, "report", `{"pluginReports": [{"pluginName": "Construct Annotations", "conclusion": "success", "violations": [{}]}, {"pluginName": "`+
		plugin+`", "conclusion": "`+conclusion+`", "violations": [`+violations+`], "suppressedViolations": [`+suppressed+`]}]}`)
}

func tool(t *testing.T, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(t.Context(), self, args...)
	cmd.Env = append(os.Environ(), role+"=tool")
	return cmd
}

// synth fails the test unless the exit code and the runs of the application are as wanted.
func synth(t *testing.T, code int, runs string) (stderr string) {
	t.Helper()
	write(t, "runs", "")
	var said bytes.Buffer
	cmd := tool(t, "./app")
	cmd.Stderr = &said
	_ = cmd.Run()
	got := strings.TrimSpace(strings.ReplaceAll(read("runs"), "\n", " "))
	if cmd.ProcessState.ExitCode() != code || got != runs || runs == skipped && said.Len() > 0 || runs == validated && said.Len() == 0 {
		t.Fatalf("exit code %d, runs %q, want %d and %q; stderr: %s", cmd.ProcessState.ExitCode(), got, code, runs, said.String())
	}
	return said.String()
}

func TestRun(t *testing.T) {
	put := func(name, content string) func(*testing.T) { return func(t *testing.T) { write(t, name, content) } }
	rebuild := func(old, new string) func(*testing.T) {
		return func(t *testing.T) {
			binary := strings.ReplaceAll(read("app"), old, new)
			must(t, os.Remove("app"))
			write(t, "app", binary+"\n")
		}
	}
	for name, test := range map[string]struct {
		change func(*testing.T)
		want   string
	}{
		"validates after another template":            {put("assembly/data.template.json", "{ }"), validated},
		"validates after another nested template":     {put("assembly/stage/service.template.json", "{ }"), validated},
		"validates after another account":             {put("assembly/manifest.json", "{}"), validated},
		"validates after one acknowledgement less":    {put("assembly/data.metadata.json", `{"/dev/Data/Database": []}`), validated},
		"validates with another version of a module":  {rebuild("mod\tflask-on-fargate\t(devel)", "mod\tflask-on-fargate\t(other)"), validated},
		"validates with a damaged stamp":              {func(t *testing.T) { must(t, os.Truncate(stamp, 40)) }, validated},
		"validates without the stamp":                 {func(t *testing.T) { must(t, os.Remove(stamp)) }, validatedAtOnce},
		"skips the same assembly of another build":    {rebuild("", ""), skipped},
		"skips although the report of a run is there": {put("cdk.out/validation-report.json", "earlier"), skipped},
	} {
		t.Run(name, func(t *testing.T) {
			project(t)
			synth(t, 0, validated)
			test.change(t)
			synth(t, 0, test.want)
			synth(t, 0, skipped)
			if left := read("cdk.out/validation-report.json"); left != "" {
				t.Errorf("the CDK CLI takes an earlier report for this run's: %s", left)
			}
		})
	}
}

func TestRunNeverRemembers(t *testing.T) {
	const aws = "CloudFormation Validate"
	for name, arrange := range map[string]func(t *testing.T){
		"an error":                           func(t *testing.T) { report(t, aws, "failure", `{"ruleName": "F3002"}`, ``) },
		"a warning":                          func(t *testing.T) { report(t, aws, "success", `{"ruleName": "W9008"}`, ``) },
		"a failure without a finding":        func(t *testing.T) { report(t, aws, "failure", ``, ``) },
		"an acknowledgement outside a stack": func(t *testing.T) { report(t, aws, "success", ``, `{"acknowledgedAt": "dev"}`) },
		"a report of other rules":            func(t *testing.T) { report(t, "Custom", "success", ``, ``) },
		"a report that is none":              func(t *testing.T) { write(t, "report", "{") },
		"a run without a report":             func(t *testing.T) { must(t, os.Remove("report")) },
		"metadata that cannot be read":       func(t *testing.T) { write(t, "assembly/data.metadata.json", "[") },
	} {
		t.Run(name, func(t *testing.T) {
			project(t)
			arrange(t)
			synth(t, 0, validated)
			synth(t, 0, validated)
		})
	}
}

func TestRunSaysWhyItCannotRemember(t *testing.T) {
	for want, arrange := range map[string]func(){
		"open .cdk-validated":          func() { must(t, os.Remove(stamp)); must(t, os.Mkdir(stamp, 0o755)) },
		"could not read Go build info": func() { must(t, os.Remove("app")); write(t, "app", "#!/bin/sh\n"+script) },
	} {
		project(t)
		arrange()
		synth(t, 0, validatedAtOnce)
		if said := synth(t, 0, validatedAtOnce); !strings.Contains(said, "cannot be remembered, so the next synth repeats it: "+want) {
			t.Errorf("no word of %q in %s", want, said)
		}
	}
}

func TestRunRemembersTheNewest(t *testing.T) {
	project(t)
	for i := range stampSize + 1 {
		write(t, "assembly/data.template.json", strings.Repeat(" ", i))
		synth(t, 0, validated)
	}
	write(t, "assembly/data.template.json", " ")
	synth(t, 0, skipped)
	write(t, "assembly/data.template.json", "")
	synth(t, 0, validated)
}

func TestRunPassesFailuresOn(t *testing.T) {
	for hook, want := range map[string]int{"exit 7": 7, "kill -KILL $$": 137} {
		project(t)
		write(t, "hook", hook)
		synth(t, want, skipped)
		if left, _ := os.ReadDir("cdk.out"); len(left) != 1 || read("cdk.out/validation-report.json") != "earlier" {
			t.Errorf("%s: the assembly is not as it was: %v", hook, left)
		}
		write(t, "hook", `[ "$CDK_VALIDATION" = false ] || `+hook)
		synth(t, want, validated)
		synth(t, want, validated)
	}
	must(t, os.Remove("app"))
	if said := synth(t, 2, ""); !strings.Contains(said, "build the application") {
		t.Error(said)
	}
}

func TestRunObeysTheUser(t *testing.T) {
	for _, test := range []struct{ variable, value, runs, node string }{
		{"CDK_VALIDATION", "false", "false", "/node_modules/.bin/node"},
		{"CDK_VALIDATION", "true", "true", "/node_modules/.bin/node"},
		{"CDK_VALIDATION", "", "", "/node_modules/.bin/node"},
		{"CDK_OUTDIR", "", "unset", "/node_modules/.bin/node"},
		{"JSII_NODE", "", validated, "/node_modules/.bin/node"},
		{"JSII_NODE", "/opt/node", validated, "/opt/node"},
	} {
		t.Run(test.variable+"="+test.value, func(t *testing.T) {
			project(t)
			write(t, "hook", "CDK_OUTDIR=cdk.out")
			t.Setenv(test.variable, test.value)
			synth(t, 0, test.runs)
			if node := read("node"); !filepath.IsAbs(node) || !strings.HasSuffix(node, test.node) {
				t.Errorf("JSII_NODE is %q, want %q", node, test.node)
			}
			if remembered := read(stamp) != "another"; remembered != (test.runs == validated) {
				t.Errorf("the verdict is remembered: %t", remembered)
			}
		})
	}
}

func TestRunPassesSignalsOn(t *testing.T) {
	for name, sig := range map[string]syscall.Signal{"INT": syscall.SIGINT, "TERM": syscall.SIGTERM, "HUP": syscall.SIGHUP} {
		project(t)
		write(t, "hook", "trap 'exit 9' "+name+"\nread line; echo $1 $line\nwhile :; do sleep 0.02; done")
		cmd := tool(t, "./app", "argument")
		cmd.Stdin = strings.NewReader("input\n")
		stdout, err := cmd.StdoutPipe()
		must(t, err)
		must(t, cmd.Start())
		said := make([]byte, 20)
		n, _ := stdout.Read(said)
		must(t, cmd.Process.Signal(sig))
		if _ = cmd.Wait(); cmd.ProcessState.ExitCode() != 9 || string(said[:n]) != "argument input\n" {
			t.Errorf("%s: exit code %d, stdout %q", name, cmd.ProcessState.ExitCode(), said[:n])
		}
	}
}
