package main_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// These tests run the real CDK CLI on the built application, as a user does.

// goldenTemplates are the templates of the shipped environments, by the name of the file in the assembly without its hash.
var goldenTemplates = map[string]string{"Network": "network", "Data": "data", "Service": "service", "Pipeline": "pipeline"}

func TestMain(m *testing.M) {
	var err error
	if sharedDir, err = os.MkdirTemp("", "synth"); err != nil {
		panic(err)
	}
	code := m.Run()
	os.RemoveAll(sharedDir)
	os.Exit(code)
}

// synthesis is a `cdk synth` of dev in a folder of its own, which writes a line into the file runs for each run of the application.
type synthesis struct {
	once    sync.Once
	folder  string
	account string // in the files of the delivery
	result
}

// A synth takes seconds: these two serve all tests that look at one.
var (
	sharedDir      string
	withoutAccount = synthesis{folder: "without-account"}
	withAccount    = synthesis{folder: "with-account", account: "account: \"111111111111\"\n"}
)

// dir returns the folder, after the synth.
func (s *synthesis) dir(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(sharedDir, s.folder)
	s.once.Do(func() {
		project(t, dir)
		for _, file := range []string{"delivery", "dev", "prod"} {
			edit(t, filepath.Join(dir, "config", file+".yaml"), func(text string) string { return s.account + text })
		}
		s.result = cdk(t, dir, "synth", "--quiet", "--context", "delivery=false", "--app", "echo run >> runs && bin/app")
	})
	if s.code != 0 {
		t.Fatalf("cdk synth ended with %d:\n%s", s.code, s.stderr)
	}
	return dir
}

func TestSynthWritesTheGoldenTemplates(t *testing.T) {
	for _, env := range []string{"dev", "prod"} {
		t.Run(env, func(t *testing.T) {
			t.Parallel()
			out := t.TempDir()
			run := cdk(t, ".", "synth", "--quiet", "--context", "env="+env, "--output", out)
			if run.code != 0 {
				t.Fatalf("cdk synth ended with %d:\n%s", run.code, run.stderr)
			}
			for construct, stack := range goldenTemplates {
				got := readOne(t, filepath.Join(out, env+construct+"*.template.json"))
				want := readOne(t, filepath.Join("stacks", "testdata", env, stack+".template.json"))
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("%s: the CLI writes another template than the golden one (-want +got)\n%s", stack, diff)
				}
			}
			if noise := withoutExpected(run.stderr); noise != "" {
				t.Errorf("a normal run prints\n%s", noise)
			}
			if env == "dev" {
				equalInAnyFolder(t, out)
			}
		})
	}
}

// equalInAnyFolder compares an assembly of dev that was written in this folder with one of another.
func equalInAnyFolder(t *testing.T, assembly string) {
	t.Helper()
	here, there := files(t, assembly), files(t, filepath.Join(withoutAccount.dir(t), "cdk.out"))
	if len(here) < 10 {
		t.Fatalf("only %d files in the assembly", len(here))
	}
	if diff := cmp.Diff(here, there); diff != "" {
		t.Errorf("two synths in two folders differ\n%s", diff)
	}
}

// withoutExpected removes from what a synth prints the warning of the shipped configuration and the CLI's closing lines.
func withoutExpected(stderr string) string {
	for _, expected := range []string{
		`(?m)^WARNING MySQL 8\.0 left RDS standard support .*\n.*\n.*flask-on-fargate:extendedSupport'\n`,
		`(?m)^Validating the templates with AWS's rules: .*\n`,
		`(?m)^Successfully synthesized to .*\n`,
		`(?m)^Supply a stack id .* to display its template\.\n?`,
	} {
		stderr = regexp.MustCompile(expected).ReplaceAllString(stderr, "")
	}
	return strings.TrimSpace(stderr)
}

// An account in the configuration must not ask for a lookup of the zones: the CLI would run the application twice, and the
// first run of a newcomer without credentials would fail.
func TestTheCLIRunsTheApplicationOnce(t *testing.T) {
	for _, synthesis := range []*synthesis{&withoutAccount, &withAccount} {
		t.Run(synthesis.folder, func(t *testing.T) {
			t.Parallel()
			dir := synthesis.dir(t)
			if runs := readOne(t, filepath.Join(dir, "runs")); runs != "run\n" {
				t.Errorf("the application ran %d times, want once", strings.Count(runs, "run"))
			}
			manifest := readOne(t, filepath.Join(dir, "cdk.out", "manifest.json"))
			if got, want := strings.Contains(manifest, "aws://111111111111/us-east-1"), synthesis.account != ""; got != want {
				t.Errorf("the configured account is in the assembly: %v, want %v", got, want)
			}
		})
	}
}

func TestAWrongConfigurationIsReportedAndLeavesTheAssembly(t *testing.T) {
	t.Parallel()
	dir := project(t, t.TempDir())
	if err := os.CopyFS(filepath.Join(dir, "cdk.out"), os.DirFS(filepath.Join(withoutAccount.dir(t), "cdk.out"))); err != nil {
		t.Fatal(err)
	}
	before := files(t, filepath.Join(dir, "cdk.out"))
	edit(t, filepath.Join(dir, "config", "dev.yaml"), func(s string) string {
		return s + "network:\n  cidr: 10.0.0.0/8\n  natGateway: 2\n"
	})
	for name, run := range map[string]result{
		"wrong file":          cdk(t, dir, "synth", "--quiet"),
		"unknown environment": cdk(t, dir, "synth", "--quiet", "--context", "env=staging"),
	} {
		if run.code != 1 {
			t.Errorf("%s: cdk synth ended with %d, want 1", name, run.code)
		}
		for _, trace := range []string{"goroutine", "panic", ".go:", "    at "} {
			if strings.Contains(run.stderr, trace) {
				t.Errorf("%s: the user sees %q:\n%s", name, trace, run.stderr)
			}
		}
		expected := []string{"config/dev.yaml:", "network.cidr", "10.0.0.0/8", "network.natGateway"}
		if name == "unknown environment" {
			expected = []string{"staging", "dev", "prod"}
		}
		for _, word := range expected {
			if !strings.Contains(run.stderr, word) {
				t.Errorf("%s: the message lacks %q:\n%s", name, word, run.stderr)
			}
		}
	}
	if diff := cmp.Diff(before, files(t, filepath.Join(dir, "cdk.out"))); diff != "" {
		t.Errorf("a failed synth changed cdk.out\n%s", diff)
	}
}

func TestDiffWithoutCredentialsSaysSo(t *testing.T) {
	t.Parallel()
	run := cdk(t, project(t, t.TempDir()), "diff", "--context", "env=dev")
	if run.code == 0 {
		t.Fatal("cdk diff succeeded without credentials")
	}
	if !strings.Contains(run.stderr, "Unable to resolve AWS account") {
		t.Errorf("the message does not say what is missing:\n%s", run.stderr)
	}
	for _, trace := range []string{"goroutine", "panic", ".go:"} {
		if strings.Contains(run.stderr, trace) {
			t.Errorf("the user sees %q:\n%s", trace, run.stderr)
		}
	}
}

// The shipped files have no account, and a pipeline must know where to deploy to.
func TestDeliveringTheShippedFilesUnchangedAsksForAccounts(t *testing.T) {
	t.Parallel()
	run := cdk(t, project(t, t.TempDir()), "ls", "--context", "delivery=true")
	if run.code != 1 {
		t.Errorf("cdk ls ended with %d, want 1", run.code)
	}
	for _, fault := range []string{"config/delivery.yaml:6:1: account: missing", "config/dev.yaml:6:1: account: missing", "config/prod.yaml:6:1: account: missing"} {
		if !strings.Contains(run.stderr, fault) {
			t.Errorf("the message lacks %q:\n%s", fault, run.stderr)
		}
	}
	for _, trace := range []string{"goroutine", "panic", ".go:", "    at "} {
		if strings.Contains(run.stderr, trace) {
			t.Errorf("the user sees %q:\n%s", trace, run.stderr)
		}
	}
}

func TestAnotherValueOfTheKeyDeliveryIsRefused(t *testing.T) {
	t.Parallel()
	run := cdk(t, project(t, t.TempDir()), "ls", "--context", "delivery=yes")
	if run.code != 1 || !strings.Contains(run.stderr, `the context key delivery is "yes"`) {
		t.Errorf("cdk ls ended with %d:\n%s", run.code, run.stderr)
	}
}

// The pipeline's own command makes the assembly, and the tool with what it reads.
func TestMakeDelivery(t *testing.T) {
	t.Parallel()
	direct := withAccount.dir(t)
	dir := project(t, t.TempDir())
	for _, name := range []string{"delivery", "dev", "prod"} {
		file := filepath.Join("config", name+".yaml")
		edit(t, filepath.Join(dir, file), func(string) string { return readOne(t, filepath.Join(direct, file)) })
	}
	for _, file := range []string{"Makefile", "go.mod"} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(readOne(t, file)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, sources := range []string{"cmd", "constructs", "functions", "internal", "sql", "stacks"} { // which make looks through
		if err := os.Mkdir(filepath.Join(dir, sources), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	run := exec.Command("make", "--silent", "--assume-old=app", "delivery") // which is built already
	run.Dir, run.Env = dir, withoutCredentials(t)
	output, err := run.CombinedOutput()
	if err != nil {
		t.Fatalf("make delivery: %v\n%s", err, output)
	}
	if noise := withoutExpected(string(output)); noise != "" {
		t.Errorf("a normal run prints\n%s", noise)
	}
	tool := filepath.Join(dir, "cdk.tool")
	if output, err := exec.Command(filepath.Join(tool, "bin", "infra"), "--help").CombinedOutput(); err != nil {
		t.Errorf("the tool does not run: %v\n%s", err, output)
	}
	for _, name := range []string{"delivery.yaml", "dev.yaml", "prod.yaml"} {
		if readOne(t, filepath.Join(tool, "config", name)) != readOne(t, filepath.Join(dir, "config", name)) {
			t.Errorf("%s is another one", name)
		}
	}

	got := readOne(t, filepath.Join(dir, "cdk.out", "Delivery.template.json"))
	want := readOne(t, filepath.Join("stacks", "testdata", "delivery", "delivery.template.json"))
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the CLI writes another template of the delivery than the golden one (-want +got)\n%s", diff)
	}
	for construct := range goldenTemplates {
		file := "dev" + construct + "*.template.json"
		if diff := cmp.Diff(readOne(t, filepath.Join(direct, "cdk.out", file)), readOne(t, filepath.Join(dir, "cdk.out", "assembly-dev", file))); diff != "" {
			t.Errorf("%s differs, deployed directly and delivered (-direct +delivered)\n%s", construct, diff)
		}
	}
}

func TestTheApplicationAloneAsksForTheCLI(t *testing.T) {
	t.Parallel()
	command := exec.Command("bin/app")
	command.Env = withoutCredentials(t)
	var stderr bytes.Buffer
	command.Stderr = &stderr
	if err := command.Run(); err == nil || !strings.Contains(stderr.String(), "npx cdk synth") {
		t.Errorf("bin/app: %v, %s", err, stderr.String())
	}
}

type result struct {
	code   int
	stderr string
}

// cdk runs the project's CDK CLI in dir, without credentials and with a home folder of its own.
func cdk(t *testing.T, dir string, args ...string) result {
	t.Helper()
	cli, err := filepath.Abs(filepath.Join("node_modules", ".bin", "cdk"))
	if err != nil {
		t.Fatal(err)
	}
	command := exec.Command(cli, args...)
	command.Dir = dir
	command.Env = withoutCredentials(t)
	var stderr bytes.Buffer
	command.Stderr = &stderr
	err = command.Run()
	if failed := (*exec.ExitError)(nil); err != nil && !errors.As(err, &failed) {
		t.Fatalf("%v: the tests need what `make app` builds", err)
	}
	return result{code: command.ProcessState.ExitCode(), stderr: stderr.String()}
}

// withoutCredentials is the environment of a machine that knows no AWS account. The pinned Node.js comes first.
func withoutCredentials(t *testing.T) []string {
	bin, err := filepath.Abs(filepath.Join("node_modules", ".bin"))
	if err != nil {
		t.Fatal(err)
	}
	env := []string{"AWS_EC2_METADATA_DISABLED=true", "NO_COLOR=1"}
	for _, variable := range os.Environ() {
		name, value, _ := strings.Cut(variable, "=")
		switch {
		case name == "PATH":
			env = append(env, "PATH="+bin+string(os.PathListSeparator)+value)
		case name == "MAKEFLAGS", name == "MFLAGS", name == "MAKELEVEL": // what the make that runs these tests tells its own
		case strings.HasPrefix(name, "AWS_"), strings.HasPrefix(name, "CDK_") && name != "CDK_VALIDATION":
		default:
			env = append(env, variable)
		}
	}
	return append(env, "AWS_CONFIG_FILE=/dev/null", "AWS_SHARED_CREDENTIALS_FILE=/dev/null")
}

// project makes dir, or fills it, with what a synth reads: the built parts are links, the configuration is a copy to be edited.
func project(t *testing.T, dir string) string {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, built := range []string{"bin", "dist", "node_modules"} {
		target, err := filepath.Abs(built)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(target, filepath.Join(dir, built)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.CopyFS(filepath.Join(dir, "config"), os.DirFS("config")); err != nil {
		t.Fatal(err)
	}
	var settings map[string]any
	if err := json.Unmarshal([]byte(readOne(t, "cdk.json")), &settings); err != nil {
		t.Fatal(err)
	}
	// Everything is built already, and there is no Makefile in the folder.
	settings["app"] = strings.TrimPrefix(settings["app"].(string), "make --silent app && ")
	body, err := json.Marshal(settings)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "cdk.json"), body, 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

func edit(t *testing.T, file string, change func(string) string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(change(readOne(t, file))), 0o644); err != nil {
		t.Fatal(err)
	}
}

// readOne returns the content of the only file that matches pattern.
func readOne(t *testing.T, pattern string) string {
	t.Helper()
	names, err := filepath.Glob(pattern)
	if err != nil || len(names) != 1 {
		t.Fatalf("%d files match %s, want one", len(names), pattern)
	}
	body, err := os.ReadFile(names[0])
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// files returns the content of every file below dir.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	contents := map[string]string{}
	err := fs.WalkDir(os.DirFS(dir), ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		body, err := fs.ReadFile(os.DirFS(dir), path)
		contents[path] = string(body)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return contents
}
