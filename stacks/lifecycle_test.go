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
