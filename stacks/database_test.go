package stacks_test

import (
	"fmt"
	"strings"
	"testing"

	"flask-on-fargate/config"
)

func TestDatabase(t *testing.T) {
	forEachShipped(t, func(t *testing.T, env environment, cfg config.Environment) {
		database := env.One(t, "AWS::RDS::DBInstance")
		want(t, database, "mysql", "Engine")
		want(t, database, cfg.Database.EngineVersion, "EngineVersion")
		want(t, database, cfg.Database.InstanceClass, "DBInstanceClass")
		want(t, database, "gp3", "StorageType")
		want(t, database, fmt.Sprint(cfg.Database.StorageGiB), "AllocatedStorage")
		want(t, database, true, "StorageEncrypted")
		want(t, database, false, "PubliclyAccessible")
		want(t, database, cfg.Database.BackupRetentionDays, "BackupRetentionPeriod")
		want(t, database, cfg.Database.MultiAZ, "MultiAZ")
		want(t, database, cfg.Database.Name, "DBName")
		want(t, database, cfg.Database.User, "MasterUsername")
		want(t, database, cfg.Retain, "DeletionProtection")
		for _, subnet := range references(env.One(t, "AWS::RDS::DBSubnetGroup").Properties["SubnetIds"]) {
			if !strings.Contains(subnet, "PrivateSubnet") {
				t.Errorf("the database is in %s, want private subnets", subnet)
			}
		}
		parameters := env.One(t, "AWS::RDS::DBParameterGroup")
		want(t, database, map[string]any{"Ref": parameters.ID}, "DBParameterGroupName")
		want(t, parameters, map[string]any{"require_secure_transport": "1"}, "Parameters")
		want(t, parameters, "mysql"+cfg.Database.EngineVersion, "Family")
	})
}

func TestDatabaseOptions(t *testing.T) {
	env := decodeTemplates(t, synthesize(t, minimal(func(env *config.Environment) {
		env.Database.RequireTLS = false
		env.Database.AllowMajorUpgrade = true
		env.NotificationTopicArn = "arn:aws:sns:eu-west-1:123456789012:operators"
	})))
	database := env.One(t, "AWS::RDS::DBInstance")
	want(t, env.One(t, "AWS::RDS::DBParameterGroup"), map[string]any{"require_secure_transport": "0"}, "Parameters")
	want(t, database, true, "AllowMajorVersionUpgrade")
	want(t, database, "open-source-rds-extended-support", "EngineLifecycleSupport")
	events := env.One(t, "AWS::RDS::EventSubscription")
	want(t, events, "arn:aws:sns:eu-west-1:123456789012:operators", "SnsTopicArn")
	want(t, events, []any{map[string]any{"Ref": database.ID}}, "SourceIds")

	prod := decode(t, "prod").One(t, "AWS::RDS::DBInstance")
	want(t, prod, "open-source-rds-extended-support-disabled", "EngineLifecycleSupport")
}

func TestTheCostOfExtendedSupportIsAWarningWithItsRemedy(t *testing.T) {
	for version, want := range map[string]int{"8.0": 1, "8.4": 0} {
		found := 0
		for _, stack := range assemble(t, minimal(func(env *config.Environment) { env.Database.EngineVersion = version })) {
			for _, message := range *stack.Messages() {
				said, _ := message.Entry.Data.(string)
				if strings.Contains(said, "about 146 USD a month") && strings.Contains(said, `set database.engineVersion to "8.4" in config/test.yaml`) {
					found++
				}
			}
		}
		if found != want {
			t.Errorf("MySQL %s: %d warnings of its cost, want %d", version, found, want)
		}
	}
}
