//go:build validate

package main_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"flask-on-fargate/config"
)

// report is the part of the library's validation report that says what it found.
const report = "validation-report.json"

// fourKeys is an environment of which only the required keys are set.
const fourKeys = "four-keys"

func TestValidationFindsNothingInAnyEnvironment(t *testing.T) {
	names, err := config.Names("config")
	if err != nil {
		t.Fatal(err)
	}
	for _, env := range append(names, fourKeys) {
		t.Run(env, func(t *testing.T) {
			dir := project(t)
			body := "project: shop\nregion: eu-west-1\ndatabase:\n  name: shop\n  user: shopper\n"
			if err := os.WriteFile(filepath.Join(dir, "config", fourKeys+".yaml"), []byte(body), 0o644); err != nil {
				t.Fatal(err)
			}
			validated := cdk(t, dir, "synth", "--quiet", "--context", "env="+env)
			if validated.code != 0 {
				t.Fatalf("cdk synth ended with %d:\n%s", validated.code, validated.stderr)
			}
			if findings := findings(t, filepath.Join(dir, "cdk.out", report)); len(findings) > 0 {
				t.Errorf("findings: %v", findings)
			}
			before := files(t, filepath.Join(dir, "cdk.out"))

			again := cdk(t, dir, "synth", "--quiet", "--context", "env="+env)
			if again.code != 0 || strings.Contains(again.stderr, "Validating") {
				t.Errorf("the second synth ended with %d and validated again:\n%s", again.code, again.stderr)
			}
			after := files(t, filepath.Join(dir, "cdk.out"))
			delete(before, report) // says what was validated, and so is not the same
			delete(after, report)
			if diff := cmp.Diff(before, after); diff != "" {
				t.Errorf("the assembly depends on the validation\n%s", diff)
			}
		})
	}
}

// With prod in another account and region, which needs a key and a stack more.
func TestValidationFindsNothingInTheDelivery(t *testing.T) {
	dir := withAccounts(t)
	edit(t, filepath.Join(dir, "config", "prod.yaml"), func(s string) string {
		s = strings.Replace(s, "111111111111", "222222222222", 1)
		s = strings.Replace(s, "region: us-east-1", "region: eu-west-1", 1)
		return strings.NewReplacer("us-east-1a", "eu-west-1a", "us-east-1b", "eu-west-1b").Replace(s)
	})
	for _, validates := range []bool{true, false} {
		run := cdk(t, dir, "synth", "--quiet", "--context", "delivery=true")
		if run.code != 0 || strings.Contains(run.stderr, "Validating") != validates {
			t.Fatalf("cdk synth ended with %d, and it should have validated: %t\n%s", run.code, validates, run.stderr)
		}
		if findings := findings(t, filepath.Join(dir, "cdk.out", report)); validates && len(findings) > 0 {
			t.Errorf("findings: %v", findings)
		}
	}
	edit(t, filepath.Join(dir, "config", "delivery.yaml"), func(s string) string {
		return strings.Replace(s, "    approval: true", "    approval: false", 1)
	})
	if run := cdk(t, dir, "synth", "--quiet", "--context", "delivery=true"); run.code != 0 || !strings.Contains(run.stderr, "Validating") {
		t.Errorf("cdk synth of a changed delivery.yaml ended with %d and did not validate it:\n%s", run.code, run.stderr)
	}
}

func TestValidationFailsOnAFaultEveryTime(t *testing.T) {
	dir := project(t)
	buildWithFault(t, dir)
	for i := range 2 {
		run := cdk(t, dir, "synth", "--quiet")
		if run.code == 0 {
			t.Fatalf("synth %d of a template with a fault succeeded:\n%s", i+1, run.stderr)
		}
		if !strings.Contains(run.stderr, "GroupDescription") {
			t.Errorf("synth %d does not name the fault:\n%s", i+1, run.stderr)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, ".cdk-validated")); err == nil {
		t.Error("a template with a fault was taken for validated")
	}
}

// buildWithFault puts into dir an application whose security group has a description that EC2 refuses.
func buildWithFault(t *testing.T, dir string) {
	t.Helper()
	source, err := filepath.Abs(filepath.Join("stacks", "service.go"))
	if err != nil {
		t.Fatal(err)
	}
	good := readOne(t, source)
	faulty := strings.Replace(good, `"Tasks: the port of the application`, `"Tasks: the application's port`, 1)
	if faulty == good {
		t.Fatal("stacks/service.go has no such description")
	}
	replacement := filepath.Join(t.TempDir(), "service.go")
	overlay := filepath.Join(t.TempDir(), "overlay.json")
	body, err := json.Marshal(map[string]any{"Replace": map[string]string{source: replacement}})
	if err != nil {
		t.Fatal(err)
	}
	for file, content := range map[string]string{replacement: faulty, overlay: string(body)} {
		if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}

	bin := filepath.Join(dir, "bin")
	tool, err := filepath.EvalSymlinks(filepath.Join(bin, "infra"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(bin); err != nil { // the link
		t.Fatal(err)
	}
	if err := os.Mkdir(bin, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(tool, filepath.Join(bin, "infra")); err != nil {
		t.Fatal(err)
	}
	build := exec.Command("go", "build", "-overlay", overlay, "-o", filepath.Join(bin, "app"), ".")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// findings are the rules of AWS that a validation report says are broken. The application's own annotations are none.
func findings(t *testing.T, file string) []string {
	t.Helper()
	var content struct {
		PluginReports []struct {
			PluginName string
			Violations []struct{ RuleName string }
		}
	}
	if err := json.Unmarshal([]byte(readOne(t, file)), &content); err != nil {
		t.Fatal(err)
	}
	if len(content.PluginReports) == 0 {
		t.Fatalf("%s reports no validation at all", file)
	}
	var rules []string
	for _, plugin := range content.PluginReports {
		for _, violation := range plugin.Violations {
			if plugin.PluginName != "Construct Annotations" {
				rules = append(rules, violation.RuleName)
			}
		}
	}
	return rules
}
