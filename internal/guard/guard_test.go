package guard_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"flask-on-fargate/internal/change"
	"flask-on-fargate/internal/guard"
	"flask-on-fargate/internal/test/golden"
)

// compare asks AWS's resource schemas.
var compare = (&change.Program{Dir: filepath.Join(golden.Root, change.ProgramDir)}).Compare

// brief writes findings as "rule: logical id.property".
func brief(findings []guard.Finding) []string {
	list := []string{}
	for _, f := range findings {
		list = append(list, fmt.Sprintf("%s: %s.%s", f.Rule, f.LogicalID, f.Property))
	}
	slices.Sort(list)
	return list
}

var templateCases = []struct {
	name       string
	env, stack string
	before     []golden.Edit // what the earlier template has otherwise than the golden one
	after      []golden.Edit
	want       []string
}{
	// Deletion.
	{name: "a database is removed", env: "dev", stack: "data", after: golden.Edits(golden.Remove(golden.Database)),
		want: []string{"deletion: " + golden.Database + ".Resource"}},
	{name: "a retained bucket is removed", env: "prod", stack: "data", after: golden.Edits(golden.Remove(golden.Bucket)),
		want: []string{"deletion: " + golden.Bucket + ".Resource"}},
	{name: "a secret gets another logical id", env: "prod", stack: "data", after: golden.Edits(golden.Remove(golden.Secret),
		golden.Set("FlaskSecret2", map[string]any{"Type": "AWS::SecretsManager::Secret"})), want: []string{"deletion: " + golden.Secret + ".Resource"}},
	{name: "a subnet becomes another type", env: "dev", stack: "network", after: golden.Edits(golden.Set(golden.Subnet, map[string]any{"Type": "AWS::EC2::VPC"})),
		want: []string{"deletion: " + golden.Subnet + ".Resource"}},
	{name: "a log group and a NAT gateway are removed", env: "dev", stack: "network",
		after: golden.Edits(golden.Remove("NetworkPublicSubnet1NATGatewayCA136767"), golden.Remove("CustomVpcRestrictDefaultSGCustomResourceProviderLogs41F6175A"))},
	{name: "a bucket is added", env: "dev", stack: "data", after: golden.Edits(golden.Set("More", map[string]any{"Type": "AWS::S3::Bucket"}))},
	{name: "a construct moves", env: "dev", stack: "data", after: golden.Edits(golden.Set(golden.Database+".Metadata.aws:cdk:path", "dev/Data/Other/Resource"),
		golden.Set(golden.Attachment+".Metadata.aws:cdk:path", "dev/Data/Other/Resource"))},

	// Replacement, certain.
	{name: "the database gets another name", env: "prod", stack: "data", after: golden.Edits(golden.Set(golden.Database+".Properties.DBName", "other")),
		want: []string{"replacement: " + golden.Database + ".DBName", "secret attachment: " + golden.Attachment + ".TargetId"}},
	{name: "the bucket gets a name", env: "prod", stack: "data", after: golden.Edits(golden.Set(golden.Bucket+".Properties.BucketName", "photos")),
		want: []string{"replacement: " + golden.Bucket + ".BucketName"}},
	{name: "the secret gets a name", env: "prod", stack: "data", after: golden.Edits(golden.Set(golden.Secret+".Properties.Name", "flask")),
		want: []string{"replacement: " + golden.Secret + ".Name"}},
	{name: "the repository gets a name", env: "dev", stack: "data", after: golden.Edits(golden.Set(golden.Repository+".Properties.RepositoryName", "flask")),
		want: []string{"replacement: " + golden.Repository + ".RepositoryName"}},
	{name: "a subnet moves to another zone", env: "prod", stack: "network", after: golden.Edits(golden.Set(golden.Subnet+".Properties.AvailabilityZone", "us-east-1c")),
		want: []string{"replacement: " + golden.Subnet + ".AvailabilityZone"}},
	{name: "the VPC gets another range, its subnets keep theirs", env: "prod", stack: "network", after: golden.Edits(golden.Set(golden.VPC+".Properties.CidrBlock", "10.9.0.0/16")),
		want: []string{
			"replacement: " + golden.VPC + ".CidrBlock",
			"replacement: NetworkPrivateSubnet1SubnetC4D46731.VpcId", "replacement: NetworkPrivateSubnet2SubnetB345BF84.VpcId",
			"replacement: NetworkPublicSubnet1Subnet5B78347B.VpcId", "replacement: NetworkPublicSubnet2SubnetC3758C96.VpcId",
		}},
	{name: "the subnet group gets a name, to which the database refers", env: "prod", stack: "data",
		after: golden.Edits(golden.Set(golden.SubnetGroup+".Properties.DBSubnetGroupName", "private")),
		want:  []string{"replacement: " + golden.Database + ".DBSubnetGroupName", "secret attachment: " + golden.Attachment + ".TargetId"}},
	{name: "the credentials are replaced, to which the password and the attachment refer", env: "prod", stack: "data",
		after: golden.Edits(golden.Set(golden.Credentials+".Properties.Name", "credentials")),
		want: []string{
			"master password: " + golden.Database + ".MasterUserPassword", "replacement: " + golden.Credentials + ".Name",
			"secret attachment: " + golden.Attachment + ".SecretId",
		}},

	// Replacement, possible.
	{name: "the engine changes, which may replace", env: "prod", stack: "data", after: golden.Edits(golden.Set(golden.Database+".Properties.Engine", "mariadb")),
		want: []string{"replacement: " + golden.Database + ".Engine", "secret attachment: " + golden.Attachment + ".TargetId"}},
	{name: "the database is restored from a snapshot, which may replace", env: "prod", stack: "data",
		after: golden.Edits(golden.Set(golden.Database+".Properties.DBSnapshotIdentifier", "snapshot")),
		want:  []string{"replacement: " + golden.Database + ".DBSnapshotIdentifier", "secret attachment: " + golden.Attachment + ".TargetId"}},
	{name: "Multi-AZ, class, storage, its type and the window change", env: "prod", stack: "data", after: golden.Edits(
		golden.Set(golden.Database+".Properties.MultiAZ", false), golden.Set(golden.Database+".Properties.DBInstanceClass", "db.m7g.large"),
		golden.Set(golden.Database+".Properties.AllocatedStorage", "200"), golden.Set(golden.Database+".Properties.StorageType", "io2"),
		golden.Set(golden.Database+".Properties.PreferredMaintenanceWindow", "sun:03:00-sun:04:00"), golden.Set(golden.Database+".Properties.AutoMinorVersionUpgrade", false))},
	{name: "a parameter changes", env: "prod", stack: "data",
		after: golden.Edits(golden.Set(golden.Parameters+".Properties.Parameters.require_secure_transport", "0"))},
	{name: "a major upgrade brings a new parameter group", env: "dev", stack: "data", after: golden.Edits(
		golden.Set(golden.Parameters+".Properties.Family", "mysql8.4"), golden.Set(golden.Database+".Properties.EngineVersion", "8.4"),
		golden.Set(golden.Database+".Properties.AllowMajorVersionUpgrade", true))},

	// Secrets and the master password.
	{name: "the generator of the password changes", env: "prod", stack: "data",
		after: golden.Edits(golden.Set(golden.Credentials+".Properties.GenerateSecretString.PasswordLength", 40)),
		want:  []string{"secret value: " + golden.Credentials + ".GenerateSecretString"}},
	{name: "the generator of FLASK_SECRET is removed", env: "dev", stack: "data", after: golden.Edits(golden.Remove(golden.Secret + ".Properties.GenerateSecretString")),
		want: []string{"secret value: " + golden.Secret + ".GenerateSecretString"}},
	{name: "a secret's description changes", env: "prod", stack: "data", after: golden.Edits(golden.Set(golden.Credentials+".Properties.Description", "other"))},
	{name: "the master password comes from elsewhere", env: "prod", stack: "data", after: golden.Edits(
		golden.Set(golden.Database+".Properties.MasterUserPassword", "{{resolve:secretsmanager:other:SecretString:password::}}")),
		want: []string{"master password: " + golden.Database + ".MasterUserPassword"}},
	{name: "RDS manages the password", env: "prod", stack: "data", after: golden.Edits(golden.Remove(golden.Database+".Properties.MasterUserPassword"),
		golden.Set(golden.Database+".Properties.ManageMasterUserPassword", true)), want: []string{"master password: " + golden.Database + ".MasterUserPassword"}},
	{name: "the attachment has another target", env: "dev", stack: "data", after: golden.Edits(golden.Set(golden.Attachment+".Properties.TargetId", "other")),
		want: []string{"secret attachment: " + golden.Attachment + ".TargetId"}},
	{name: "the attachment is removed", env: "dev", stack: "data", after: golden.Edits(golden.Remove(golden.Attachment)),
		want: []string{"deletion: " + golden.Attachment + ".Resource"}},

	// Engine life cycle.
	{name: "Extended Support is switched on", env: "prod", stack: "data",
		after: golden.Edits(golden.Set(golden.Database+".Properties.EngineLifecycleSupport", "open-source-rds-extended-support")),
		want:  []string{"engine life cycle: " + golden.Database + ".EngineLifecycleSupport"}},
	{name: "Extended Support is left to the default", env: "prod", stack: "data", after: golden.Edits(golden.Remove(golden.Database + ".Properties.EngineLifecycleSupport")),
		want: []string{"engine life cycle: " + golden.Database + ".EngineLifecycleSupport"}},

	// Protection.
	{name: "deletion protection goes", env: "prod", stack: "data", after: golden.Edits(golden.Set(golden.Database+".Properties.DeletionProtection", false)),
		want: []string{"protection: " + golden.Database + ".DeletionProtection"}},
	{name: "deletion protection is no longer said", env: "prod", stack: "data", after: golden.Edits(golden.Remove(golden.Database + ".Properties.DeletionProtection")),
		want: []string{"protection: " + golden.Database + ".DeletionProtection"}},
	{name: "deletion protection comes", env: "dev", stack: "data", after: golden.Edits(golden.Set(golden.Database+".Properties.DeletionProtection", true))},
	{name: "deletion protection is written as text", env: "prod", stack: "data", after: golden.Edits(golden.Set(golden.Database+".Properties.DeletionProtection", "true"))},
	{name: "backups are kept for fewer days", env: "prod", stack: "data", after: golden.Edits(golden.Set(golden.Database+".Properties.BackupRetentionPeriod", 7)),
		want: []string{"protection: " + golden.Database + ".BackupRetentionPeriod"}},
	{name: "backups are kept for more days", env: "prod", stack: "data", after: golden.Edits(golden.Set(golden.Database+".Properties.BackupRetentionPeriod", 35))},
	{name: "automated backups go with the database", env: "prod", stack: "data", after: golden.Edits(golden.Remove(golden.Database + ".Properties.DeleteAutomatedBackups")),
		want: []string{"protection: " + golden.Database + ".DeleteAutomatedBackups"}},
	{name: "automated backups stay", env: "dev", stack: "data", after: golden.Edits(golden.Set(golden.Database+".Properties.DeleteAutomatedBackups", false))},
	{name: "the final snapshot goes", env: "prod", stack: "data", after: golden.Edits(golden.Set(golden.Database+".DeletionPolicy", "Delete")),
		want: []string{"protection: " + golden.Database + ".DeletionPolicy"}},
	{name: "a database's policy is left to the default, a snapshot", env: "prod", stack: "data", after: golden.Edits(golden.Remove(golden.Database + ".DeletionPolicy"))},
	{name: "a replaced database leaves nothing by default", env: "prod", stack: "data", after: golden.Edits(golden.Remove(golden.Database + ".UpdateReplacePolicy")),
		want: []string{"protection: " + golden.Database + ".UpdateReplacePolicy"}},
	{name: "a bucket is no longer kept when it is replaced", env: "prod", stack: "data", after: golden.Edits(golden.Remove(golden.Bucket + ".UpdateReplacePolicy")),
		want: []string{"protection: " + golden.Bucket + ".UpdateReplacePolicy"}},
	{name: "a secret is kept although its creation failed", env: "prod", stack: "data", after: golden.Edits(golden.Set(golden.Secret+".DeletionPolicy", "Retain"))},
	{name: "a repository is kept from now on", env: "dev", stack: "data", after: golden.Edits(golden.Set(golden.Repository+".DeletionPolicy", "RetainExceptOnCreate"))},

	// Encryption.
	{name: "the bucket's encryption is no longer said", env: "prod", stack: "data", after: golden.Edits(golden.Remove(golden.Bucket + ".Properties.BucketEncryption")),
		want: []string{"encryption: " + golden.Bucket + ".BucketEncryption"}},
	{name: "the bucket gets a key of KMS", env: "prod", stack: "data", after: golden.Edits(golden.Set(golden.Bucket+".Properties.BucketEncryption", kms))},
	{name: "the bucket's key of KMS goes", env: "prod", stack: "data", before: golden.Edits(golden.Set(golden.Bucket+".Properties.BucketEncryption", kms)),
		want: []string{"encryption: " + golden.Bucket + ".BucketEncryption"}},
	{name: "a secret's key goes", env: "prod", stack: "data", before: golden.Edits(golden.Set(golden.Secret+".Properties.KmsKeyId", "alias/x")),
		want: []string{"encryption: " + golden.Secret + ".KmsKeyId"}},
	{name: "a secret gets a key", env: "prod", stack: "data", after: golden.Edits(golden.Set(golden.Secret+".Properties.KmsKeyId", "alias/x"))},
	{name: "the database is no longer encrypted", env: "prod", stack: "data", after: golden.Edits(golden.Set(golden.Database+".Properties.StorageEncrypted", false)),
		want: []string{"replacement: " + golden.Database + ".StorageEncrypted", "secret attachment: " + golden.Attachment + ".TargetId"}},

	{name: "a tag changes everywhere", env: "prod", stack: "network", after: golden.Edits(golden.Set(golden.VPC+".Properties.Tags", []any{}), golden.Set(golden.Subnet+".Properties.Tags", []any{}))},
}

var kms = map[string]any{"ServerSideEncryptionConfiguration": []any{
	map[string]any{"ServerSideEncryptionByDefault": map[string]any{"SSEAlgorithm": "aws:kms"}},
}}

func TestJudgeTemplates(t *testing.T) {
	var pairs []change.Pair
	for _, test := range templateCases {
		pairs = append(pairs, change.Pair{
			Stack: test.stack,
			Old:   golden.Template(t, test.env, test.stack, test.before...),
			New:   golden.Template(t, test.env, test.stack, test.after...),
		})
	}
	diffs, err := compare(t.Context(), pairs)
	if err != nil {
		t.Fatal(err)
	}
	for i, test := range templateCases {
		t.Run(test.name, func(t *testing.T) {
			changes, err := change.OfPair(pairs[i], diffs[i])
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(append([]string{}, test.want...), brief(guard.Judge(changes))); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestJudge(t *testing.T) {
	t.Run("lists_the_gravest_first", func(t *testing.T) {
		var rules []string
		for _, f := range guard.Judge([]change.Resource{
			{LogicalID: "A", Type: change.DatabaseType, Properties: []change.Property{
				{Name: "DeletionProtection", Old: true, New: false}, {Name: "EngineLifecycleSupport"}, {Name: "MasterUserPassword"}, {Name: "DBName", Requires: change.Always},
			}},
			{LogicalID: "B", Type: "AWS::SecretsManager::SecretTargetAttachment", Properties: []change.Property{{Name: "TargetId"}}},
			{LogicalID: "C", Type: "AWS::SecretsManager::Secret", Properties: []change.Property{{Name: "KmsKeyId", Old: "alias/x"}, {Name: "GenerateSecretString"}}},
			{LogicalID: "D", Type: "AWS::S3::Bucket", Removed: true},
		}) {
			rules = append(rules, f.Rule)
		}
		want := []string{"deletion", "replacement", "secret value", "master password", "secret attachment", "engine life cycle", "encryption", "protection"}
		if diff := cmp.Diff(want, rules); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}
