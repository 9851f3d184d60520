package stacks_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-cdk-go/awscdk/v2/cxapi"

	"flask-on-fargate/config"
	"flask-on-fargate/stacks"
)

// checkLifecycle wants exactly the data to outlive a retained environment, and nothing another one.
func checkLifecycle(env environment, cfg config.Environment) []string {
	kept := []string{}
	if cfg.Retain {
		kept = []string{
			"Data/Bucket/Resource AWS::S3::Bucket RetainExceptOnCreate Retain", "Data/Database/Credentials/Resource AWS::SecretsManager::Secret RetainExceptOnCreate Retain",
			"Data/Database/Instance/Resource AWS::RDS::DBInstance Snapshot Snapshot", "Data/FlaskSecret/Resource AWS::SecretsManager::Secret RetainExceptOnCreate Retain",
			"Data/Repository/Resource AWS::ECR::Repository RetainExceptOnCreate Retain",
		}
	}
	broken := checkRemoval(env, kept...)
	for _, instance := range env.all("AWS::RDS::DBInstance") {
		if protected := instance.Properties["DeletionProtection"] == true; protected != cfg.Retain {
			broken = append(broken, fmt.Sprintf("the deletion protection of %s is %v, want %v", instance.ID, protected, cfg.Retain))
		}
		if backups := instance.Properties["DeleteAutomatedBackups"] != false; backups == cfg.Retain {
			broken = append(broken, fmt.Sprintf("the backups of %s go with it: %v, want %v", instance.ID, backups, !cfg.Retain))
		}
	}
	return broken
}

// deletionPolicy is what CloudFormation does with a resource when it, or its stack, is deleted; a resource that names nothing has a
// default. https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-attribute-deletionpolicy.html
func deletionPolicy(r resource) string {
	switch {
	case r.DeletionPolicy != "":
		return r.DeletionPolicy
	case r.Type == "AWS::RDS::DBCluster", r.Type == "AWS::RDS::DBInstance" && r.Properties["DBClusterIdentifier"] == nil:
		return "Snapshot"
	}
	return "Delete"
}

// checkRemoval wants exactly the resources in kept, each as "path type deletion policy policy of its replacement", to outlive their
// stacks, and the removal of the others to succeed and leave nothing.
func checkRemoval(env environment, kept ...string) []string {
	var broken, stays []string
	fail := func(format string, args ...any) { broken = append(broken, fmt.Sprintf(format, args...)) }
	emptied := map[string]bool{}
	for _, r := range env.all("Custom::S3AutoDeleteObjects") {
		for _, bucket := range references(r.Properties["BucketName"]) {
			emptied[bucket] = true
		}
	}
	hasLogGroup := func(r resource, path ...any) {
		if groups := references(at(r.Properties, path...)); len(groups) != 1 || env.Resources[groups[0]].Type != "AWS::Logs::LogGroup" {
			fail("%s has no declared log group: the one that it makes for itself stays", r.ID)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(env.Resources)) {
		r := env.Resources[id]
		policy, goes := deletionPolicy(r), deletionPolicy(r) == "Delete"
		if !goes || r.UpdateReplacePolicy != "" && r.UpdateReplacePolicy != "Delete" {
			stays = append(stays, strings.TrimSpace(fmt.Sprintf("%s %s %s %s", pathOf(r), r.Type, policy, r.UpdateReplacePolicy)))
		}
		switch r.Type {
		case "AWS::S3::Bucket":
			if goes != emptied[id] {
				fail("%s has the deletion policy %s; emptied when destroyed: %v", id, policy, emptied[id])
			}
		case "AWS::ECR::Repository": // a kept one too, or a failed first deploy could not be rolled back
			if r.Properties["EmptyOnDelete"] != true {
				fail("%s is not emptied when it is deleted, which fails then", id)
			}
		case "AWS::ElasticLoadBalancingV2::LoadBalancer":
			for _, attribute := range list(r.Properties["LoadBalancerAttributes"]) {
				if at(attribute, "Key") == "deletion_protection.enabled" && at(attribute, "Value") != "false" {
					fail("%s is protected: its stack could not be destroyed", id)
				}
			}
		case "AWS::Logs::LogGroup":
			if protected := r.Properties["DeletionProtectionEnabled"]; protected != nil && protected != false {
				fail("%s is protected: its stack could not be destroyed", id)
			}
		case "AWS::RDS::DBInstance":
			if interval := r.Properties["MonitoringInterval"]; interval != nil && interval != 0.0 {
				fail("%s has Enhanced Monitoring, whose log group RDS makes itself: it stays", id)
			}
			if logs := list(r.Properties["EnableCloudwatchLogsExports"]); goes && len(logs) > 0 {
				fail("%s exports %s to log groups that RDS makes and that stay", id, text(logs))
			}
		case "AWS::ECS::Cluster":
			for _, setting := range list(r.Properties["ClusterSettings"]) {
				if at(setting, "Name") == "containerInsights" && at(setting, "Value") != "disabled" {
					fail("%s has Container Insights, whose log group ECS makes itself: it stays", id)
				}
			}
		case "AWS::Lambda::Function":
			hasLogGroup(r, "LoggingConfig", "LogGroup")
		case "AWS::CodeBuild::Project":
			hasLogGroup(r, "LogsConfig", "CloudWatchLogs", "GroupName")
		case "AWS::ECS::TaskDefinition":
			for i := range list(r.Properties["ContainerDefinitions"]) {
				hasLogGroup(r, "ContainerDefinitions", i, "LogConfiguration", "Options", "awslogs-group")
			}
		}
	}
	slices.Sort(stays)
	slices.Sort(kept)
	if !slices.Equal(stays, kept) {
		fail("after destroy there stay %q, want exactly %q", stays, kept)
	}
	return broken
}

// With an environment in another account the pipeline has a key and a bucket there besides.
func TestNothingOfTheDeliveryStaysAfterDestroy(t *testing.T) {
	for _, env := range []environment{theDelivery(t), theCrossing(t)} {
		for _, broken := range checkRemoval(env) {
			t.Error(broken)
		}
	}
	if buckets, keys := len(theCrossing(t).all("AWS::S3::Bucket")), len(theCrossing(t).all("AWS::KMS::Key")); buckets != 3 || keys != 2 {
		t.Errorf("%d buckets and %d keys, want 3 and 2", buckets, keys)
	}
}

func TestWhatWouldStayOrGoIsNoticed(t *testing.T) {
	policies := func(path, deletion, replacement string) func(*testing.T, environment) {
		return func(t *testing.T, env environment) {
			r := env.byPath(t, path)
			r.DeletionPolicy, r.UpdateReplacePolicy = deletion, replacement
			env.Resources[r.ID] = r
		}
	}
	wantNoticed(t, checkLifecycle, map[string]fault{
		"a kept bucket":               {policies("Data/Bucket/Resource", "Retain", "Delete"), "there stay"},
		"a kept log group":            {policies("Service/Logs/Resource", "Retain", "Delete"), `there stay ["Service/Logs/Resource AWS::Logs::LogGroup Retain Delete"]`},
		"what a replacement leaves":   {policies("Data/Bucket/Resource", "Delete", "Retain"), "there stay"},
		"the default of a database":   {policies("Data/Database/Instance/Resource", "", ""), `there stay ["Data/Database/Instance/Resource AWS::RDS::DBInstance Snapshot"]`},
		"a protected database":        {set("Data/Database/Instance/Resource", `{"DeletionProtection": true}`), "the deletion protection of data.DatabaseInstanceAA8A5FDE is true, want false"},
		"backups that stay":           {set("Data/Database/Instance/Resource", `{"DeleteAutomatedBackups": false}`), "go with it: false, want true"},
		"a repository that stays":     {set("Data/Repository/Resource", `{"EmptyOnDelete": false}`), "is not emptied"},
		"a protected load balancer":   {set("Service/Web/LB/Resource", `{"LoadBalancerAttributes": [{"Key": "deletion_protection.enabled", "Value": "true"}]}`), "could not be destroyed"},
		"a protected log group":       {set("Service/Logs/Resource", `{"DeletionProtectionEnabled": true}`), "service.Logs6819BB44 is protected"},
		"log groups of the database":  {set("Data/Database/Instance/Resource", `{"EnableCloudwatchLogsExports": ["error"]}`), `exports ["error"] to log groups`},
		"a bucket that is not empty":  {add("AWS::S3::Bucket", `{}`), "emptied when destroyed: false"},
		"a function's own log group":  {add("AWS::Lambda::Function", `{}`), "has no declared log group"},
		"a build's own log group":     {add("AWS::CodeBuild::Project", `{}`), "has no declared log group"},
		"Container Insights":          {set("Service/Cluster/Resource", `{"ClusterSettings": [{"Name": "containerInsights", "Value": "enabled"}]}`), "has Container Insights"},
		"Enhanced Monitoring":         {set("Data/Database/Instance/Resource", `{"MonitoringInterval": 60}`), "has Enhanced Monitoring"},
		"a container's own log group": {add("AWS::ECS::TaskDefinition", `{"ContainerDefinitions": [{}]}`), "has no declared log group"},
	})
}

// checkProtection wants exactly the stacks that end in one of the names to be protected from their termination.
func checkProtection(all []cxapi.CloudFormationStackArtifact, names ...string) []string {
	var broken []string
	for _, stack := range all {
		wanted := slices.ContainsFunc(names, func(name string) bool { return strings.HasSuffix(*stack.StackName(), name) })
		if got := stack.TerminationProtection() != nil && *stack.TerminationProtection(); got != wanted {
			broken = append(broken, fmt.Sprintf("the termination protection of %s is %t, want %t", *stack.StackName(), got, wanted))
		}
	}
	return broken
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
	for _, broken := range checkProtection(all, "-prod-network", "-prod-data") {
		t.Error(broken)
	}
	for says, names := range map[string][]string{
		"flask-app-prod-network is true, want false": {"-prod-data"},
		"flask-app-delivery is false, want true":     {"-prod-network", "-prod-data", "-delivery"},
	} {
		if broken := checkProtection(all, names...); len(broken) != 1 || !strings.Contains(broken[0], says) {
			t.Errorf("noticed: %q, want %q", broken, says)
		}
	}
}

// What a retained environment loses is noticed too.
func TestLostDataIsNoticed(t *testing.T) {
	cfg := load(t, "prod")
	bodies := synthesize(t, cfg)
	paths := []string{"Data/Bucket/Resource", "Data/Database/Credentials/Resource", "Data/Database/Instance/Resource", "Data/FlaskSecret/Resource", "Data/Repository/Resource"}
	for _, path := range paths {
		for _, policies := range [][2]string{{"Delete", "Retain"}, {"RetainExceptOnCreate", "Delete"}, {"RetainExceptOnCreate", ""}, {"Snapshot", "Delete"}, {"Snapshot", ""}, {"", ""}} {
			env := decodeTemplates(t, bodies)
			r := env.byPath(t, path)
			r.DeletionPolicy, r.UpdateReplacePolicy = policies[0], policies[1]
			env.Resources[r.ID] = r
			if broken := strings.Join(checkLifecycle(env, cfg), "\n"); !strings.Contains(broken, "there stay") {
				t.Errorf("%s with the policies %q: noticed %q", path, policies, broken)
			}
		}
	}
	for says, lost := range map[string]string{
		"the deletion protection of data.DatabaseInstanceAA8A5FDE is false": `{"DeletionProtection": false}`,
		"the backups of data.DatabaseInstanceAA8A5FDE go with it: true":     `{"DeleteAutomatedBackups": true}`,
	} {
		env := decodeTemplates(t, bodies)
		set("Data/Database/Instance/Resource", lost)(t, env)
		if broken := strings.Join(checkLifecycle(env, cfg), "\n"); !strings.Contains(broken, says) {
			t.Errorf("noticed: %q, want %q", broken, says)
		}
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
