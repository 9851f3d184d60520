package stacks_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-cdk-go/awscdk/v2/cxapi"

	"flask-on-fargate/config"
	"flask-on-fargate/internal/templatecheck"
	"flask-on-fargate/stacks"
)

// With an environment in another account the pipeline has a key and a bucket there besides.
func TestNothingOfTheDeliveryStaysAfterDestroy(t *testing.T) {
	for _, env := range []environment{theDelivery(t), theCrossing(t)} {
		for _, broken := range templatecheck.Removal(env) {
			t.Error(broken)
		}
	}
	if buckets, keys := len(theCrossing(t).All("AWS::S3::Bucket")), len(theCrossing(t).All("AWS::KMS::Key")); buckets != 3 || keys != 2 {
		t.Errorf("%d buckets and %d keys, want 3 and 2", buckets, keys)
	}
}

// What holds data stays when its environment is retained, and everything goes when it is not.
func TestDataIsKeptOrGoesAsConfigured(t *testing.T) {
	forEachShipped(t, func(t *testing.T, env environment, cfg config.Environment) {
		wanted := map[string]string{
			"AWS::S3::Bucket": "Delete", "AWS::ECR::Repository": "Delete", "AWS::SecretsManager::Secret": "Delete", "AWS::RDS::DBInstance": "Delete",
		}
		if cfg.Retain {
			wanted = map[string]string{
				"AWS::S3::Bucket": "RetainExceptOnCreate", "AWS::ECR::Repository": "RetainExceptOnCreate",
				"AWS::SecretsManager::Secret": "RetainExceptOnCreate", "AWS::RDS::DBInstance": "Snapshot",
			}
		}
		for _, r := range env.Resources {
			policy, holdsData := wanted[r.Type]
			if strings.HasPrefix(r.ID, "pipeline.") {
				policy, holdsData = "Delete", false // the pipeline's artifacts can be built again
			}
			if holdsData && r.DeletionPolicy != policy {
				t.Errorf("%s has the deletion policy %q, want %q", r.ID, r.DeletionPolicy, policy)
			}
			if !holdsData && r.DeletionPolicy != "" && r.DeletionPolicy != "Delete" {
				t.Errorf("%s stays after destroy (%s) and holds no data", r.ID, r.DeletionPolicy)
			}
		}
		want(t, env.One(t, "AWS::RDS::DBInstance"), !cfg.Retain, "DeleteAutomatedBackups")
		emptied := slices.ContainsFunc(env.All("Custom::S3AutoDeleteObjects"), func(r resource) bool {
			return slices.Contains(references(r.Properties["BucketName"]), photos(t, env).ID)
		})
		if emptied == cfg.Retain {
			t.Errorf("the bucket is emptied on destroy: %v, with retain: %v", emptied, cfg.Retain)
		}
		want(t, env.One(t, "AWS::ECR::Repository"), true, "EmptyOnDelete") // or a failed first deploy could not be rolled back
	})
}

// Whatever writes logs has a declared group: one that it makes for itself stays after destroy.
func TestEveryFunctionAndBuildHasADeclaredLogGroup(t *testing.T) {
	forEachShipped(t, func(t *testing.T, env environment, cfg config.Environment) {
		for _, function := range env.All("AWS::Lambda::Function") {
			group := references(at(function.Properties, "LoggingConfig", "LogGroup"))
			if len(group) != 1 || env.Resources[group[0]].Type != "AWS::Logs::LogGroup" {
				t.Errorf("%s has no log group of its own: %v", function.ID, group)
			}
		}
		build := env.One(t, "AWS::CodeBuild::Project")
		if group := references(at(build.Properties, "LogsConfig", "CloudWatchLogs", "GroupName")); len(group) != 1 {
			t.Errorf("%s has no log group of its own", build.ID)
		}
		if strings.Contains(text(env.All("AWS::IAM::Role")), "AWSLambdaBasicExecutionRole") {
			t.Error("a role may create log groups")
		}
	})
}

func TestStacksWithDataAreProtectedWhereItIsKept(t *testing.T) {
	for _, retain := range []bool{true, false} {
		protected := []string{}
		if retain {
			protected = []string{"-network", "-data"}
		}
		for _, broken := range templatecheck.Protection(terminationProtected(assemble(t, minimal(func(env *config.Environment) { env.Retain = retain }))), protected...) {
			t.Errorf("with retain %t %s", retain, broken)
		}
	}
}

// terminationProtected says of each stack, by its name, whether the assembly asks for its protection.
func terminationProtected(all []cxapi.CloudFormationStackArtifact) map[string]bool {
	protected := map[string]bool{}
	for _, stack := range all {
		protected[*stack.StackName()] = stack.TerminationProtection() != nil && *stack.TerminationProtection()
	}
	return protected
}

// The assembly asks for the protection of delivered stacks too; the pipeline's own hold no data. CDK Pipelines does not apply it, only
// `cdk deploy` does (docs/delivery.md).
func TestDeliveredStacksWithDataAskForProtectionWhereItIsKept(t *testing.T) {
	app := newApp(t, inPlace(t))
	stacks.NewDelivery(app, crossing(t), pinned(t))
	all := *app.Synth(nil).StacksRecursively()
	if len(all) != 2+2*len(stackNames) {
		t.Fatalf("%d stacks", len(all))
	}
	for _, broken := range templatecheck.Protection(terminationProtected(all), "-prod-network", "-prod-data") {
		t.Error(broken)
	}
}

// TestStatefulResourcesKeepTheirLogicalIDs pins what must never change: another id is another resource, and the data is lost.
func TestStatefulResourcesKeepTheirLogicalIDs(t *testing.T) {
	wanted := []string{
		"data.Bucket83908E77 AWS::S3::Bucket",
		"data.DatabaseCredentials24F58BE6 AWS::SecretsManager::Secret",
		"data.DatabaseInstanceAA8A5FDE AWS::RDS::DBInstance",
		"data.FlaskSecretDB73E49F AWS::SecretsManager::Secret",
		"data.Repository22E53BBD AWS::ECR::Repository",
		"network.Network1C6012B5 AWS::EC2::VPC",
		"network.NetworkPrivateSubnet1SubnetC4D46731 AWS::EC2::Subnet",
		"network.NetworkPrivateSubnet2SubnetB345BF84 AWS::EC2::Subnet",
		"network.NetworkPublicSubnet1Subnet5B78347B AWS::EC2::Subnet",
		"network.NetworkPublicSubnet2SubnetC3758C96 AWS::EC2::Subnet",
	}
	stateful := []string{"AWS::S3::Bucket", "AWS::SecretsManager::Secret", "AWS::RDS::DBInstance", "AWS::ECR::Repository", "AWS::EC2::VPC", "AWS::EC2::Subnet"}
	forEachShipped(t, func(t *testing.T, env environment, _ config.Environment) {
		var got []string
		for id, r := range env.Resources {
			if slices.Contains(stateful, r.Type) && !strings.HasPrefix(id, "pipeline.") {
				got = append(got, id+" "+r.Type)
			}
		}
		slices.Sort(got)
		if !slices.Equal(got, wanted) {
			t.Errorf("stateful resources\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(wanted, "\n"))
		}
	})
}
