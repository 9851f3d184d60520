package review_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"flask-on-fargate/internal/assembly"
	"flask-on-fargate/internal/change"
	"flask-on-fargate/internal/folders"
	"flask-on-fargate/internal/review"
	"flask-on-fargate/internal/test/golden"
)

// compare asks AWS's resource schemas.
var compare = (&change.Program{Dir: filepath.Join(golden.Root, change.ProgramDir)}).Compare

// inProject makes a folder with config/prod.yaml and more text in it, and enters it.
func inProject(t *testing.T, more string) {
	t.Helper()
	shipped, err := os.ReadFile(filepath.Join(golden.Root, folders.Config, "prod.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	golden.Put(t, "config/prod.yaml", string(shipped)+more)
}

// check compares the review of two folders of assemblies with the recorded ones.
func check(t *testing.T, name, base, app string, formats ...string) {
	t.Helper()
	read := func(dir string) []assembly.Stack {
		stacks, err := assembly.ReadAll(dir)
		if err != nil {
			t.Fatal(err)
		}
		return stacks
	}
	r, err := review.Of(t.Context(), compare, base, read(base), read(app))
	if err != nil {
		t.Fatal(err)
	}
	for _, format := range formats {
		var out bytes.Buffer
		review.Formats[format](&out, r)
		golden.CheckText(t, name+map[string]string{"text": ".txt", "markdown": ".md"}[format], out.String())
	}
}

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
	{"retain", golden.LowerRetain},
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
	inProject(t, "")
	golden.WriteAssembly(t, "base/prod", "prod", nil)
	for _, test := range reviewCases {
		t.Run(test.name, func(t *testing.T) {
			app := filepath.Join("app", test.name)
			golden.WriteAssembly(t, filepath.Join(app, "prod"), "prod", test.edits)
			check(t, test.name, "base", app, "text", "markdown")
		})
	}
}

func TestReview(t *testing.T) {
	t.Run("heeds_the_allowances", func(t *testing.T) {
		inProject(t, `guard:
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
		golden.WriteAssembly(t, "app", "prod", map[string][]golden.Edit{"data": golden.Edits(golden.Set(golden.Database+".Properties.BackupRetentionPeriod", 7))})
		check(t, "allowed", "base", "app", "markdown")
	})
	// The delivery has a stack of its own, beside those of the environments.
	t.Run("shows_a_stack_in_no_environment", func(t *testing.T) {
		inProject(t, "")
		for dir, resources := range map[string]string{"base": `{"Artifacts": {"Type": "AWS::S3::Bucket"}}`, "app": `{}`} {
			golden.Put(t, filepath.Join(dir, "manifest.json"), `{"artifacts": {"Delivery": {"type": "aws:cloudformation:stack", "properties": {"templateFile": "t.json"}}}}`)
			golden.Put(t, filepath.Join(dir, "t.json"), `{"Resources": `+resources+`}`)
		}
		check(t, "no-environment", "base", "app", "markdown")
	})
	t.Run("shows_environments_that_come_and_go", func(t *testing.T) {
		inProject(t, "")
		shipped, err := os.ReadFile(filepath.Join(golden.Root, folders.Config, "dev.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		golden.Put(t, "config/dev.yaml", string(shipped))
		golden.WriteAssembly(t, "without/prod", "prod", nil)
		golden.WriteAssembly(t, "with/prod", "prod", nil)
		golden.WriteAssembly(t, "with/dev", "dev", nil)
		check(t, "new-environment", "without", "with", "markdown")
		check(t, "gone-environment", "with", "without", "markdown")
	})
}
