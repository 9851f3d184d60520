package main

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// The test binary is the tool itself when this variable is set, so that tests see real processes.
const asInfra = "INFRA_TEST_AS_INFRA"

func TestMain(m *testing.M) {
	if os.Getenv(asInfra) != "" {
		os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// infra returns a command that runs this tool in dir with only the variables env and PATH.
func infra(t *testing.T, dir string, env []string, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, args...)
	cmd.Dir = dir
	cmd.Env = append([]string{asInfra + "=1", "PATH=" + os.Getenv("PATH")}, env...)
	return cmd
}

func TestWrongUsageExitsWith2AndSaysWhatToDo(t *testing.T) {
	for name, test := range map[string]struct {
		args []string
		want string
	}{
		"unknown command":   {[]string{"sumary"}, `infra: "sumary" is no command; ` + "`infra --help` lists them"},
		"unknown flag":      {[]string{"summary", "--wide"}, "unknown flag: --wide; `infra summary --help` lists the flags"},
		"two assemblies":    {[]string{"summary", "a", "b"}, `2 directories given, ["a" "b"]: name one assembly, or none for cdk.out`},
		"no command to run": {[]string{"validate-once"}, "infra validate-once: requires at least 1 arg(s)"},
		"command that is no file": {
			[]string{"validate-once", "bin/no-such-app"},
			`COMMAND "bin/no-such-app" cannot be run: fork/exec bin/no-such-app: no such file or directory; build the application`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			if code := run(test.args, &stdout, &stderr); code != 2 {
				t.Errorf("exit code %d, want 2", code)
			}
			if !strings.Contains(stderr.String(), test.want) {
				t.Errorf("stderr is %q, want it to contain %q", stderr.String(), test.want)
			}
		})
	}
}

func TestHelpExitsWith0(t *testing.T) {
	for _, args := range [][]string{{}, {"--help"}, {"summary", "--help"}, {"validate-once", "--help"}, {"smoke", "--help"}, {"guard", "--help"}, {"review", "--help"}} {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			if code := run(args, &stdout, &stderr); code != 0 {
				t.Errorf("exit code %d, want 0; stderr: %s", code, &stderr)
			}
			if !strings.Contains(stdout.String(), "Usage:") {
				t.Errorf("stdout is %q, want the usage", &stdout)
			}
			for line := range strings.Lines(stdout.String()) {
				if len(line) > 100 {
					t.Errorf("line of %d columns: %s", len(line), line)
				}
			}
		})
	}
}
