package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// The types that the guard protects, and what a reader calls them.
var protected = map[string]string{
	databaseType:           "database",
	"AWS::S3::Bucket":      "bucket",
	secretType:             "secret",
	"AWS::ECR::Repository": "image repository",
	"AWS::EC2::Subnet":     "subnet",
	"AWS::EC2::VPC":        "VPC",
	attachmentType:         "attachment of a secret",
	stackType:              "stack",
}

const (
	databaseType   = "AWS::RDS::DBInstance"
	secretType     = "AWS::SecretsManager::Secret"
	attachmentType = "AWS::SecretsManager::SecretTargetAttachment"
	stackType      = "AWS::CloudFormation::Stack" // one of ours, for what is in no template
)

// wholeResource is the property of a finding that is about the resource itself.
const wholeResource = "Resource"

// changedInPlace are the properties of a database that AWS's schema lists as "conditionally create-only", and that RDS changes
// in place whatever their values are: CloudFormation's reference says "some interruptions" of them. For any other property a
// conditional replacement counts as one.
// https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-rds-dbinstance.html
// https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/USER_ModifyInstance.Settings.html
var changedInPlace = []string{
	"AutoMinorVersionUpgrade", "BackupRetentionPeriod", "DBParameterGroupName", "MultiAZ", "PreferredMaintenanceWindow", "StorageType",
}

// replaces tells whether a change of a property replaces the resource, or may.
func replaces(resourceType, property string, r recreation) bool {
	if r == conditionally && resourceType == databaseType && slices.Contains(changedInPlace, property) {
		return false
	}
	return r != never
}

// finding is a change that the guard stops.
type finding struct {
	Stack     string `json:"stack"`
	LogicalID string `json:"logicalId"`
	Path      string `json:"path,omitempty"`
	Kind      string `json:"kind"`
	Property  string `json:"property"`
	Old       any    `json:"old"`
	New       any    `json:"new"`
	Rule      string `json:"rule"`
	Problem   string `json:"problem"`
	Hash      string `json:"hash"`
	Reason    string `json:"reason,omitempty"` // of the configuration that allows it
}

// The rules.
const (
	ruleDeletion    = "deletion"
	ruleReplacement = "replacement"
	ruleSecret      = "secret value"
	rulePassword    = "master password"
	ruleAttachment  = "secret attachment"
	ruleLifecycle   = "engine life cycle"
	ruleEncryption  = "encryption"
	ruleProtection  = "protection"
)

// gravest is the order of the report: what is lost for good comes first.
var gravest = []string{ruleDeletion, ruleReplacement, ruleSecret, rulePassword, ruleAttachment, ruleLifecycle, ruleEncryption, ruleProtection}

// judge returns what the guard stops, the gravest first.
func judge(changes []resourceChange) []finding {
	var found []finding
	for _, c := range changes {
		kind, isProtected := protected[c.Type]
		if !isProtected {
			continue
		}
		add := func(p propertyChange, rule, problem string) {
			if len(p.Causes) > 0 {
				problem += " " + because(p.Causes)
			}
			found = append(found, finding{
				Stack: c.Stack, LogicalID: c.LogicalID, Path: c.Path, Kind: kind,
				Property: p.Name, Old: p.Old, New: p.New, Rule: rule, Problem: problem, Hash: p.hash(c.LogicalID),
			})
		}
		whole := propertyChange{Name: wholeResource, Old: c.Old.Properties, New: c.New.Properties}
		if c.Removed {
			whole.New = nil
			add(whole, ruleDeletion, deletion(kind, policyOf(c.Type, "DeletionPolicy", c.Old.DeletionPolicy)))
			continue
		}
		if c.Unclear != "" {
			add(whole, ruleReplacement, c.Unclear)
		}
		for _, p := range c.Properties {
			if rule, problem := judgeProperty(c, kind, p); rule != "" {
				add(p, rule, problem)
			}
		}
		for _, p := range weakerPolicies(c) {
			add(p, ruleProtection, fmt.Sprintf("The %s loses protection: %s it would be %s, no longer %s.", kind, policyMoment[p.Name],
				fate[policyOf(c.Type, p.Name, p.New.(string))], fate[policyOf(c.Type, p.Name, p.Old.(string))]))
		}
	}
	slices.SortStableFunc(found, func(a, b finding) int { return slices.Index(gravest, a.Rule) - slices.Index(gravest, b.Rule) })
	return found
}

// judgeProperty returns the rule that a property's change breaks and what follows, or "".
func judgeProperty(c resourceChange, kind string, p propertyChange) (rule, problem string) {
	switch {
	case c.Type == attachmentType:
		return ruleAttachment, "The secret's attachment changes: Secrets Manager writes the connection into the secret anew, or takes it out, and the application may lose its login."
	case replaces(c.Type, p.Name, p.Requires):
		return ruleReplacement, replacement(kind, p, policyOf(c.Type, "UpdateReplacePolicy", c.Old.UpdateReplacePolicy))
	case c.Type == secretType && p.Name == "GenerateSecretString":
		return ruleSecret, "Secrets Manager generates a new value: whatever was encrypted, signed or configured with the old one no longer fits."
	case c.Type == databaseType && p.Name == "MasterUserPassword":
		return rulePassword, "The master password comes from elsewhere: RDS sets another one, and running tasks still have the old one."
	case c.Type == databaseType && p.Name == "EngineLifecycleSupport":
		return ruleLifecycle, "RDS fixes it when the instance is created: CloudFormation refuses the update and rolls the stack back."
	}
	if problem := lostEncryption(c.Type, kind, p); problem != "" {
		return ruleEncryption, problem
	}
	if problem := lostProtection(c.Type, p); problem != "" {
		return ruleProtection, problem
	}
	return "", ""
}

func deletion(kind, policy string) string {
	switch policy {
	case retainPolicy:
		return fmt.Sprintf("The %s leaves the stack. It stays in the account (DeletionPolicy %s), but nothing here manages or uses it any more.", kind, policy)
	case snapshotPolicy:
		return fmt.Sprintf("The %s is deleted; a final snapshot is kept.", kind)
	}
	return fmt.Sprintf("The %s is deleted, with all that is in it.", kind)
}

func replacement(kind string, p propertyChange, policy string) string {
	how := "is replaced by a new, empty one"
	if p.Requires == conditionally || !p.Certain {
		how = "may be replaced by a new, empty one"
	}
	return fmt.Sprintf("The %s %s; the old one is %s.", kind, how, fate[policy])
}

// because names what makes a reference give another value.
func because(causes []cause) string {
	var names []string
	for _, c := range causes {
		name := c.LogicalID
		if c.Property != wholeResource {
			name = fmt.Sprintf("%s.%s, %s → %s", c.LogicalID, c.Property, show(c.Old), show(c.New))
		}
		names = append(names, name)
	}
	return "It refers to what is replaced itself: " + strings.Join(names, "; ") + "."
}

// The policies of a resource, without RetainExceptOnCreate, which is Retain once the resource exists.
const (
	deletePolicy   = "Delete"
	snapshotPolicy = "Snapshot"
	retainPolicy   = "Retain"
)

var fate = map[string]string{deletePolicy: "deleted", snapshotPolicy: "deleted after a final snapshot", retainPolicy: "kept"}

var policyMoment = map[string]string{
	"DeletionPolicy":      "when it leaves the template",
	"UpdateReplacePolicy": "when it is replaced",
}

// policyOf returns what the value of DeletionPolicy or UpdateReplacePolicy means. Without a DeletionPolicy a database leaves a snapshot;
// without an UpdateReplacePolicy nothing is left of it.
// https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-attribute-deletionpolicy.html
// https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-attribute-updatereplacepolicy.html
func policyOf(resourceType, attribute, value string) string {
	switch {
	case value == "RetainExceptOnCreate":
		return retainPolicy
	case value != "":
		return value
	case attribute == "DeletionPolicy" && resourceType == databaseType: // outside of a cluster
		return snapshotPolicy
	}
	return deletePolicy
}

func weakerPolicies(c resourceChange) []propertyChange {
	if c.Type == attachmentType {
		return nil
	}
	strength := []string{deletePolicy, snapshotPolicy, retainPolicy}
	var weaker []propertyChange
	for _, p := range []propertyChange{
		{Name: "DeletionPolicy", Old: c.Old.DeletionPolicy, New: c.New.DeletionPolicy},
		{Name: "UpdateReplacePolicy", Old: c.Old.UpdateReplacePolicy, New: c.New.UpdateReplacePolicy},
	} {
		before, after := policyOf(c.Type, p.Name, p.Old.(string)), policyOf(c.Type, p.Name, p.New.(string))
		if slices.Index(strength, after) < slices.Index(strength, before) {
			weaker = append(weaker, p)
		}
	}
	return weaker
}

// lostEncryption says what follows if a property's change takes encryption away, or a key of one's own.
func lostEncryption(resourceType, kind string, p propertyChange) string {
	const lost = "The %s loses its encryption, or the key that it is encrypted with."
	switch {
	case p.Name == "BucketEncryption" && keyStrength(p.New) < keyStrength(p.Old),
		resourceType == secretType && p.Name == "KmsKeyId" && p.New == nil:
		return fmt.Sprintf(lost, kind)
	}
	return ""
}

// keyStrength orders a bucket's encryption: none that is written, S3's own keys, KMS.
func keyStrength(encryption any) int {
	switch text := show(encryption); {
	case encryption == nil:
		return 0
	case strings.Contains(text, "aws:kms"):
		return 2
	}
	return 1
}

// lostProtection says what follows if a property's change takes protection or backups away.
func lostProtection(resourceType string, p propertyChange) string {
	if resourceType == stackType && p.Name == "TerminationProtection" && isTrue(p.Old, false) {
		return "The stack loses its termination protection: whoever may delete it, can."
	}
	if resourceType != databaseType {
		return ""
	}
	switch p.Name {
	case "DeletionProtection": // the default is false
		if isTrue(p.Old, false) && !isTrue(p.New, false) {
			return "The database loses its deletion protection: whoever may delete it, can."
		}
	case "DeleteAutomatedBackups": // the default is true
		if !isTrue(p.Old, true) && isTrue(p.New, true) {
			return "The automated backups would be deleted with the database, no longer kept."
		}
	case "BackupRetentionPeriod":
		if before, after := days(p.Old), days(p.New); after < before {
			return fmt.Sprintf("RDS deletes the automated backups older than %d days, of the last %d.", after, before)
		}
	}
	return ""
}

func isTrue(value any, otherwise bool) bool {
	if value == nil {
		return otherwise
	}
	return canonical(value) == "true"
}

// days reads a BackupRetentionPeriod, whose default is 1. What is no number counts as none.
func days(value any) int {
	if value == nil {
		return 1
	}
	n, err := strconv.Atoi(fmt.Sprint(canonical(value)))
	if err != nil {
		return 0
	}
	return n
}
