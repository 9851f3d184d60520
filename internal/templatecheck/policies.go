package templatecheck

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"flask-on-fargate/config"
)

// onEverything are the actions that may have the resource *, since their API has no resource-level permission, or for the
// reason that is named. https://docs.aws.amazon.com/service-authorization/latest/reference/
var onEverything = map[string]string{
	"ecr:GetAuthorizationToken":        "logs in to the registry; no resource-level permission",
	"ssmmessages:CreateControlChannel": "ECS Exec; no resource-level permission",
	"ssmmessages:CreateDataChannel":    "ECS Exec; no resource-level permission",
	"ssmmessages:OpenControlChannel":   "ECS Exec; no resource-level permission",
	"ssmmessages:OpenDataChannel":      "ECS Exec; no resource-level permission",
	"ecs:DescribeTaskDefinition":       "the deploy action copies the task definition in use; no resource-level permission",
	"ecs:RegisterTaskDefinition":       "the deploy action registers the next revision; CodePipeline's documentation demands *, whatever the reference says",
	"ecs:ListTasks":                    "reasons of stopped tasks; only by the condition ecs:cluster",
	"codepipeline:PutJobSuccessResult": "answers the pipeline; no resource-level permission",
	"codepipeline:PutJobFailureResult": "answers the pipeline; no resource-level permission",
}

// exception is what a policy may allow beyond what [Policies] lets all do. All but the reason are regular expressions of a whole text.
type exception struct {
	holder  string // the construct path, below the environment or the stack, of the resource that has the policy
	who     string // in a resource's policy
	actions string
	on      string
	given   string // the condition, as JSON
	reason  string
}

// InEnvironments are what the CDK library writes itself into the stacks of an environment, and what AWS documents with a wildcard.
var InEnvironments = Exceptions{
	{holder: `Pipeline/Release/Handler/Role/.*`, actions: `kms:GenerateDataKey\*`, on: `arn:aws:kms:.*`, given: `null`,
		reason: "publishes to a topic that a key encrypts: https://docs.aws.amazon.com/sns/latest/dg/sns-key-management.html"},
	{holder: `(Pipeline/Artifacts|Data/Bucket)/Policy/Resource`, who: emptying, actions: `s3:(DeleteObject|GetBucket|List)\*`, on: `.*`, given: `null`,
		reason: "empties the bucket that has the policy, when it is destroyed"},
}

// InDelivery are what CDK Pipelines writes into its own roles, buckets and keys. The stacks are "delivery", the pipeline's
// own, and "replica", its artifacts in another region.
var InDelivery = Exceptions{
	{holder: `(Artifacts|Cache)/Policy/Resource`, who: emptying, actions: `s3:(DeleteObject|GetBucket|List)\*`, on: `.*`, given: `null`,
		reason: "empties the bucket that has the policy, when it is destroyed"},
	{holder: `Artifacts/Policy/Resource`, who: bootstrapRole("deploy"), actions: `s3:(GetBucket|GetObject|List)\*`, on: `.*`, given: `null`,
		reason: "deploys the templates in the bucket that has the policy"},
	{holder: `Pipeline/(Pipeline|Assets/FileRole|UpdatePipeline/SelfMutation/Role)/.*`, actions: `s3:(Abort|DeleteObject|GetBucket|GetObject|List)\*`, on: artifacts, given: `null`,
		reason: "the library's grant on the pipeline's own artifacts, which can be built again"},
	{holder: `Pipeline/Pipeline/Role/.*`, actions: `sts:AssumeRole`, on: bootstrapRole("deploy"), given: `null`, reason: "deploys the stacks"},
	{holder: `Pipeline/Assets/FileRole/.*`, actions: `sts:AssumeRole`, on: bootstrapRole("file-publishing"), given: `null`, reason: "publishes the assets"},
	{holder: `Guard-[a-z0-9-]+/Role/.*`, actions: `sts:AssumeRole`, on: bootstrapRole("lookup"), given: `null`, reason: "the guard reads what is deployed"},
	{holder: `Pipeline/Assets/FileRole/.*`, actions: `codebuild:(BatchGetBuilds|StartBuild|StopBuild)`, on: `\*`, given: `null`,
		reason: "with it the build that publishes assets could start any build of the account: who changes what it runs can deploy anything already"},
	{holder: `Pipeline/Assets/FileRole/.*`, actions: `logs:(CreateLogGroup|CreateLogStream|PutLogEvents)`, on: `arn:aws:logs:[^:]+:\d+:log-group:/aws/codebuild/\*`, given: `null`,
		reason: "logs of the account's builds, to which it can only add"},
	{holder: `Pipeline/Assets/FileRole/.*`, actions: `codebuild:(CreateReportGroup|CreateReport|UpdateReport|BatchPutTestCases|BatchPutCodeCoverages)`, on: `arn:aws:codebuild:[^:]+:\d+:report-group/\*`, given: `null`,
		reason: "test reports of the account's builds, which it can make and change, not delete"},
	{holder: `Pipeline/UpdatePipeline/SelfMutation/Role/.*`, actions: `cloudformation:DescribeStacks|s3:ListBucket`, on: `\*`, given: `null`,
		reason: "self-mutation looks for the bootstrap stack and its bucket"},
	{holder: `Pipeline/UpdatePipeline/SelfMutation/Role/.*`, actions: `sts:AssumeRole`, on: `arn:\*:iam::\d+:role/\*`,
		given:  `\{"ForAnyValue:StringEquals":\{"iam:ResourceTag/aws-cdk:bootstrap-role":\["image-publishing","file-publishing","deploy"\]\}\}`,
		reason: "only the bootstrap's roles, by their tag"},
}

// ToAnotherAccount are what CDK Pipelines writes besides, when an environment is in another account and region than the pipeline.
var ToAnotherAccount = Exceptions{
	{holder: `ArtifactsKey/Resource`, who: `arn:aws:iam::\d+:root`, actions: `kms:.*`, on: `itself`, given: `null`,
		reason: "the pipeline's account manages the key that has the policy, as in every key's default policy; in a replica its roles use the key by that"},
	{holder: `ArtifactsKey/Resource`, who: bootstrapRole("deploy"), actions: `kms:(Decrypt|DescribeKey)`, on: `itself`, given: `null`, reason: "decrypts the templates that it deploys"},
	{holder: `Pipeline/(Pipeline|UpdatePipeline/SelfMutation/Role)/.*`, actions: `kms:(GenerateDataKey|ReEncrypt)\*`, on: `\$\{delivery\.ArtifactsKey\w+\.Arn\}`, given: `null`,
		reason: "the key of the pipeline's own artifacts"},
	{holder: `Pipeline/Pipeline/Role/.*`, actions: `kms:(Decrypt|DescribeKey|Encrypt|GenerateDataKey\*|ReEncrypt\*)`, on: `\*`, given: `null`,
		reason: "every key of the account whose own policy leaves it to IAM: the library knows the key in another region by its alias only, which cannot stand here"},
}

const (
	// emptying is the role of the library's function that empties a bucket.
	emptying = `\$\{[a-z]+\.CustomS3AutoDeleteObjectsCustomResourceProviderRole\w+\.Arn\}`
	// artifacts are the buckets of the delivery pipeline, and the objects in them.
	artifacts = `(\$\{delivery\.Artifacts\w+\.Arn\}|arn:aws:s3:::flask-app-delivery-[a-z0-9-]+)(/\*)?`
)

// bootstrapRole is a role that `cdk bootstrap` makes in any account and region, as a regular expression.
func bootstrapRole(name string) string {
	return `arn:(aws|\$\{AWS::Partition\}):iam::\d{12}:role/cdk-hnb659fds-` + name + `-role-\d{12}-[a-z0-9-]+`
}

// Exceptions are a table of what policies may allow beyond what [Policies] lets all do.
type Exceptions []exception

// Unneeded returns a sentence for each exception that is not among the used ones, which [Policies] returns.
func (all Exceptions) Unneeded(used []string) []string {
	var unneeded []string
	for _, e := range all {
		if !slices.Contains(used, e.reason) {
			unneeded = append(unneeded, fmt.Sprintf("nothing needs the exception of %s for %s on %s any more", e.holder, e.actions, e.on))
		}
	}
	return unneeded
}

// UnneededOnEverything returns a sentence for each action that may have the resource * and is not among the used ones.
func UnneededOnEverything(used []string) []string {
	var unneeded []string
	for _, action := range slices.Sorted(maps.Keys(onEverything)) {
		if !slices.Contains(used, action) {
			unneeded = append(unneeded, fmt.Sprintf("no role has %s on * any more: take it from the table", action))
		}
	}
	return unneeded
}

// matching returns the index of the exception that covers one action of a statement, or -1.
func (all Exceptions) matching(s statement, who, action, on string) int {
	return slices.IndexFunc(all, func(e exception) bool {
		return wholly(e.holder, Path(s.of)) && wholly(e.who, who) && wholly(e.actions, action) && wholly(e.on, on) && wholly(e.given, Text(Readable(s.condition)))
	})
}

var patterns = map[string]*regexp.Regexp{}

// wholly says whether a regular expression matches all of a text.
func wholly(pattern, text string) bool {
	if patterns[pattern] == nil {
		patterns[pattern] = regexp.MustCompile(`^(?:` + pattern + `)$`)
	}
	return patterns[pattern].MatchString(text)
}

// statement is one statement of any policy.
type statement struct {
	of         Resource // that has it
	roles      []string // that have what it allows
	trust      bool     // it says who may assume a role
	principals []string // of a resource's policy: services, accounts and roles; * is everybody
	actions    []string
	resources  []string // "itself" in a resource's policy that names none
	denies     bool
	condition  any
}

// policyStatements finds the statements of all policies, wherever a resource has one.
func policyStatements(env Templates) []statement {
	var found []statement
	var walk func(of Resource, node any, trust bool)
	walk = func(of Resource, node any, trust bool) {
		switch node := node.(type) {
		case []any:
			for _, element := range node {
				walk(of, element, trust)
			}
		case map[string]any:
			if node["Effect"] == nil {
				for name, value := range node {
					walk(of, value, trust || name == "AssumeRolePolicyDocument")
				}
				return
			}
			s := statement{of: of, trust: trust, principals: principals(node["Principal"]), denies: node["Effect"] == "Deny", condition: node["Condition"], resources: texts(node["Resource"])}
			s.actions = texts(node["Action"])
			if node["NotAction"] != nil || node["NotResource"] != nil || node["NotPrincipal"] != nil {
				s.actions = append(s.actions, "*") // everything but
			}
			switch {
			case of.Type == "AWS::IAM::Role":
				s.roles = []string{of.ID}
			default:
				s.roles = append(References(of.Properties["Roles"]), References(of.Properties["RoleName"])...)
			}
			// In a key's policy * is the key that has it.
			if len(s.principals) > 0 && (len(s.resources) == 0 || of.Type == "AWS::KMS::Key") {
				s.resources = []string{"itself"}
			}
			found = append(found, s)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(env.Resources)) {
		walk(env.Resources[id], env.Resources[id].Properties, false)
	}
	// A permission of a function is a statement of the function's policy in other words.
	for _, permission := range env.All("AWS::Lambda::Permission") {
		s := statement{of: permission, principals: texts(permission.Properties["Principal"]), actions: texts(permission.Properties["Action"]), resources: []string{"itself"}}
		if from := permission.Properties["SourceArn"]; from != nil {
			s.condition = map[string]any{"ArnLike": map[string]any{"aws:SourceArn": from}}
		}
		found = append(found, s)
	}
	return found
}

// CountStatements returns how many statements the policies have: too few, and the walk misses some.
func CountStatements(env Templates) int { return len(policyStatements(env)) }

// Permissions returns what a role may do, by its policies and by those of resources that name it, as "action on resource", sorted.
func Permissions(env Templates, role string) []string {
	allowed := []string{}
	for _, s := range policyStatements(env) {
		if s.trust || s.denies || !slices.Contains(s.roles, role) && !slices.Contains(s.principals, "${"+role+".Arn}") {
			continue
		}
		condition := ""
		if s.condition != nil {
			condition = " if " + Text(Readable(s.condition))
		}
		for _, action := range s.actions {
			for _, on := range s.resources {
				allowed = append(allowed, action+" on "+on+condition)
			}
		}
	}
	for _, arn := range List(env.Resources[role].Properties["ManagedPolicyArns"]) {
		allowed = append(allowed, fmt.Sprintf("all of %v", Readable(arn)))
	}
	slices.Sort(allowed)
	return allowed
}

// texts is what stands in a place that takes one or several, with references as in Fn::Sub.
func texts(node any) []string {
	var all []string
	for _, element := range List(node) {
		all = append(all, fmt.Sprint(Readable(element)))
	}
	return all
}

// principals of any kind: "*", {"AWS": "*"}, {"Service": ["a", "b"]}.
func principals(node any) []string {
	kinds, ok := node.(map[string]any)
	if !ok {
		return texts(node)
	}
	var all []string
	for _, kind := range slices.Sorted(maps.Keys(kinds)) {
		all = append(all, texts(kinds[kind])...)
	}
	return all
}

// serviceName is the principal of an AWS service.
var serviceName = regexp.MustCompile(`^[a-z0-9-]+\.amazonaws\.com$`)

// roleArn is the principal of a role of these stacks.
var roleArn = regexp.MustCompile(`^\$\{([a-z]+\.[A-Za-z0-9]+)\.Arn\}$`)

// ofTheseStacks is a reference to a resource of these stacks or to its attribute.
var ofTheseStacks = regexp.MustCompile(`\$\{[a-z]+\.[A-Za-z0-9.]+\}`)

// noIdentities are types that give permissions to somebody who is no role of these stacks, or by a policy that is written elsewhere.
var noIdentities = []string{
	"AWS::IAM::User", "AWS::IAM::Group", "AWS::IAM::UserPolicy", "AWS::IAM::GroupPolicy", "AWS::IAM::UserToGroupAddition", "AWS::IAM::AccessKey",
	"AWS::IAM::OIDCProvider", "AWS::IAM::SAMLProvider", "AWS::SecretsManager::ResourcePolicy", "AWS::Lambda::LayerVersionPermission", "AWS::RAM::ResourceShare",
}

// Owner is whose policies are judged: the names of its own resources begin with Name, and outside are the ARNs of what it may use
// besides, as regular expressions.
type Owner struct {
	Name     string
	outside  []string
	policies []string // ARNs of the managed policies that the configuration gives the application
}

// OwnerOf is an environment, which may use what its configuration names, and the SQL files in the bootstrap's bucket.
func OwnerOf(cfg config.Environment) Owner {
	o := Owner{Name: cfg.FullName(), policies: cfg.Service.TaskPolicyArns, outside: []string{`arn:aws:s3:::cdk-hnb659fds-assets-(\$\{AWS::AccountId\}|\d{12})-` + cfg.Region + `/[0-9a-f]{64}\.zip`}}
	for _, arn := range append(slices.Collect(maps.Values(cfg.Service.Secrets)), cfg.NotificationTopicArn, cfg.NotificationKeyArn, cfg.BootstrapKmsKeyArn, cfg.Pipeline.ConnectionArn) {
		if parts := strings.Split(arn, ":"); arn != "" {
			o.outside = append(o.outside, regexp.QuoteMeta(strings.Join(parts[:min(7, len(parts))], ":"))) // a secret's without its key
		}
	}
	return o
}

// has says whether an ARN is of the owner's resources alone. What follows its name must be cut off from it: flask-app-dev* is of flask-app-dev2 too.
func (o Owner) has(arn string) bool {
	fixed, _, _ := strings.Cut(strings.ReplaceAll(arn, "?", "*"), "*")
	return ofTheseStacks.MatchString(fixed) || regexp.MustCompile(`[:/]`+o.Name+`[:/-]`).MatchString(fixed) ||
		fixed == arn && slices.ContainsFunc(o.outside, func(outside string) bool { return wholly(outside, arn) })
}

// Policies walks every statement. It returns a sentence for each that allows too much, and which exceptions were needed: the
// reasons, or the actions of [onEverything].
func Policies(env Templates, o Owner, except Exceptions) (broken, used []string) {
	for _, s := range policyStatements(env) {
		var faults []string
		switch {
		case s.trust:
			faults = trustFaults(s)
		case !s.denies:
			for _, who := range s.whom() {
				for _, action := range s.actions {
					for _, on := range s.resources {
						if e := except.matching(s, who, action, on); e >= 0 {
							used = append(used, except[e].reason)
							continue
						}
						if on == "*" && onEverything[action] != "" {
							used = append(used, action)
						}
						for _, fault := range append(principalFaults(env, s, who), actionFaults(s, o, action, on)...) {
							faults = append(faults, fmt.Sprintf("allows %s on %s%s", action, on, fault))
						}
					}
				}
			}
			faults = append(faults, passRoleFaults(env, s)...)
		}
		for _, fault := range faults {
			broken = append(broken, s.of.ID+": "+fault)
		}
	}
	return append(broken, identityFaults(env, o)...), used
}

// whom are those that a statement names, or "" in a policy of roles, which names nobody.
func (s statement) whom() []string {
	if len(s.principals) == 0 {
		return []string{""}
	}
	return s.principals
}

func trustFaults(s statement) []string {
	var faults []string
	if len(s.principals) != 1 || !serviceName.MatchString(s.principals[0]) {
		faults = append(faults, fmt.Sprintf("may be assumed by %q, want exactly one service", s.principals))
	}
	if !slices.Equal(s.actions, []string{"sts:AssumeRole"}) {
		faults = append(faults, fmt.Sprintf("trusts with %q, want sts:AssumeRole", s.actions))
	}
	return faults
}

// principalFaults says what is wrong with whom a resource's policy names.
func principalFaults(env Templates, s statement, who string) []string {
	switch {
	case who == "", isRole(env, who):
		return nil
	case who == "*":
		return []string{" to everybody"}
	case !serviceName.MatchString(who):
		return []string{" to " + who + ", which is not of these stacks"}
	}
	// A service acts for any account, but where the source is said.
	condition := Text(Readable(s.condition))
	if source := regexp.MustCompile(`"aws:Source(Arn|Account)":"([^"]*)"`).FindStringSubmatch(condition); source == nil || source[1] == "Arn" && !ofTheseStacks.MatchString(source[2]) {
		return []string{" to " + who + " on the condition " + condition + ", want aws:SourceArn of these stacks, or aws:SourceAccount"}
	}
	return nil
}

// isRole says whether a text is the ARN of a role of these stacks.
func isRole(env Templates, arn string) bool {
	role := roleArn.FindStringSubmatch(arn)
	return role != nil && env.Resources[role[1]].Type == "AWS::IAM::Role"
}

// oneAction is an action without a wildcard, in the case that AWS writes it: IAM ignores it, these checks do not.
var oneAction = regexp.MustCompile(`^[a-z0-9-]+:[A-Z][A-Za-z]+$`)

// actionFaults says what is wrong with an action and what it may be done on.
func actionFaults(s statement, o Owner, action, on string) []string {
	var faults []string
	if !oneAction.MatchString(action) {
		faults = append(faults, ": name each action, as AWS writes it")
	}
	switch {
	case on == "itself":
	case on == "*" && onEverything[action] == "":
		faults = append(faults, ", and is not among the actions without resource-level permission")
	case on == "*" && action == "ecs:ListTasks" && At(s.condition, "ArnEquals", "ecs:cluster") == nil:
		faults = append(faults, " without the cluster as condition")
	case on != "*" && !o.has(on):
		faults = append(faults, ", which is not of these stacks alone")
	}
	return faults
}

func passRoleFaults(env Templates, s statement) []string {
	var faults []string
	if !slices.Contains(s.actions, "iam:PassRole") {
		return nil
	}
	if to, _ := At(s.condition, "StringEquals", "iam:PassedToService").(string); !serviceName.MatchString(to) {
		faults = append(faults, fmt.Sprintf("passes a role on the condition %s, want one service: iam:PassedToService", Text(s.condition)))
	}
	for _, on := range s.resources {
		if !isRole(env, on) {
			faults = append(faults, fmt.Sprintf("passes %s, want a role of these stacks", on))
		}
	}
	return faults
}

// identityFaults wants roles of these stacks, with policies that stand here, to be all that may do anything.
func identityFaults(env Templates, o Owner) []string {
	var faults []string
	fail := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	for _, id := range slices.Sorted(maps.Keys(env.Resources)) {
		r := env.Resources[id]
		if slices.Contains(noIdentities, r.Type) {
			fail("%s is of type %s: roles of these stacks with policies of their own are enough", id, r.Type)
		}
		for _, arn := range List(r.Properties["ManagedPolicyArns"]) {
			if ids := References(arn); len(ids) == 1 && env.Resources[ids[0]].Type == "AWS::IAM::ManagedPolicy" {
				continue // what the library splits off when a role's policies are too long; its statements are walked too
			}
			if given, _ := arn.(string); slices.Contains(o.policies, given) && strings.HasSuffix(Path(r), "Service/TaskDefinition/TaskRole/Resource") {
				continue
			}
			fail("%s has the managed policy %v: write the statements", id, Readable(arn))
		}
		if !slices.Contains([]string{"AWS::IAM::Policy", "AWS::IAM::ManagedPolicy", "AWS::IAM::RolePolicy"}, r.Type) {
			continue
		}
		if r.Properties["Users"] != nil || r.Properties["Groups"] != nil {
			fail("%s is a policy of users or groups", id)
		}
		for _, role := range append(List(r.Properties["Roles"]), List(r.Properties["RoleName"])...) {
			if ids := References(role); len(ids) != 1 || env.Resources[ids[0]].Type != "AWS::IAM::Role" {
				fail("%s is a policy of %v, which is no role of these stacks", id, Readable(role))
			}
		}
	}
	return faults
}
