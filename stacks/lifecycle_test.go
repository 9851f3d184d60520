package stacks_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"flask-on-fargate/config"
)

// checkLifecycle wants exactly the data to outlive a retained environment, and nothing another one.
func checkLifecycle(env environment, cfg config.Environment) []string {
	var broken, stays []string
	for _, id := range slices.Sorted(maps.Keys(env.Resources)) {
		r := env.Resources[id]
		if r.DeletionPolicy != "" && r.DeletionPolicy != "Delete" {
			stays = append(stays, fmt.Sprintf("%s %s %s", pathOf(r), r.Type, r.DeletionPolicy))
		}
		name, _ := r.Properties["LogGroupName"].(string)
		if r.Type == "AWS::Logs::LogGroup" && r.DeletionPolicy != "Delete" {
			broken = append(broken, fmt.Sprintf("the log group %s %s stays after destroy", r.ID, name))
		}
	}
	wanted := []string{}
	if cfg.Retain {
		wanted = []string{
			"Data/Bucket/Resource AWS::S3::Bucket RetainExceptOnCreate", "Data/Database/Credentials/Resource AWS::SecretsManager::Secret RetainExceptOnCreate",
			"Data/Database/Instance/Resource AWS::RDS::DBInstance Snapshot", "Data/FlaskSecret/Resource AWS::SecretsManager::Secret RetainExceptOnCreate",
			"Data/Repository/Resource AWS::ECR::Repository RetainExceptOnCreate",
		}
	}
	slices.Sort(stays)
	slices.Sort(wanted)
	if !slices.Equal(stays, wanted) {
		broken = append(broken, fmt.Sprintf("after destroy there stay %q, want exactly %q", stays, wanted))
	}
	emptied := map[string]bool{}
	for _, r := range env.all("Custom::S3AutoDeleteObjects") {
		emptied[references(r.Properties["BucketName"])[0]] = true
	}
	for _, bucket := range env.all("AWS::S3::Bucket") {
		if stays := bucket.DeletionPolicy != "Delete"; stays == emptied[bucket.ID] {
			broken = append(broken, fmt.Sprintf("%s has the deletion policy %s; emptied when destroyed: %v", bucket.ID, bucket.DeletionPolicy, emptied[bucket.ID]))
		}
	}
	return broken
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
