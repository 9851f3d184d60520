package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"flask-on-fargate/internal/golden"
)

var reviewCases = []struct {
	name  string
	edits map[string][]golden.Edit // by stack
}{
	{"nothing", nil},
	{"more-memory", map[string][]golden.Edit{"service": golden.Edits(golden.Set(golden.Task+".Properties.Cpu", "512"), golden.Set(golden.Task+".Properties.Memory", "1024"))}},
	{"variable", map[string][]golden.Edit{"service": golden.Edits(golden.First(golden.Task+".Properties.ContainerDefinitions", func(container map[string]any) {
		container["Environment"] = append(container["Environment"].([]any), map[string]any{"Name": "LOG_LEVEL", "Value": "a `quoted` debug"})
	}))}},
	{"more-tasks", map[string][]golden.Edit{"service": golden.Edits(golden.Set(golden.Service+".Properties.DesiredCount", 4))}},
	{"schema", map[string][]golden.Edit{"service": golden.Edits(golden.Set(golden.Schema+".Properties.SchemaHash", strings.Repeat("ab", 32)))}},
	{"schema-again", map[string][]golden.Edit{"service": golden.Edits(golden.Set(golden.Schema+".Properties.EngineVersion", "8.0"))}},
	{"schema-script", map[string][]golden.Edit{"service": golden.Edits(golden.Nth(golden.SchemaTask+".Properties.ContainerDefinitions", 1, func(container map[string]any) {
		command := container["Command"].([]any)
		command[2] = command[2].(string) + "echo `date`\n\nexit 0\n"
	}))}},
	{"service-network", map[string][]golden.Edit{"service": golden.Edits(golden.Set(golden.Service+".Properties.NetworkConfiguration.AwsvpcConfiguration.AssignPublicIp", "ENABLED"),
		golden.Set(golden.Service+".Properties.ServiceConnectConfiguration", map[string]any{"Enabled": true}))}},
	{"service-name", map[string][]golden.Edit{"service": golden.Edits(golden.Set(golden.Service+".Properties.ServiceName", "web"))}},
	{"engine", map[string][]golden.Edit{"data": golden.Edits(golden.Set(golden.Database+".Properties.Engine", "mariadb"))}},
	{"type", map[string][]golden.Edit{"network": golden.Edits(golden.Set(golden.Subnet, map[string]any{"Type": "AWS::EC2::VPC"}))}},
	{"larger-database", map[string][]golden.Edit{"data": golden.Edits(golden.Set(golden.Database+".Properties.DBInstanceClass", "db.m7g.large"),
		golden.Set(golden.Database+".Properties.AllocatedStorage", "200"), golden.Set(golden.Database+".Properties.MultiAZ", false))}},
	{"database-name", map[string][]golden.Edit{"data": golden.Edits(golden.Set(golden.Database+".Properties.DBName", "other")), "service": golden.Edits(
		golden.First(golden.Task+".Properties.ContainerDefinitions", func(container map[string]any) { container["Environment"] = []any{} }))}},
	{"range", map[string][]golden.Edit{"network": golden.Edits(golden.Set(golden.VPC+".Properties.CidrBlock", "10.9.0.0/16"))}},
	{"permission", map[string][]golden.Edit{"service": golden.Edits(golden.First(golden.TaskPolicy+".Properties.PolicyDocument.Statement", func(statement map[string]any) {
		statement["Action"] = []any{"s3:ListBucket", "s3:GetObject"}
	}))}},
	{"administrator", map[string][]golden.Edit{"service": golden.Edits(golden.Set(golden.TaskRole+".Properties.ManagedPolicyArns", []any{"arn:aws:iam::aws:policy/AdministratorAccess"}),
		golden.First(golden.TaskPolicy+".Properties.PolicyDocument.Statement", func(statement map[string]any) {
			delete(statement, "Action")
			statement["NotAction"] = []any{"s3:DeleteBucket", "s3:PutBucketPolicy"}
		}))}},
	{"trust", map[string][]golden.Edit{"service": golden.Edits(golden.First(golden.TaskRole+".Properties.AssumeRolePolicyDocument.Statement", func(statement map[string]any) {
		statement["Principal"] = map[string]any{"AWS": "arn:aws:iam::222222222222:root"}
	}))}},
	{"log-permission", map[string][]golden.Edit{"network": golden.Edits(golden.First("CustomVpcRestrictDefaultSGCustomResourceProviderWriteLogs911E9E25.Properties.PolicyDocument.Statement",
		func(statement map[string]any) { statement["Action"] = []any{"logs:PutLogEvents"} }))}},
	{"reachability", map[string][]golden.Edit{"service": golden.Edits(
		golden.First(golden.BalancerGroup+".Properties.SecurityGroupIngress", func(rule map[string]any) { rule["FromPort"], rule["ToPort"] = 443.0, 443.0 }),
		golden.Set("TasksToDatabase.Properties.FromPort", 3306.0), golden.Set("TasksToDatabase.Properties.ToPort", 3310.0))}},
	{"retain", lowerRetain},
	{"function", map[string][]golden.Edit{"pipeline": golden.Edits(golden.Set(golden.ReleaseFunction+".Properties.Code.S3Key", strings.Repeat("cd", 32)+".zip"),
		golden.Set(golden.ReleaseFunction+".Metadata.aws:asset:path", "asset."+strings.Repeat("cd", 32)+".zip"))}},
	{"bucket", map[string][]golden.Edit{"data": golden.Edits(golden.Remove(golden.Bucket), golden.Remove("BucketPolicyE9A3008A"),
		golden.Set("Photos", map[string]any{"Type": "AWS::S3::Bucket", "Metadata": map[string]any{"aws:cdk:path": "prod/Data/Photos/Resource"}}))}},
	{"metadata", map[string][]golden.Edit{
		"network": golden.Edits(golden.Set(golden.VPC+".Metadata.aws:cdk:path", "prod/Network/Vpc/Resource")),
		"service": golden.Edits(golden.Set(golden.Task+".Metadata.reason", "x"), golden.Set(golden.Service+".Properties.DesiredCount", 4), golden.Set(golden.BalancerGroup+".Metadata.reason", "y")),
		"data":    golden.Edits(golden.Set(golden.Database+".Metadata.reason", "x"), golden.Set(golden.Database+".Properties.MultiAZ", false)),
	}},
	{"health-check", map[string][]golden.Edit{"service": golden.Edits(golden.Set("WebLBPublicListenerECSGroupB52EA5B2.Properties.HealthCheckPath", "/healthy"))}},
}

func TestReviewOfChanges(t *testing.T) {
	w := guardWorld(t, &fakeStacks{}, "")
	golden.WriteAssembly(t, "base/prod", "prod", nil)
	for _, test := range reviewCases {
		t.Run(test.name, func(t *testing.T) {
			dir := filepath.Join("app", test.name)
			golden.WriteAssembly(t, filepath.Join(dir, "prod"), "prod", test.edits)
			r, err := reviewOptions{base: "base", app: dir}.review(t.Context(), w, os.Stderr)
			if err != nil {
				t.Fatal(err)
			}
			for format, render := range renderers {
				var out bytes.Buffer
				render(&out, r)
				checkText(t, filepath.Join("review", test.name+map[string]string{"text": ".txt", "markdown": ".md"}[format]), out.String())
			}
		})
	}
}

// checkReview runs the command as a user does, and compares the Markdown with the recorded one.
func checkReview(t *testing.T, w world, name string, args ...string) {
	t.Helper()
	var out, problems bytes.Buffer
	if code := runIn(w, append([]string{"review", "--format", "markdown"}, args...), nil, &out, &problems); code != 0 {
		t.Errorf("%s: exit code %d, stderr %s", name, code, &problems)
	}
	checkText(t, filepath.Join("review", name+".md"), out.String())
}

func TestReviewHeedsTheAllowances(t *testing.T) {
	w := guardWorld(t, &fakeStacks{}, `guard:
  allow:
    - logicalId: `+golden.Database+`
      property: BackupRetentionPeriod
      hash: "f3013913cffc6a8c"
      reason: A week is what the contract asks for.
    - logicalId: `+golden.Database+`
      property: DBName
      hash: "5c2e659e9ce86a4d"
      reason: This one is not made.
`)
	golden.WriteAssembly(t, "base", "prod", nil)
	golden.WriteAssembly(t, "cdk.out", "prod", map[string][]golden.Edit{"data": golden.Edits(golden.Set(golden.Database+".Properties.BackupRetentionPeriod", 7))})
	checkReview(t, w, "allowed", "--base", "base")
}

// The delivery has a stack of its own, beside those of the environments.
func TestReviewOfAStackInNoEnvironment(t *testing.T) {
	w := guardWorld(t, &fakeStacks{}, "")
	for dir, resources := range map[string]string{"base": `{"Artifacts": {"Type": "AWS::S3::Bucket"}}`, "cdk.out": `{}`} {
		golden.Put(t, filepath.Join(dir, "manifest.json"), `{"artifacts": {"Delivery": {"type": "aws:cloudformation:stack", "properties": {"templateFile": "t.json"}}}}`)
		golden.Put(t, filepath.Join(dir, "t.json"), `{"Resources": `+resources+`}`)
	}
	checkReview(t, w, "no-environment", "--base", "base")
}

func TestReviewOfEnvironments(t *testing.T) {
	w := guardWorld(t, &fakeStacks{}, "")
	shipped, err := os.ReadFile(filepath.Join(golden.Root, configDir, "dev.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	golden.Put(t, "config/dev.yaml", string(shipped))
	revisions(t, map[string]map[string][]golden.Edit{"prod": nil, "dev": nil}, nil)
	golden.WriteAssembly(t, "without/prod", "prod", nil)
	golden.WriteAssembly(t, "with/prod", "prod", nil)
	golden.WriteAssembly(t, "with/dev", "dev", nil)
	for name, args := range map[string][]string{
		"new-environment":  {"--base", "without", "--app", "with"},
		"gone-environment": {"--base", "with", "--app", "without"},
		"revision":         {"--base", "before", "--app", "with"},
	} {
		checkReview(t, w, name, args...)
	}
}

func TestReviewRefusesWrongUse(t *testing.T) {
	w := guardWorld(t, &fakeStacks{}, "")
	golden.WriteAssembly(t, "cdk.out", "prod", nil)
	for name, test := range map[string]struct {
		args []string
		want string
	}{
		"no base":        {nil, "--base is missing"},
		"unknown format": {[]string{"--base", "cdk.out", "--format", "html"}, `--format is "html": choose text or markdown`},
		"argument":       {[]string{"main"}, `["main"] given, but the command takes flags only`},
		"no such base":   {[]string{"--base", "nowhere"}, `"nowhere" is neither a folder nor a git revision`},
	} {
		t.Run(name, func(t *testing.T) {
			var out, problems bytes.Buffer
			if code := runIn(w, append([]string{"review"}, test.args...), nil, &out, &problems); code != 2 || !strings.Contains(problems.String(), test.want) {
				t.Errorf("exit code %d, stderr %q, want it to contain %q", code, &problems, test.want)
			}
		})
	}
}

// An environment that the change removes is in the base only.
func TestReviewSynthesizesEveryEnvironment(t *testing.T) {
	w := guardWorld(t, &fakeStacks{}, "")
	shipped, err := os.ReadFile(filepath.Join(golden.Root, configDir, "dev.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	golden.Put(t, "config/dev.yaml", string(shipped))
	revisions(t, map[string]map[string][]golden.Edit{"prod": nil, "dev": nil}, nil)
	putCLI(t)
	if err := os.Remove("config/dev.yaml"); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", t.TempDir())
	var out, problems bytes.Buffer
	if code := runIn(w, []string{"review", "--synth", "--base", "before"}, nil, &out, &problems); code != 0 {
		t.Errorf("exit code %d, stderr %s", code, &problems)
	}
	for _, want := range []string{"Compared with before. Nothing changed in prod.\n\nEnvironment dev\n", "Stack flask-app-dev-data (gone from the project)\n    its 19 resources stay as they are"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in the report:\n%s", want, &out)
		}
	}
	want := regexp.MustCompile(`^Synthesizing prod\nSynthesizing dev of before \(.{12}\), which builds it first: up to three minutes\nSynthesizing prod of before \(.{12}\)\n$`)
	if !want.Match(problems.Bytes()) {
		t.Errorf("progress is %q", &problems)
	}
	if called, err := os.ReadFile("called"); err != nil || !strings.Contains(string(called), ", validation false") {
		t.Errorf("the CDK CLI was called with %s, %v", called, err)
	}
	if left, err := os.ReadDir(os.Getenv("TMPDIR")); err != nil || len(left) != 0 {
		t.Errorf("left in the temporary folder: %v, %v", left, err)
	}
	golden.Put(t, "config/dev.yaml", "regoin: x\n")
	problems.Reset()
	if code := runIn(w, []string{"review", "--synth", "--base", "before"}, nil, &out, &problems); code != 2 || strings.Contains(problems.String(), "Synthesizing") || !strings.Contains(problems.String(), "regoin") {
		t.Errorf("a wrong file: exit code %d, stderr %s", code, &problems)
	}
}
