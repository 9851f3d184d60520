// Package validateonce runs the CDK application, and validates its templates only if they have not passed before. The
// reasons are in docs/adr/0001-validate-templates-once.md.
package validateonce

import (
	"cmp"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"strings"
	"syscall"
)

// stamp holds the digests of the newest assemblies that passed. If it is damaged or missing, that costs time only.
const stamp, stampSize = ".cdk-validated", 20

// Run runs command, the CDK application, and returns its exit code, or 128 plus the number of the signal that ended it.
// The error is for a command that could not be run.
func Run(command []string) (int, error) {
	outdir := os.Getenv("CDK_OUTDIR") // set by the CDK CLI
	if _, chosen := os.LookupEnv("CDK_VALIDATION"); chosen || outdir == "" {
		return run(outdir, command)
	}
	modules, unknown := buildinfo.ReadFile(command[0]) // first: the application may be built again meanwhile
	passed, _ := os.ReadFile(stamp)
	if unknown == nil && len(passed) > 0 {
		if code, err := run(outdir, command, "CDK_VALIDATION=false"); code != 0 || err != nil {
			return code, err
		}
		if digest, _, err := readAssembly(outdir, modules); err == nil && strings.Contains(string(passed), digest) {
			return 0, nil
		}
	}
	fmt.Fprintln(os.Stderr, "Validating the templates with AWS's rules: they have not passed yet.")
	if code, err := run(outdir, command); code != 0 || err != nil {
		return code, err
	}
	digest, constructs, err := readAssembly(outdir, modules)
	if err = cmp.Or(unknown, err); err == nil && clean(outdir, constructs) {
		newest := append([]string{digest}, strings.Fields(string(passed))...)
		err = os.WriteFile(stamp, []byte(strings.Join(newest[:min(len(newest), stampSize)], "\n")+"\n"), 0o644)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "This validation cannot be remembered, so the next synth repeats it: %v\n", err)
	}
	return 0, nil
}

// readAssembly returns the constructs inside the stacks, and a digest of what decides the verdict: the manifests with
// accounts and regions, the templates, the metadata with the acknowledgements, and the application's modules, one of
// which is the CDK library. What an earlier run left in outdir counts too. At worst that validates once more.
func readAssembly(outdir string, modules *debug.BuildInfo) (digest string, constructs map[string]any, err error) {
	hash := sha256.New()
	fmt.Fprintf(hash, "%q", modules)
	err = fs.WalkDir(os.DirFS(outdir), ".", func(name string, _ fs.DirEntry, err error) error {
		metadata := strings.HasSuffix(name, ".metadata.json")
		if err != nil || !metadata && !strings.HasSuffix(name, ".template.json") && !strings.HasSuffix(name, "manifest.json") {
			return err
		}
		data, err := os.ReadFile(filepath.Join(outdir, name))
		if err == nil && metadata {
			err = json.Unmarshal(data, &constructs) // adds to those of the other stacks
		}
		fmt.Fprintf(hash, "%q%q", name, data)
		return err
	})
	return fmt.Sprintf("%x", hash.Sum(nil)), constructs, err
}

// clean says whether AWS's rules found nothing, not even a warning, that is not acknowledged inside a stack. An
// acknowledgement elsewhere, as on the App, is not in the assembly, so its removal would go unnoticed. The exit code does
// not tell: under the CDK CLI the application exits with 0 whatever the rules found, and the CLI fails by the report.
func clean(outdir string, constructs map[string]any) (validated bool) {
	var report struct {
		PluginReports []struct {
			PluginName, Conclusion string
			Violations             []any
			SuppressedViolations   []struct{ AcknowledgedAt string }
		}
	}
	data, err := os.ReadFile(filepath.Join(outdir, "validation-report.json"))
	if err != nil || json.Unmarshal(data, &report) != nil {
		return false
	}
	for _, plugin := range report.PluginReports {
		if plugin.PluginName != "CloudFormation Validate" { // every run reports these, as the application's annotations
			continue
		}
		validated = plugin.Conclusion == "success" && len(plugin.Violations) == 0
		for _, finding := range plugin.SuppressedViolations {
			validated = validated && constructs["/"+finding.AcknowledgedAt] != nil
		}
	}
	return validated
}

// run runs the command and passes on the signals that ask for an end. The report of an earlier run must go first, or the
// CDK CLI would take it for this run's. It comes back if the command fails before it writes one.
func run(outdir string, command []string, variables ...string) (code int, err error) {
	report := filepath.Join(outdir, "validation-report.json")
	earlier, unread := os.ReadFile(report)
	_ = os.Remove(report) // where this fails, the application cannot write it either, and says so
	defer func() {
		if _, missing := os.Stat(report); missing != nil && unread == nil && (code != 0 || err != nil) {
			_ = os.WriteFile(report, earlier, 0o644)
		}
	}()

	cmd := exec.Command(command[0], command[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), variables...)
	// jsii would take "node" from PATH, instead of the one that package.json pins.
	node, _ := filepath.Abs("node_modules/.bin/node")
	if _, missing := os.Stat(node); missing == nil && os.Getenv("JSII_NODE") == "" {
		cmd.Env = append(cmd.Env, "JSII_NODE="+node)
	}
	signals := make(chan os.Signal, 8)
	for _, s := range []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT} {
		if !signal.Ignored(s) { // as under nohup: the command must go on ignoring it
			signal.Notify(signals, s)
		}
	}
	defer signal.Stop(signals)
	if err := cmd.Start(); err != nil {
		return 0, fmt.Errorf("COMMAND %q cannot be run: %w; build the application with `make app`, or name an executable file", command[0], err)
	}
	go func() {
		for {
			_ = cmd.Process.Signal(<-signals) // fails only once the command has ended
		}
	}()
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) {
		return 0, err
	}
	if status := exit.Sys().(syscall.WaitStatus); status.Signaled() {
		return 128 + int(status.Signal()), nil
	}
	return exit.ExitCode(), nil
}
