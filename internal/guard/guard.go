// Package guard stops deployments that would lose data.
package guard

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"flask-on-fargate/internal/change"
)

// protected are the types that the guard protects, and their names for a reader.
var protected = map[string]string{
	change.DatabaseType:    "database",
	"AWS::S3::Bucket":      "bucket",
	secretType:             "secret",
	"AWS::ECR::Repository": "image repository",
	"AWS::EC2::Subnet":     "subnet",
	"AWS::EC2::VPC":        "VPC",
	attachmentType:         "attachment of a secret",
	change.StackType:       "stack",
}

const (
	secretType     = "AWS::SecretsManager::Secret"
	attachmentType = "AWS::SecretsManager::SecretTargetAttachment"
)

// Finding is a change that the guard stops, unless the configuration allows it.
type Finding struct {
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

// gravest is the order of the report: a loss for good comes first.
var gravest = []string{ruleDeletion, ruleReplacement, ruleSecret, rulePassword, ruleAttachment, ruleLifecycle, ruleEncryption, ruleProtection}

// doubts says what a doubt means for a resource of a kind.
var doubts = map[change.Doubt]string{
	change.Undecided:   "CloudFormation cannot tell before the deployment what becomes of the %s.",
	change.RemovedYet:  "CloudFormation removes the %s, although the new template has it.",
	change.Unexplained: "CloudFormation says that the %s is replaced, and names no property that would explain it.",
}

// Judge returns the changes that the guard stops, the gravest first.
func Judge(changes []change.Resource) []Finding {
	var found []Finding
	for _, c := range changes {
		kind, isProtected := protected[c.Type]
		if !isProtected {
			continue
		}
		add := func(p change.Property, rule, problem string) {
			if len(p.Causes) > 0 {
				problem += " " + because(p.Causes)
			}
			found = append(found, Finding{
				Stack: c.Stack, LogicalID: c.LogicalID, Path: c.Path, Kind: kind,
				Property: p.Name, Old: p.Old, New: p.New, Rule: rule, Problem: problem, Hash: p.Hash(c.LogicalID),
			})
		}
		whole := change.Property{Name: change.WholeResource, Old: c.Old.Properties, New: c.New.Properties}
		if c.Removed {
			whole.New = nil
			add(whole, ruleDeletion, deletion(kind, change.DeletionPolicy(c.Old)))
			continue
		}
		if c.Doubt != change.NoDoubt {
			add(whole, ruleReplacement, fmt.Sprintf(doubts[c.Doubt], kind))
		}
		for _, p := range c.Properties {
			if rule, problem := judgeProperty(c, kind, p); rule != "" {
				add(p, rule, problem)
			}
		}
		for _, w := range weakerPolicies(c) {
			add(w.Property, ruleProtection, fmt.Sprintf("The %s loses protection: %s it would be %s, no longer %s.", kind, w.moment, w.after, w.before))
		}
	}
	slices.SortStableFunc(found, func(a, b Finding) int { return slices.Index(gravest, a.Rule) - slices.Index(gravest, b.Rule) })
	return found
}

// judgeProperty returns the rule that a property's change breaks, and what follows from it. The rule is "" if there is none.
func judgeProperty(c change.Resource, kind string, p change.Property) (rule, problem string) {
	switch {
	case c.Type == attachmentType:
		return ruleAttachment, "The secret's attachment changes: Secrets Manager writes the connection into the secret anew, or takes it out, and the application may lose its login."
	case c.Replaces(p):
		return ruleReplacement, replacement(kind, p, change.UpdateReplacePolicy(c.Old))
	case c.Type == secretType && p.Name == "GenerateSecretString":
		return ruleSecret, "Secrets Manager generates a new value: whatever was encrypted, signed or configured with the old one no longer fits."
	case c.Type == change.DatabaseType && p.Name == "MasterUserPassword":
		return rulePassword, "The master password comes from elsewhere: RDS sets another one, and running tasks still have the old one."
	case c.Type == change.DatabaseType && p.Name == "EngineLifecycleSupport":
		return ruleLifecycle, "RDS fixes it when the instance is created: CloudFormation refuses the update and rolls the stack back."
	case losesEncryption(c.Type, p):
		return ruleEncryption, fmt.Sprintf("The %s loses its encryption, or the key that it is encrypted with.", kind)
	}
	if problem := lostProtection(c.Type, p); problem != "" {
		return ruleProtection, problem
	}
	return "", ""
}

func deletion(kind string, policy change.Policy) string {
	switch policy {
	case change.Retain:
		return fmt.Sprintf("The %s leaves the stack. It stays in the account (DeletionPolicy Retain), but nothing here manages or uses it any more.", kind)
	case change.Snapshot:
		return fmt.Sprintf("The %s is deleted; a final snapshot is kept.", kind)
	}
	return fmt.Sprintf("The %s is deleted, with all that is in it.", kind)
}

func replacement(kind string, p change.Property, policy change.Policy) string {
	how := "is replaced by a new, empty one"
	if p.Requires == change.Conditionally || !p.Certain {
		how = "may be replaced by a new, empty one"
	}
	return fmt.Sprintf("The %s %s; the old one is %s.", kind, how, policy)
}

// because names the changes that give a reference another value.
func because(causes []change.Cause) string {
	var names []string
	for _, c := range causes {
		name := c.LogicalID
		if c.Property != change.WholeResource {
			name = fmt.Sprintf("%s.%s, %s → %s", c.LogicalID, c.Property, change.Show(c.Old), change.Show(c.New))
		}
		names = append(names, name)
	}
	return "It refers to what is replaced itself: " + strings.Join(names, "; ") + "."
}

// weakerPolicy is the change of an attribute that decides what is kept of a resource, at the moment when that counts.
type weakerPolicy struct {
	change.Property
	moment        string
	before, after change.Policy
}

func weakerPolicies(c change.Resource) []weakerPolicy {
	if c.Type == attachmentType {
		return nil
	}
	return slices.DeleteFunc([]weakerPolicy{
		{change.Property{Name: "DeletionPolicy", Old: c.Old.DeletionPolicy, New: c.New.DeletionPolicy}, "when it leaves the template",
			change.DeletionPolicy(c.Old), change.DeletionPolicy(c.New)},
		{change.Property{Name: "UpdateReplacePolicy", Old: c.Old.UpdateReplacePolicy, New: c.New.UpdateReplacePolicy}, "when it is replaced",
			change.UpdateReplacePolicy(c.Old), change.UpdateReplacePolicy(c.New)},
	}, func(w weakerPolicy) bool { return w.after >= w.before })
}

// losesEncryption tells whether a property's change takes encryption away, or a key of one's own.
func losesEncryption(resourceType string, p change.Property) bool {
	return p.Name == "BucketEncryption" && keyStrength(p.New) < keyStrength(p.Old) ||
		resourceType == secretType && p.Name == "KmsKeyId" && p.New == nil
}

// keyStrength orders a bucket's encryption: none in the template, S3's own keys, KMS.
func keyStrength(encryption any) int {
	switch text := change.Show(encryption); {
	case encryption == nil:
		return 0
	case strings.Contains(text, "aws:kms"):
		return 2
	}
	return 1
}

// lostProtection says what follows if a property's change takes protection or backups away. Else it returns "".
func lostProtection(resourceType string, p change.Property) string {
	if resourceType == change.StackType && p.Name == "TerminationProtection" && isTrue(p.Old, false) {
		return "The stack loses its termination protection: whoever may delete it, can."
	}
	if resourceType != change.DatabaseType {
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
	return change.Equal(value, true)
}

// days reads a BackupRetentionPeriod. Its default is 1; a value that is no number counts as 0.
func days(value any) int {
	if value == nil {
		return 1
	}
	n, err := strconv.Atoi(fmt.Sprint(value))
	if err != nil {
		return 0
	}
	return n
}
