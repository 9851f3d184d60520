package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The logical ids of the golden templates.
const (
	vpcID        = "Network1C6012B5"
	subnetID     = "NetworkPrivateSubnet1SubnetC4D46731"
	databaseID   = "DatabaseInstanceAA8A5FDE"
	credentialID = "DatabaseCredentials24F58BE6"
	attachmentID = "DatabaseCredentialsAttachment15FFA803"
	parametersID = "DatabaseParametersB8AC9B07"
	subnetsID    = "DatabaseInstanceSubnetGroupDE121BB6"
	bucketID     = "Bucket83908E77"
	repositoryID = "Repository22E53BBD"
	secretID     = "FlaskSecretDB73E49F"
)

// root is the project's, seen from anywhere: some tests change the directory.
var root = func() string {
	dir, err := filepath.Abs("../..")
	if err != nil {
		panic(err)
	}
	return dir
}()

// golden returns the template of a shipped environment.
func golden(t *testing.T, env, stack string) document {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root, "stacks", "testdata", env, stack+".template.json"))
	if err != nil {
		t.Fatal(err)
	}
	var d document
	if err := json.Unmarshal(data, &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// edit is a change of a template's resources.
type edit func(t *testing.T, resources map[string]any)

// set gives a property or an attribute, by its path such as Database.Properties.MultiAZ, another value.
func set(path string, value any) edit {
	return func(t *testing.T, resources map[string]any) { at(t, resources, path, &value) }
}

func remove(path string) edit {
	return func(t *testing.T, resources map[string]any) { at(t, resources, path, nil) }
}

func at(t *testing.T, in map[string]any, path string, value *any) {
	t.Helper()
	parts := strings.Split(path, ".")
	for _, part := range parts[:len(parts)-1] {
		next, ok := in[part].(map[string]any)
		if !ok {
			t.Fatalf("%s: the golden template has no %s", path, part)
		}
		in = next
	}
	last := parts[len(parts)-1]
	if _, there := in[last]; value == nil && !there {
		t.Fatalf("%s: there is nothing to remove", path)
	}
	if value == nil {
		delete(in, last)
		return
	}
	in[last] = *value
}

func edited(t *testing.T, env, stack string, edits ...edit) document {
	t.Helper()
	d := golden(t, env, stack)
	for _, e := range edits {
		e(t, d["Resources"].(map[string]any))
	}
	return d
}

func all(edits ...edit) []edit { return edits }

// brief writes findings as "rule: logical id.property".
func brief(findings []finding) []string {
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
	before     []edit // what the earlier template has otherwise than the golden one
	after      []edit
	want       []string
}{
	// Deletion.
	{name: "a database is removed", env: "dev", stack: "data", after: all(remove(databaseID)),
		want: []string{"deletion: " + databaseID + ".Resource"}},
	{name: "a retained bucket is removed", env: "prod", stack: "data", after: all(remove(bucketID)),
		want: []string{"deletion: " + bucketID + ".Resource"}},
	{name: "a secret gets another logical id", env: "prod", stack: "data", after: all(remove(secretID),
		set("FlaskSecret2", map[string]any{"Type": secretType})), want: []string{"deletion: " + secretID + ".Resource"}},
	{name: "a subnet becomes another type", env: "dev", stack: "network", after: all(set(subnetID, map[string]any{"Type": "AWS::EC2::VPC"})),
		want: []string{"deletion: " + subnetID + ".Resource"}},
	{name: "a log group and a NAT gateway are removed", env: "dev", stack: "network",
		after: all(remove("NetworkPublicSubnet1NATGatewayCA136767"), remove("CustomVpcRestrictDefaultSGCustomResourceProviderLogs41F6175A"))},
	{name: "a bucket is added", env: "dev", stack: "data", after: all(set("More", map[string]any{"Type": "AWS::S3::Bucket"}))},
	{name: "a construct moves", env: "dev", stack: "data", after: all(set(databaseID+".Metadata.aws:cdk:path", "dev/Data/Other/Resource"),
		set(attachmentID+".Metadata.aws:cdk:path", "dev/Data/Other/Resource"))},

	// Replacement, certain.
	{name: "the database gets another name", env: "prod", stack: "data", after: all(set(databaseID+".Properties.DBName", "other")),
		want: []string{"replacement: " + databaseID + ".DBName", "secret attachment: " + attachmentID + ".TargetId"}},
	{name: "the bucket gets a name", env: "prod", stack: "data", after: all(set(bucketID+".Properties.BucketName", "photos")),
		want: []string{"replacement: " + bucketID + ".BucketName"}},
	{name: "the secret gets a name", env: "prod", stack: "data", after: all(set(secretID+".Properties.Name", "flask")),
		want: []string{"replacement: " + secretID + ".Name"}},
	{name: "the repository gets a name", env: "dev", stack: "data", after: all(set(repositoryID+".Properties.RepositoryName", "flask")),
		want: []string{"replacement: " + repositoryID + ".RepositoryName"}},
	{name: "a subnet moves to another zone", env: "prod", stack: "network", after: all(set(subnetID+".Properties.AvailabilityZone", "us-east-1c")),
		want: []string{"replacement: " + subnetID + ".AvailabilityZone"}},
	{name: "the VPC gets another range, its subnets keep theirs", env: "prod", stack: "network", after: all(set(vpcID+".Properties.CidrBlock", "10.9.0.0/16")),
		want: []string{
			"replacement: " + vpcID + ".CidrBlock",
			"replacement: NetworkPrivateSubnet1SubnetC4D46731.VpcId", "replacement: NetworkPrivateSubnet2SubnetB345BF84.VpcId",
			"replacement: NetworkPublicSubnet1Subnet5B78347B.VpcId", "replacement: NetworkPublicSubnet2SubnetC3758C96.VpcId",
		}},
	{name: "the subnet group gets a name, to which the database refers", env: "prod", stack: "data",
		after: all(set(subnetsID+".Properties.DBSubnetGroupName", "private")),
		want:  []string{"replacement: " + databaseID + ".DBSubnetGroupName", "secret attachment: " + attachmentID + ".TargetId"}},
	{name: "the credentials are replaced, to which the password and the attachment refer", env: "prod", stack: "data",
		after: all(set(credentialID+".Properties.Name", "credentials")),
		want: []string{
			"master password: " + databaseID + ".MasterUserPassword", "replacement: " + credentialID + ".Name",
			"secret attachment: " + attachmentID + ".SecretId",
		}},

	// Replacement, possible.
	{name: "the engine changes, which may replace", env: "prod", stack: "data", after: all(set(databaseID+".Properties.Engine", "mariadb")),
		want: []string{"replacement: " + databaseID + ".Engine", "secret attachment: " + attachmentID + ".TargetId"}},
	{name: "the database is restored from a snapshot, which may replace", env: "prod", stack: "data",
		after: all(set(databaseID+".Properties.DBSnapshotIdentifier", "snapshot")),
		want:  []string{"replacement: " + databaseID + ".DBSnapshotIdentifier", "secret attachment: " + attachmentID + ".TargetId"}},
	{name: "Multi-AZ, class, storage, its type and the window change", env: "prod", stack: "data", after: all(
		set(databaseID+".Properties.MultiAZ", false), set(databaseID+".Properties.DBInstanceClass", "db.m7g.large"),
		set(databaseID+".Properties.AllocatedStorage", "200"), set(databaseID+".Properties.StorageType", "io2"),
		set(databaseID+".Properties.PreferredMaintenanceWindow", "sun:03:00-sun:04:00"), set(databaseID+".Properties.AutoMinorVersionUpgrade", false))},
	{name: "a parameter changes", env: "prod", stack: "data",
		after: all(set(parametersID+".Properties.Parameters.require_secure_transport", "0"))},
	{name: "a major upgrade brings a new parameter group", env: "dev", stack: "data", after: all(
		set(parametersID+".Properties.Family", "mysql8.4"), set(databaseID+".Properties.EngineVersion", "8.4"),
		set(databaseID+".Properties.AllowMajorVersionUpgrade", true))},

	// Secrets and the master password.
	{name: "the generator of the password changes", env: "prod", stack: "data",
		after: all(set(credentialID+".Properties.GenerateSecretString.PasswordLength", 40)),
		want:  []string{"secret value: " + credentialID + ".GenerateSecretString"}},
	{name: "the generator of FLASK_SECRET is removed", env: "dev", stack: "data", after: all(remove(secretID + ".Properties.GenerateSecretString")),
		want: []string{"secret value: " + secretID + ".GenerateSecretString"}},
	{name: "a secret's description changes", env: "prod", stack: "data", after: all(set(credentialID+".Properties.Description", "other"))},
	{name: "the master password comes from elsewhere", env: "prod", stack: "data", after: all(
		set(databaseID+".Properties.MasterUserPassword", "{{resolve:secretsmanager:other:SecretString:password::}}")),
		want: []string{"master password: " + databaseID + ".MasterUserPassword"}},
	{name: "RDS manages the password", env: "prod", stack: "data", after: all(remove(databaseID+".Properties.MasterUserPassword"),
		set(databaseID+".Properties.ManageMasterUserPassword", true)), want: []string{"master password: " + databaseID + ".MasterUserPassword"}},
	{name: "the attachment has another target", env: "dev", stack: "data", after: all(set(attachmentID+".Properties.TargetId", "other")),
		want: []string{"secret attachment: " + attachmentID + ".TargetId"}},
	{name: "the attachment is removed", env: "dev", stack: "data", after: all(remove(attachmentID)),
		want: []string{"deletion: " + attachmentID + ".Resource"}},

	// Engine life cycle.
	{name: "Extended Support is switched on", env: "prod", stack: "data",
		after: all(set(databaseID+".Properties.EngineLifecycleSupport", "open-source-rds-extended-support")),
		want:  []string{"engine life cycle: " + databaseID + ".EngineLifecycleSupport"}},
	{name: "Extended Support is left to the default", env: "prod", stack: "data", after: all(remove(databaseID + ".Properties.EngineLifecycleSupport")),
		want: []string{"engine life cycle: " + databaseID + ".EngineLifecycleSupport"}},

	// Protection.
	{name: "deletion protection goes", env: "prod", stack: "data", after: all(set(databaseID+".Properties.DeletionProtection", false)),
		want: []string{"protection: " + databaseID + ".DeletionProtection"}},
	{name: "deletion protection is no longer said", env: "prod", stack: "data", after: all(remove(databaseID + ".Properties.DeletionProtection")),
		want: []string{"protection: " + databaseID + ".DeletionProtection"}},
	{name: "deletion protection comes", env: "dev", stack: "data", after: all(set(databaseID+".Properties.DeletionProtection", true))},
	{name: "deletion protection is written as text", env: "prod", stack: "data", after: all(set(databaseID+".Properties.DeletionProtection", "true"))},
	{name: "backups are kept for fewer days", env: "prod", stack: "data", after: all(set(databaseID+".Properties.BackupRetentionPeriod", 7)),
		want: []string{"protection: " + databaseID + ".BackupRetentionPeriod"}},
	{name: "backups are kept for more days", env: "prod", stack: "data", after: all(set(databaseID+".Properties.BackupRetentionPeriod", 35))},
	{name: "automated backups go with the database", env: "prod", stack: "data", after: all(remove(databaseID + ".Properties.DeleteAutomatedBackups")),
		want: []string{"protection: " + databaseID + ".DeleteAutomatedBackups"}},
	{name: "automated backups stay", env: "dev", stack: "data", after: all(set(databaseID+".Properties.DeleteAutomatedBackups", false))},
	{name: "the final snapshot goes", env: "prod", stack: "data", after: all(set(databaseID+".DeletionPolicy", "Delete")),
		want: []string{"protection: " + databaseID + ".DeletionPolicy"}},
	{name: "a database's policy is left to the default, a snapshot", env: "prod", stack: "data", after: all(remove(databaseID + ".DeletionPolicy"))},
	{name: "a replaced database leaves nothing by default", env: "prod", stack: "data", after: all(remove(databaseID + ".UpdateReplacePolicy")),
		want: []string{"protection: " + databaseID + ".UpdateReplacePolicy"}},
	{name: "a bucket is no longer kept when it is replaced", env: "prod", stack: "data", after: all(remove(bucketID + ".UpdateReplacePolicy")),
		want: []string{"protection: " + bucketID + ".UpdateReplacePolicy"}},
	{name: "a secret is kept although its creation failed", env: "prod", stack: "data", after: all(set(secretID+".DeletionPolicy", "Retain"))},
	{name: "a repository is kept from now on", env: "dev", stack: "data", after: all(set(repositoryID+".DeletionPolicy", "RetainExceptOnCreate"))},

	// Encryption.
	{name: "the bucket's encryption is no longer said", env: "prod", stack: "data", after: all(remove(bucketID + ".Properties.BucketEncryption")),
		want: []string{"encryption: " + bucketID + ".BucketEncryption"}},
	{name: "the bucket gets a key of KMS", env: "prod", stack: "data", after: all(set(bucketID+".Properties.BucketEncryption", kms))},
	{name: "the bucket's key of KMS goes", env: "prod", stack: "data", before: all(set(bucketID+".Properties.BucketEncryption", kms)),
		want: []string{"encryption: " + bucketID + ".BucketEncryption"}},
	{name: "a secret's key goes", env: "prod", stack: "data", before: all(set(secretID+".Properties.KmsKeyId", "alias/x")),
		want: []string{"encryption: " + secretID + ".KmsKeyId"}},
	{name: "a secret gets a key", env: "prod", stack: "data", after: all(set(secretID+".Properties.KmsKeyId", "alias/x"))},
	{name: "the database is no longer encrypted", env: "prod", stack: "data", after: all(set(databaseID+".Properties.StorageEncrypted", false)),
		want: []string{"replacement: " + databaseID + ".StorageEncrypted", "secret attachment: " + attachmentID + ".TargetId"}},

	{name: "a tag changes everywhere", env: "prod", stack: "network", after: all(set(vpcID+".Properties.Tags", []any{}), set(subnetID+".Properties.Tags", []any{}))},
}

var kms = map[string]any{"ServerSideEncryptionConfiguration": []any{
	map[string]any{"ServerSideEncryptionByDefault": map[string]any{"SSEAlgorithm": "aws:kms"}},
}}

func TestGuardJudgesPairsOfTemplates(t *testing.T) {
	var pairs []pair
	for _, test := range templateCases {
		pairs = append(pairs, pair{
			Stack: test.stack,
			Old:   edited(t, test.env, test.stack, test.before...),
			New:   edited(t, test.env, test.stack, test.after...),
		})
	}
	diffs, err := compareTemplates(t.Context(), filepath.Join(root, templateDiffDir), pairs)
	if err != nil {
		t.Fatal(err)
	}
	for i, test := range templateCases {
		t.Run(test.name, func(t *testing.T) {
			changes, err := changesOfPair(pairs[i], diffs[i])
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(append([]string{}, test.want...), brief(judge(changes))); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestTheGravestComesFirst(t *testing.T) {
	var rules []string
	for _, f := range judge([]resourceChange{
		{LogicalID: "A", Type: databaseType, Properties: []propertyChange{
			{Name: "DeletionProtection", Old: true, New: false}, {Name: "EngineLifecycleSupport"}, {Name: "MasterUserPassword"}, {Name: "DBName", Requires: always},
		}},
		{LogicalID: "B", Type: attachmentType, Properties: []propertyChange{{Name: "TargetId"}}},
		{LogicalID: "C", Type: secretType, Properties: []propertyChange{{Name: "KmsKeyId", Old: "alias/x"}, {Name: "GenerateSecretString"}}},
		{LogicalID: "D", Type: "AWS::S3::Bucket", Removed: true},
	}) {
		rules = append(rules, f.Rule)
	}
	want := []string{"deletion", "replacement", "secret value", "master password", "secret attachment", "engine life cycle", "encryption", "protection"}
	if diff := cmp.Diff(want, rules); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestTheHashTellsChangesApart(t *testing.T) {
	ref := map[string]any{"Ref": vpcID}
	p := func(name string, older, newer any, causes ...cause) propertyChange {
		return propertyChange{Name: name, Old: older, New: newer, Causes: causes}
	}
	seen := map[string]string{}
	for name, hash := range map[string]string{
		"a change":                    p("CidrBlock", "10.0.0.0/16", "10.9.0.0/16").hash(vpcID),
		"another resource":            p("CidrBlock", "10.0.0.0/16", "10.9.0.0/16").hash(subnetID),
		"another property":            p("Cidr", "10.0.0.0/16", "10.9.0.0/16").hash(vpcID),
		"another old value":           p("CidrBlock", "10.1.0.0/16", "10.9.0.0/16").hash(vpcID),
		"another new value":           p("CidrBlock", "10.0.0.0/16", "10.8.0.0/16").hash(vpcID),
		"the way back":                p("CidrBlock", "10.9.0.0/16", "10.0.0.0/16").hash(vpcID),
		"a reference":                 p("VpcId", ref, ref, cause{LogicalID: vpcID, Property: "CidrBlock", New: "10.9.0.0/16"}).hash(subnetID),
		"the same of another cause":   p("VpcId", ref, ref, cause{LogicalID: vpcID, Property: "CidrBlock", New: "10.8.0.0/16"}).hash(subnetID),
		"the same of another's cause": p("VpcId", ref, ref, cause{LogicalID: subnetID, Property: "CidrBlock", New: "10.9.0.0/16"}).hash(subnetID),
	} {
		if other, taken := seen[hash]; taken {
			t.Errorf("%s and %s have the same hash", name, other)
		}
		seen[hash] = name
	}
	again := propertyChange{Name: "CidrBlock", Old: "10.0.0.0/16", New: "10.9.0.0/16", Requires: always, Certain: true}
	if seen[again.hash(vpcID)] != "a change" {
		t.Error("the hash depends on how the change was found out")
	}
}
