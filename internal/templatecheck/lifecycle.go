package templatecheck

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"flask-on-fargate/config"
)

// Lifecycle wants exactly the data to outlive a retained environment, and nothing another one.
func Lifecycle(env Templates, cfg config.Environment) []string {
	kept := []string{}
	if cfg.Retain {
		kept = []string{
			"Data/Bucket/Resource AWS::S3::Bucket RetainExceptOnCreate Retain", "Data/Database/Credentials/Resource AWS::SecretsManager::Secret RetainExceptOnCreate Retain",
			"Data/Database/Instance/Resource AWS::RDS::DBInstance Snapshot Snapshot", "Data/FlaskSecret/Resource AWS::SecretsManager::Secret RetainExceptOnCreate Retain",
			"Data/Repository/Resource AWS::ECR::Repository RetainExceptOnCreate Retain",
		}
	}
	broken := Removal(env, kept...)
	for _, instance := range env.All("AWS::RDS::DBInstance") {
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
func deletionPolicy(r Resource) string {
	switch {
	case r.DeletionPolicy != "":
		return r.DeletionPolicy
	case r.Type == "AWS::RDS::DBCluster", r.Type == "AWS::RDS::DBInstance" && r.Properties["DBClusterIdentifier"] == nil:
		return "Snapshot"
	}
	return "Delete"
}

// Removal wants exactly the resources in kept, each as "path type deletion policy policy of its replacement", to outlive their
// stacks, and the removal of the others to succeed and leave nothing.
func Removal(env Templates, kept ...string) []string {
	var broken, stays []string
	fail := func(format string, args ...any) { broken = append(broken, fmt.Sprintf(format, args...)) }
	emptied := map[string]bool{}
	for _, r := range env.All("Custom::S3AutoDeleteObjects") {
		for _, bucket := range References(r.Properties["BucketName"]) {
			emptied[bucket] = true
		}
	}
	hasLogGroup := func(r Resource, path ...any) {
		if groups := References(At(r.Properties, path...)); len(groups) != 1 || env.Resources[groups[0]].Type != "AWS::Logs::LogGroup" {
			fail("%s has no declared log group: the one that it makes for itself stays", r.ID)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(env.Resources)) {
		r := env.Resources[id]
		policy, goes := deletionPolicy(r), deletionPolicy(r) == "Delete"
		if !goes || r.UpdateReplacePolicy != "" && r.UpdateReplacePolicy != "Delete" {
			stays = append(stays, strings.TrimSpace(fmt.Sprintf("%s %s %s %s", Path(r), r.Type, policy, r.UpdateReplacePolicy)))
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
			for _, attribute := range List(r.Properties["LoadBalancerAttributes"]) {
				if At(attribute, "Key") == "deletion_protection.enabled" && At(attribute, "Value") != "false" {
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
			if logs := List(r.Properties["EnableCloudwatchLogsExports"]); goes && len(logs) > 0 {
				fail("%s exports %s to log groups that RDS makes and that stay", id, Text(logs))
			}
		case "AWS::ECS::Cluster":
			for _, setting := range List(r.Properties["ClusterSettings"]) {
				if At(setting, "Name") == "containerInsights" && At(setting, "Value") != "disabled" {
					fail("%s has Container Insights, whose log group ECS makes itself: it stays", id)
				}
			}
		case "AWS::Lambda::Function":
			hasLogGroup(r, "LoggingConfig", "LogGroup")
		case "AWS::CodeBuild::Project":
			hasLogGroup(r, "LogsConfig", "CloudWatchLogs", "GroupName")
		case "AWS::ECS::TaskDefinition":
			for i := range List(r.Properties["ContainerDefinitions"]) {
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

// Protection wants exactly the stacks that end in one of the names to be protected from their termination. protected says of each
// stack, by its name, whether it is.
func Protection(protected map[string]bool, names ...string) []string {
	var broken []string
	for _, stack := range slices.Sorted(maps.Keys(protected)) {
		wanted := slices.ContainsFunc(names, func(name string) bool { return strings.HasSuffix(stack, name) })
		if got := protected[stack]; got != wanted {
			broken = append(broken, fmt.Sprintf("the termination protection of %s is %t, want %t", stack, got, wanted))
		}
	}
	return broken
}
