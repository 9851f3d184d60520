//go:build validate

package main_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
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
			dir := project(t, t.TempDir())
			body := "project: shop\nregion: eu-west-1\ndatabase:\n  name: shop\n  user: shopper\n"
			if err := os.WriteFile(filepath.Join(dir, "config", fourKeys+".yaml"), []byte(body), 0o644); err != nil {
				t.Fatal(err)
			}
			validated := cdk(t, dir, "synth", "--quiet", "--context", "env="+env)
			if validated.code != 0 {
				t.Fatalf("cdk synth ended with %d:\n%s", validated.code, validated.stderr)
			}
			expectClean(t, filepath.Join(dir, "cdk.out"))
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
	dir := project(t, t.TempDir())
	for _, file := range []string{"delivery", "dev", "prod"} {
		edit(t, filepath.Join(dir, "config", file+".yaml"), func(s string) string { return "account: \"111111111111\"\n" + s })
	}
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
		if validates {
			expectClean(t, filepath.Join(dir, "cdk.out"))
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
	dir := project(t, t.TempDir())
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

// expectClean fails for each rule of AWS, error or warning, that an assembly breaks and does not acknowledge, and for each that
// it acknowledges and does not break. So it also fails if a stage of the delivery is not validated.
func expectClean(t *testing.T, assembly string) {
	t.Helper()
	v := readValidation(t, assembly)
	for _, finding := range v.open {
		t.Errorf("%s\nMend it, or acknowledge it beside its construct with a reason: awscdk.Validations_Of(construct).Acknowledge", finding)
	}
	for _, stale := range v.stale() {
		t.Errorf("%s: %s is acknowledged, but nothing breaks it: remove the acknowledgement", stale.path, stale.rule)
	}
	t.Logf("figure: %d rules of AWS's validation acknowledged in %s", len(v.found), t.Name())
}

// validation is what the library's validation says of an assembly.
type validation struct {
	open         []string     // rules that are broken
	found        []brokenRule // those that are acknowledged, at the resource
	acknowledged []brokenRule // what the constructs acknowledge, for themselves and what is below them
}

type brokenRule struct{ rule, path string }

func (v validation) stale() []brokenRule {
	return slices.DeleteFunc(slices.Clone(v.acknowledged), func(a brokenRule) bool {
		return slices.ContainsFunc(v.found, func(f brokenRule) bool {
			return f.rule == a.rule && (f.path == a.path || strings.HasPrefix(f.path, a.path+"/"))
		})
	})
}

// ofTheLibrary is what the library acknowledges itself, on each stack whose zones it is asked for.
const ofTheLibrary = "CloudFormation-Validate::W3010"

func readValidation(t *testing.T, assembly string) validation {
	t.Helper()
	type finding struct {
		RuleName, Severity, Description string
		AcknowledgedID                  string
		ViolatingConstructs             []struct{ ConstructPath string }
	}
	var content struct {
		PluginReports []struct {
			PluginName                       string
			Violations, SuppressedViolations []finding
		}
	}
	if err := json.Unmarshal([]byte(readOne(t, filepath.Join(assembly, report))), &content); err != nil {
		t.Fatal(err)
	}
	var v validation
	ran := false
	for _, plugin := range content.PluginReports {
		if plugin.PluginName == "Construct Annotations" { // the application's own
			continue
		}
		ran = true
		for _, f := range plugin.Violations {
			v.open = append(v.open, fmt.Sprintf("%s %s at %v: %s", f.Severity, f.RuleName, f.ViolatingConstructs, f.Description))
		}
		for _, f := range plugin.SuppressedViolations {
			for _, construct := range f.ViolatingConstructs {
				v.found = append(v.found, brokenRule{f.AcknowledgedID, construct.ConstructPath})
			}
		}
	}
	if !ran {
		t.Fatalf("%s reports no validation at all", assembly)
	}
	for name, body := range files(t, assembly) {
		if !strings.HasSuffix(name, ".metadata.json") {
			continue
		}
		var constructs map[string][]struct {
			Type string
			Data json.RawMessage
		}
		if err := json.Unmarshal([]byte(body), &constructs); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for path, entries := range constructs {
			for _, entry := range entries {
				var reasons map[string]string
				if entry.Type != "aws:cdk:acknowledged-rules" {
					continue
				}
				if err := json.Unmarshal(entry.Data, &reasons); err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				for id := range reasons {
					if id != ofTheLibrary {
						v.acknowledged = append(v.acknowledged, brokenRule{id, strings.TrimPrefix(path, "/")})
					}
				}
			}
		}
	}
	return v
}

func TestAStaleAcknowledgementIsFound(t *testing.T) {
	dir := t.TempDir()
	for name, body := range map[string]string{
		report: `{"pluginReports": [{"pluginName": "CloudFormation Validate", "violations": [],
			"suppressedViolations": [{"acknowledgedId": "A::E1", "acknowledgedAt": "prod/Data/Database",
				"violatingConstructs": [{"constructPath": "dev/Data/Database/Resource"}, {"constructPath": "prod/Data/Database/Resource"}]}]}]}`,
		"data.metadata.json": `{"/dev/Data/Database": [{"type": "aws:cdk:acknowledged-rules", "data": {"A::E1": "why"}}, {"type": "aws:cdk:path", "data": 1}],
			"/dev/Data/Bucket": [{"type": "aws:cdk:acknowledged-rules", "data": {"A::E1": "why"}}]}`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(body), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if stale := readValidation(t, dir).stale(); len(stale) != 1 || stale[0] != (brokenRule{"A::E1", "dev/Data/Bucket"}) {
		t.Errorf("stale: %q", stale)
	}
}
