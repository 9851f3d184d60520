package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/spf13/cobra"
)

const validateOnceHelp = `Run COMMAND, the CDK application. The CDK library validates the templates with
AWS's rules, which takes about four fifths of a synth. Since synth is
deterministic, inputs that passed once are run without the validation. It is
meant for "app" in cdk.json: it needs the environment that the CDK CLI sets.

The inputs are the file of COMMAND (a binary, not a script that starts one),
its arguments, the contents of every --input, the context, and every variable
CDK_* that can decide a template. The application may depend on nothing else.

They have passed when COMMAND exited with 0, the library's report in CDK_OUTDIR
has no finding that is not acknowledged, and no input changed meanwhile. A
warning of the rules is a finding: it shows on every synth until it is mended
or acknowledged. The application's own annotations are none.

The stamp file remembers the newest 20 inputs that passed. Delete it to
validate again. If it cannot be read, that costs time and nothing else.

If CDK_VALIDATION is set already, as by "cdk synth --no-validation", it is
obeyed and nothing is remembered.

If JSII_NODE is not set and node_modules/.bin/node exists, it is set to that
file, so that the application runs on the project's Node.js even when a CDK CLI
from elsewhere starts it.

The exit code is COMMAND's, 128 plus the signal's number if a signal ended it,
or 2 if COMMAND was not started.`

func newValidateOnce() *cobra.Command {
	var stampFile string
	var inputs []string
	cmd := &cobra.Command{
		Use:                   "validate-once [--stamp FILE] [--input PATH]... -- COMMAND [ARG...]",
		Short:                 "Run the application; validate its templates only if their inputs changed",
		Long:                  validateOnceHelp,
		DisableFlagsInUseLine: true,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return errors.New("COMMAND is missing; name the application after --, as in `infra validate-once --input config -- bin/app`")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return validateOnce(cmd.ErrOrStderr(), stamp(stampFile), inputs, args)
		},
	}
	cmd.Flags().StringVar(&stampFile, "stamp", ".cdk-validated", "`FILE` that remembers which inputs passed")
	cmd.Flags().StringArrayVar(&inputs, "input", nil, "file or directory at `PATH` that the application reads; may be repeated")
	cmd.Flags().SetInterspersed(false)
	return cmd
}

// validateOnce runs command as validateOnceHelp describes. It returns an exitCode if the command failed, and any
// other error if the command was not started.
func validateOnce(stderr io.Writer, passed stamp, inputs, command []string) error {
	app, err := exec.LookPath(command[0])
	if err != nil {
		return fmt.Errorf("COMMAND %q cannot be run: %w; build the application with `make app`, or name an executable file", command[0], err)
	}
	if err := usePinnedNode(); err != nil {
		return err
	}
	report := reportPath()
	earlier, err := takeAway(report)
	if err != nil {
		return err
	}
	run := func() error {
		err := runChild(app, command)
		if err != nil && earlier != nil {
			giveBack(report, earlier)
		}
		return err
	}
	if _, chosen := os.LookupEnv("CDK_VALIDATION"); chosen {
		return run()
	}

	before, err := fingerprint(app, command[1:], inputs, os.Environ())
	if err != nil {
		return err
	}
	if passed.has(before) {
		if err := os.Setenv("CDK_VALIDATION", "false"); err != nil {
			return err
		}
		return become(app, command)
	}

	fmt.Fprintln(stderr, "Validating the templates with AWS's rules: these inputs have not passed them yet.")
	if err := run(); err != nil {
		return err
	}
	after, err := fingerprint(app, command[1:], inputs, os.Environ())
	if err != nil || after != before || !cleanReport(report) {
		return nil
	}
	if err := passed.add(before); err != nil {
		fmt.Fprintf(stderr, "The templates passed, but that cannot be remembered: %v. The next synth validates them again.\n", err)
	}
	return nil
}

// usePinnedNode makes jsii start the Node.js that package.json pins. jsii takes "node" from PATH otherwise.
func usePinnedNode() error {
	if os.Getenv("JSII_NODE") != "" {
		return nil
	}
	node, err := filepath.Abs(filepath.Join("node_modules", ".bin", "node"))
	if err != nil {
		return err
	}
	if _, err := exec.LookPath(node); err != nil {
		return nil
	}
	return os.Setenv("JSII_NODE", node)
}

// reportPath returns where the CDK library writes its validation report, or "", which names no file, if the CDK CLI
// does not run us: the library then writes to a directory of its own choice.
func reportPath() string {
	outdir := os.Getenv("CDK_OUTDIR")
	if outdir == "" {
		return ""
	}
	return filepath.Join(outdir, "validation-report.json")
}

// takeAway removes the report of an earlier run and returns its content. Left in place it would be taken for this run's,
// here and by the CDK CLI.
func takeAway(report string) ([]byte, error) {
	earlier, err := os.ReadFile(report)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil {
		err = os.Remove(report)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // another run may have taken it meanwhile
		return nil, fmt.Errorf("the validation report of an earlier run cannot be removed: %w; remove it by hand", err)
	}
	return earlier, nil
}

// giveBack restores what [takeAway] took: an application that failed before it wrote anything leaves the assembly as
// it was.
func giveBack(report string, earlier []byte) {
	if _, err := os.Stat(report); errors.Is(err, fs.ErrNotExist) {
		_ = os.WriteFile(report, earlier, 0o644) // the application's own failure is the news
	}
}

// cleanReport reports whether path is a validation report without findings. The exit code alone does not tell: the
// CDK CLI passes the context "@aws-cdk/core:failSynthOnValidationErrors": false, with which the application exits
// with 0 whatever was found, and fails later itself. Warnings count, since `cdk synth --strict` fails on them.
func cleanReport(path string) bool {
	data, err := os.ReadFile(path)
	if err != nil {
		return false
	}
	var report struct {
		PluginReports []struct {
			PluginName string            `json:"pluginName"`
			Conclusion string            `json:"conclusion"`
			Violations []json.RawMessage `json:"violations"`
		} `json:"pluginReports"`
	}
	if err := json.Unmarshal(data, &report); err != nil || report.PluginReports == nil {
		return false
	}
	for _, plugin := range report.PluginReports {
		annotations := plugin.PluginName == "Construct Annotations"
		if plugin.Conclusion != "success" || len(plugin.Violations) > 0 && !annotations {
			return false
		}
	}
	return true
}

// become replaces this process by the command, so that no second process stays, or runs it as a child where the
// operating system cannot do that. It returns only then.
func become(app string, command []string) error {
	_ = syscall.Exec(app, command, os.Environ()) // runChild meets the same error and reports it
	return runChild(app, command)
}

// runChild runs the command to its end with our standard streams, and passes on the signals that ask for an end.
func runChild(app string, command []string) error {
	cmd := &exec.Cmd{Path: app, Args: command, Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr}

	// What we ignore, as under nohup, the command must go on ignoring.
	ends := slices.DeleteFunc([]os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT}, signal.Ignored)
	signals := make(chan os.Signal, 8)
	if len(ends) > 0 { // Notify without signals would mean all of them
		signal.Notify(signals, ends...)
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("COMMAND %q cannot be started: %w; name an executable file of this machine's architecture", command[0], err)
	}
	go func() {
		for s := range signals {
			_ = cmd.Process.Signal(s) // fails only once the command has ended
		}
	}()
	err := cmd.Wait()
	signal.Stop(signals)
	close(signals)

	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return err
	}
	if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return exitCode(128 + int(status.Signal()))
	}
	return exitCode(exit.ExitCode())
}
