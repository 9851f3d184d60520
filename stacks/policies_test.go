package stacks_test

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"flask-on-fargate/config"
)

// onEverything are the actions that may have the resource *, since their API has no resource-level permission, or only by the
// condition that is named. https://docs.aws.amazon.com/service-authorization/latest/reference/
var onEverything = map[string]string{
	"ecr:GetAuthorizationToken":        "logs in to the registry; no resource-level permission",
	"ssmmessages:CreateControlChannel": "ECS Exec; no resource-level permission",
	"ssmmessages:CreateDataChannel":    "ECS Exec; no resource-level permission",
	"ssmmessages:OpenControlChannel":   "ECS Exec; no resource-level permission",
	"ssmmessages:OpenDataChannel":      "ECS Exec; no resource-level permission",
	"ecs:DescribeTaskDefinition":       "the deploy action copies the task definition in use; no resource-level permission",
	"ecs:ListTasks":                    "reasons of stopped tasks; only by the condition ecs:cluster",
	"codepipeline:PutJobSuccessResult": "answers the pipeline; no resource-level permission",
	"codepipeline:PutJobFailureResult": "answers the pipeline; no resource-level permission",
}

// exception is what a policy may allow beyond what [checkPolicies] lets all do. All but the reason are regular expressions of a whole text.
type exception struct {
	holder  string // the construct path, below the environment or the stack, of the resource that has the policy
	who     string // in a resource's policy
	actions string
	on      string
	reason  string
}

// byTheLibrary are what the CDK library writes itself into the stacks of an environment.
var byTheLibrary = []exception{
	{`Pipeline/Artifacts/Policy/Resource|Data/Bucket/Policy/Resource`, `\$\{[a-z]+\.CustomS3AutoDeleteObjectsCustomResourceProviderRole\w+\.Arn\}`, `s3:(DeleteObject|GetBucket|List)\*`, `.*`,
		"empties the bucket that has the policy, when it is destroyed"},
}

// byTheLibraryInDelivery are what CDK Pipelines writes into its own roles, buckets and keys. The stacks are "delivery", the pipeline's
// own, and "replica", its artifacts in another region.
var byTheLibraryInDelivery = []exception{
	{`(Artifacts|Cache)/Policy/Resource`, `\$\{[a-z]+\.CustomS3AutoDeleteObjectsCustomResourceProviderRole\w+\.Arn\}`, `s3:(DeleteObject|GetBucket|List)\*`, `.*`,
		"empties the bucket that has the policy, when it is destroyed"},
	{`Artifacts/Policy/Resource`, bootstrapRole("deploy"), `s3:(GetBucket|GetObject|List)\*`, `.*`, "deploys the templates in the bucket that has the policy"},
	{`Pipeline/(Pipeline|Assets/FileRole|UpdatePipeline/SelfMutation/Role)/.*`, ``, `s3:(Abort|DeleteObject|GetBucket|GetObject|List)\*`, artifacts, "the library's grant on the pipeline's own artifacts, which can be built again"},
	{`Pipeline/Assets/FileRole/.*`, ``, `codebuild:(BatchGetBuilds|StartBuild|StopBuild)`, `\*`,
		"with it the build that publishes assets could start any build of the account: who changes what it runs can deploy anything already"},
	{`Pipeline/Assets/FileRole/.*`, ``, `logs:(CreateLogGroup|CreateLogStream|PutLogEvents)`, `arn:aws:logs:[^:]+:\d+:log-group:/aws/codebuild/\*`, "logs of the account's builds, to which it can only add"},
	{`Pipeline/Assets/FileRole/.*`, ``, `codebuild:(CreateReportGroup|CreateReport|UpdateReport|BatchPutTestCases|BatchPutCodeCoverages)`, `arn:aws:codebuild:[^:]+:\d+:report-group/\*`,
		"reports of the account's builds, to which it can only add"},
	{`Pipeline/UpdatePipeline/SelfMutation/Role/.*`, ``, `cloudformation:DescribeStacks|s3:ListBucket`, `\*`, "self-mutation looks for the bootstrap stack and its bucket"},
	{`Pipeline/UpdatePipeline/SelfMutation/Role/.*`, ``, `sts:AssumeRole`, `arn:\*:iam::\d+:role/\*`, "by its condition only the bootstrap's roles; TestDeliveryRolesAllowExactly pins it"},
}

// byTheLibraryToAnotherAccount are what it writes besides, when an environment is in another account and region than the pipeline.
var byTheLibraryToAnotherAccount = []exception{
	{`ArtifactsKey/Resource`, `arn:aws:iam::\d+:root`, `kms:.*`, `itself`, "the pipeline's account manages the key that has the policy, as in every key's default policy; in a replica its roles use the key by that"},
	{`ArtifactsKey/Resource`, bootstrapRole("deploy"), `kms:(Decrypt|DescribeKey)`, `itself`, "decrypts the templates that it deploys"},
	{`Pipeline/(Pipeline|UpdatePipeline/SelfMutation/Role)/.*`, ``, `kms:(GenerateDataKey|ReEncrypt)\*`, `\$\{delivery\.ArtifactsKey\w+\.Arn\}`, "the key of the pipeline's own artifacts"},
	{`Pipeline/Pipeline/Role/.*`, ``, `kms:(Decrypt|DescribeKey|Encrypt|GenerateDataKey\*|ReEncrypt\*)`, `\*`, "the library knows the key in another region by its alias only, which cannot stand here; its policy decides"},
}

// artifacts are the buckets of the pipeline, and the objects in them.
const artifacts = `(\$\{delivery\.Artifacts\w+\.Arn\}|arn:aws:s3:::flask-app-delivery-[a-z0-9-]+)(/\*)?`

// bootstrapRole is a role that `cdk bootstrap` makes in any account and region, as a regular expression.
func bootstrapRole(name string) string {
	return `arn:\$\{AWS::Partition\}:iam::\d{12}:role/cdk-hnb659fds-` + name + `-role-\d{12}-[a-z0-9-]+`
}

// matching returns the index of the exception that covers one action of a statement, or -1.
func matching(all []exception, s statement, who, action, on string) int {
	return slices.IndexFunc(all, func(e exception) bool {
		for pattern, text := range map[string]string{e.holder: pathOf(s.of), e.actions: action, e.on: on} {
			if !wholly(pattern, text) {
				return false
			}
		}
		return wholly(e.who, who)
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
	of         resource // that has it
	roles      []string // that have what it allows
	trust      bool     // it says who may assume a role
	principals []string // of a resource's policy: services, accounts and roles; * is everybody
	actions    []string
	resources  []string // "itself" in a resource's policy that names none
	denies     bool
	condition  any
}

// policyStatements finds the statements of all policies, wherever a resource has one.
func policyStatements(env environment) []statement {
	var found []statement
	var walk func(of resource, node any, trust bool)
	walk = func(of resource, node any, trust bool) {
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
				s.roles = append(references(of.Properties["Roles"]), references(of.Properties["RoleName"])...)
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
	for _, permission := range env.all("AWS::Lambda::Permission") {
		s := statement{of: permission, principals: texts(permission.Properties["Principal"]), actions: texts(permission.Properties["Action"]), resources: []string{"itself"}, condition: permission.Properties["SourceArn"]}
		found = append(found, s)
	}
	return found
}

// texts is what stands in a place that takes one or several, with references as in Fn::Sub.
func texts(node any) []string {
	var all []string
	for _, element := range list(node) {
		all = append(all, fmt.Sprint(readable(element)))
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

// checkPolicies walks every statement. The names of an environment's own resources begin with name. It returns a sentence for each
// statement that allows too much, and the reasons of the exceptions that were needed.
func checkPolicies(env environment, name string, except []exception) (broken, used []string) {
	for _, s := range policyStatements(env) {
		fail := func(format string, args ...any) {
			broken = append(broken, fmt.Sprintf("%s: ", s.of.ID)+fmt.Sprintf(format, args...))
		}
		if s.trust {
			if len(s.principals) != 1 || !serviceName.MatchString(s.principals[0]) {
				fail("may be assumed by %q, want exactly one service", s.principals)
			}
			if !slices.Equal(s.actions, []string{"sts:AssumeRole"}) {
				fail("trusts with %q, want sts:AssumeRole", s.actions)
			}
			continue
		}
		if s.denies {
			continue
		}
		for _, who := range append(s.principals, "")[:max(1, len(s.principals))] { // nobody but its roles in a policy of a role
			for _, action := range s.actions {
				for _, on := range s.resources {
					if e := matching(except, s, who, action, on); e >= 0 {
						used = append(used, except[e].reason)
						continue
					}
					for _, fault := range slices.Concat(principalFaults(env, s, who), actionFaults(s, name, action, on)) {
						fail("allows %s on %s%s", action, on, fault)
					}
					if on == "*" && onEverything[action] != "" {
						used = append(used, action)
					}
				}
			}
		}
		if slices.Contains(s.actions, "iam:PassRole") {
			to, _ := at(s.condition, "StringEquals", "iam:PassedToService").(string)
			if !serviceName.MatchString(to) {
				fail("passes a role on the condition %s, want one service: iam:PassedToService", text(s.condition))
			}
			for _, on := range s.resources {
				if role := roleArn.FindStringSubmatch(on); role == nil || env.Resources[role[1]].Type != "AWS::IAM::Role" {
					fail("passes %s, want a role of these stacks", on)
				}
			}
		}
	}
	for _, id := range slices.Sorted(maps.Keys(env.Resources)) {
		r := env.Resources[id]
		if slices.Contains(noIdentities, r.Type) {
			broken = append(broken, fmt.Sprintf("%s is of type %s: roles of these stacks with policies of their own are enough", id, r.Type))
		}
		for _, arn := range list(r.Properties["ManagedPolicyArns"]) {
			if ids := references(arn); len(ids) == 1 && env.Resources[ids[0]].Type == "AWS::IAM::ManagedPolicy" {
				continue // what the library splits off when a role's policies are too long; its statements are walked too
			}
			broken = append(broken, fmt.Sprintf("%s has the managed policy %v: write the statements", id, readable(arn)))
		}
		if (r.Type == "AWS::IAM::Policy" || r.Type == "AWS::IAM::ManagedPolicy") && (r.Properties["Users"] != nil || r.Properties["Groups"] != nil) {
			broken = append(broken, fmt.Sprintf("%s is a policy of users or groups", id))
		}
	}
	return broken, used
}

// principalFaults says what is wrong with whom a resource's policy names.
func principalFaults(env environment, s statement, who string) []string {
	role := roleArn.FindStringSubmatch(who)
	switch {
	case who == "", role != nil && env.Resources[role[1]].Type == "AWS::IAM::Role":
		return nil
	case who == "*":
		return []string{" to everybody"}
	case !serviceName.MatchString(who):
		return []string{" to " + who + ", which is not of these stacks"}
	case s.condition == nil:
		return []string{" to " + who + " without a condition: on behalf of any account"}
	}
	return nil
}

// actionFaults says what is wrong with an action and what it may be done on.
func actionFaults(s statement, name, action, on string) []string {
	var faults []string
	if strings.Contains(action, "*") {
		faults = append(faults, ": name each action")
	}
	fixed, _, open := strings.Cut(on, "*")
	switch {
	case on == "*" && onEverything[action] == "":
		faults = append(faults, ", and is not among the actions without resource-level permission")
	case on == "*" && action == "ecs:ListTasks" && at(s.condition, "ArnEquals", "ecs:cluster") == nil:
		faults = append(faults, " without the cluster as condition")
	case on != "*" && open && !ofTheseStacks.MatchString(fixed) && !strings.Contains(fixed, name):
		faults = append(faults, ", which is not of these stacks alone")
	}
	return faults
}

// readsSecrets says whether an action gives a secret's value.
func readsSecrets(action string) bool {
	return action == "*" || strings.HasPrefix(action, "secretsmanager:") && (strings.Contains(action, "*") || strings.HasSuffix(action, "GetSecretValue"))
}

// checkSecretReaders wants each secret of the stacks to be read by exactly the roles that need it.
func checkSecretReaders(env environment) []string {
	readers := map[string]map[string]bool{} // by kind of secret: the paths below the environment of who reads it
	for _, s := range policyStatements(env) {
		if s.denies || !slices.ContainsFunc(s.actions, readsSecrets) {
			continue
		}
		for _, on := range s.resources {
			kind := "configured"
			if strings.HasPrefix(on, "*") {
				kind = "whole account's"
			}
			for _, id := range qualified.FindAllStringSubmatch(on, -1) {
				switch r := env.Resources[id[1]]; {
				case r.Type == "AWS::SecretsManager::SecretTargetAttachment" || strings.Contains(r.ID, "DatabaseCredentials"):
					kind = "database"
				case r.Type == "AWS::SecretsManager::Secret":
					kind = "flask"
				}
			}
			if readers[kind] == nil {
				readers[kind] = map[string]bool{}
			}
			for _, role := range s.roles {
				readers[kind][pathOf(env.Resources[role])] = true
			}
			for _, principal := range s.principals {
				readers[kind][principal] = true
			}
		}
	}
	wanted := map[string][]string{
		"database":   {"Service/SchemaInit/Task/ExecutionRole/Resource", "Service/TaskDefinition/ExecutionRole/Resource"},
		"flask":      {"Service/TaskDefinition/ExecutionRole/Resource"},
		"configured": {"Service/TaskDefinition/ExecutionRole/Resource"},
	}
	var broken []string
	for _, kind := range slices.Sorted(maps.Keys(readers)) {
		if got := slices.Sorted(maps.Keys(readers[kind])); !slices.Equal(got, wanted[kind]) {
			broken = append(broken, fmt.Sprintf("the %s secret is read by %v, want %v", kind, got, wanted[kind]))
		}
	}
	for _, kind := range []string{"database", "flask"} {
		if readers[kind] == nil {
			broken = append(broken, fmt.Sprintf("nobody may read the %s secret", kind))
		}
	}
	return broken
}

// TestPoliciesOfTheDelivery walks the pipeline's own stacks. Those of the delivered environments are the same as of deployed ones, to
// the byte.
func TestPoliciesOfTheDelivery(t *testing.T) {
	for name, delivery := range map[string]struct {
		env    environment
		except []exception
	}{
		"to one account":     {theDelivery(t), byTheLibraryInDelivery},
		"to another account": {theCrossing(t), slices.Concat(byTheLibraryInDelivery, byTheLibraryToAnotherAccount)},
	} {
		broken, used := checkPolicies(delivery.env, "flask-app-delivery", delivery.except)
		for _, fault := range broken {
			t.Errorf("%s: %s", name, fault)
		}
		for _, e := range delivery.except {
			if !slices.Contains(used, e.reason) {
				t.Errorf("%s: nothing needs the exception of %s for %s on %s any more", name, e.holder, e.actions, e.on)
			}
		}
		t.Logf("figure: %d policy statements of the delivery %s walked", len(policyStatements(delivery.env)), name)
	}
}

// TestAPolicyThatAllowsTooMuchIsNoticed adds to the templates of dev what an attacker, or a mistake, would add.
func TestAPolicyThatAllowsTooMuchIsNoticed(t *testing.T) {
	role := func(statement string) func(*testing.T, environment) {
		return add("AWS::IAM::Role", `{"AssumeRolePolicyDocument": {"Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "lambda.amazonaws.com"}}]},
			"Policies": [{"PolicyName": "a", "PolicyDocument": {"Statement": [`+statement+`]}}]}`)
	}
	trust := func(actions, principal string) func(*testing.T, environment) {
		return add("AWS::IAM::Role", `{"AssumeRolePolicyDocument": {"Statement": [{"Effect": "Allow", "Action": `+actions+`, "Principal": `+principal+`}]}}`)
	}
	ofBucket := func(principal, more string) func(*testing.T, environment) {
		return add("AWS::S3::BucketPolicy", `{"Bucket": {"Ref": "data.Bucket83908E77"}, "PolicyDocument": {"Statement": [{"Effect": "Allow", "Action": "s3:GetObject",
			"Resource": {"Fn::Sub": "${data.Bucket83908E77.Arn}/*"}, "Principal": `+principal+more+`}]}}`)
	}
	const function = `{"Ref": "pipeline.ReleaseHandlerFunction1022F433"}`
	wantNoticed(t, func(env environment, cfg config.Environment) []string {
		broken, _ := checkPolicies(env, cfg.Project+"-"+cfg.Name, byTheLibrary)
		return append(broken, checkSecretReaders(env)...)
	}, map[string]fault{
		"every action":                     {role(`{"Effect": "Allow", "Action": "s3:*", "Resource": {"Fn::GetAtt": ["data.Bucket83908E77", "Arn"]}}`), "allows s3:* on ${data.Bucket83908E77.Arn}: name each action"},
		"everything but":                   {role(`{"Effect": "Allow", "NotAction": "iam:*", "Resource": {"Fn::GetAtt": ["data.Bucket83908E77", "Arn"]}}`), "allows * on ${data.Bucket83908E77.Arn}: name each"},
		"every resource":                   {role(`{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}`), "allows s3:GetObject on *, and is not among"},
		"every resource of a kind":         {role(`{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::*"}`), "allows s3:GetObject on arn:aws:s3:::*, which is not of these stacks alone"},
		"every task":                       {role(`{"Effect": "Allow", "Action": "ecs:ListTasks", "Resource": "*"}`), "without the cluster as condition"},
		"passing any role":                 {role(`{"Effect": "Allow", "Action": "iam:PassRole", "Resource": "arn:aws:iam::*:role/*", "Condition": {"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}}}`), "passes arn:aws:iam::*:role/*, want a role of these stacks"},
		"passing on another condition":     {role(`{"Effect": "Allow", "Action": "iam:PassRole", "Resource": {"Fn::GetAtt": ["service.TaskDefinitionTaskRoleFD40A61D", "Arn"]}, "Condition": {"Bool": {"aws:SecureTransport": true}}}`), "want one service: iam:PassedToService"},
		"a new reader of a secret":         {role(`{"Effect": "Allow", "Action": "secretsmanager:GetSecretValue", "Resource": {"Ref": "data.FlaskSecretDB73E49F"}}`), "the flask secret is read by [Data/Added/Resource "},
		"a new reader in a batch":          {role(`{"Effect": "Allow", "Action": "secretsmanager:BatchGetSecretValue", "Resource": {"Ref": "data.DatabaseCredentialsAttachment15FFA803"}}`), "the database secret is read by [Data/Added/Resource "},
		"a reader of all secrets":          {role(`{"Effect": "Allow", "Action": "secretsmanager:GetSecretValue", "Resource": "*"}`), "the whole account's secret is read by"},
		"a policy beside its role":         {add("AWS::IAM::RolePolicy", `{"RoleName": {"Ref": "service.TaskDefinitionTaskRoleFD40A61D"}, "PolicyDocument": {"Statement": [{"Effect": "Allow", "Action": "secretsmanager:GetSecretValue", "Resource": {"Ref": "data.FlaskSecretDB73E49F"}}]}}`), "the flask secret is read by [Service/TaskDefinition/ExecutionRole/Resource Service/TaskDefinition/TaskRole/Resource]"},
		"a secret's own policy":            {add("AWS::SecretsManager::ResourcePolicy", `{"SecretId": {"Ref": "data.FlaskSecretDB73E49F"}, "ResourcePolicy": {"Statement": [{"Effect": "Allow", "Action": "secretsmanager:GetSecretValue", "Resource": "*", "Principal": {"AWS": "999999999999"}}]}}`), "is of type AWS::SecretsManager::ResourcePolicy"},
		"a role of anybody":                {trust(`"sts:AssumeRole"`, `{"AWS": "*"}`), `may be assumed by ["*"], want exactly one service`},
		"a role of another role":           {trust(`"sts:AssumeRole"`, `{"AWS": {"Fn::GetAtt": ["service.TaskDefinitionTaskRoleFD40A61D", "Arn"]}}`), "may be assumed by"},
		"a role of two services":           {trust(`"sts:AssumeRole"`, `{"Service": ["lambda.amazonaws.com", "ec2.amazonaws.com"]}`), "may be assumed by"},
		"a trust in every action":          {trust(`"sts:*"`, `{"Service": "lambda.amazonaws.com"}`), `trusts with ["sts:*"], want sts:AssumeRole`},
		"a managed policy":                 {add("AWS::IAM::Role", `{"ManagedPolicyArns": ["arn:aws:iam::aws:policy/AdministratorAccess"]}`), "has the managed policy arn:aws:iam::aws:policy/AdministratorAccess"},
		"a user":                           {add("AWS::IAM::User", `{"ManagedPolicyArns": ["arn:aws:iam::aws:policy/AdministratorAccess"]}`), "is of type AWS::IAM::User"},
		"a policy of a user":               {add("AWS::IAM::Policy", `{"Users": ["me"], "PolicyDocument": {"Statement": []}}`), "is a policy of users or groups"},
		"a bucket of everybody":            {ofBucket(`"*"`, ``), "allows s3:GetObject on ${data.Bucket83908E77.Arn}/* to everybody"},
		"a bucket of everybody with TLS":   {ofBucket(`{"AWS": ["*"]}`, `, "Condition": {"Bool": {"aws:SecureTransport": true}}`), "to everybody"},
		"a bucket of another account":      {ofBucket(`{"AWS": "arn:aws:iam::999999999999:root"}`, ``), "to arn:aws:iam::999999999999:root, which is not of these stacks"},
		"a bucket of a service":            {ofBucket(`{"Service": "cloudtrail.amazonaws.com"}`, ``), "to cloudtrail.amazonaws.com without a condition"},
		"a repository of another account":  {set("Data/Repository/Resource", `{"RepositoryPolicyText": {"Statement": [{"Effect": "Allow", "Action": "ecr:*", "Principal": {"AWS": "999999999999"}}]}}`), "allows ecr:* on itself: name each action"},
		"a function that everybody starts": {add("AWS::Lambda::Permission", `{"FunctionName": `+function+`, "Action": "lambda:InvokeFunctionUrl", "Principal": "*", "FunctionUrlAuthType": "NONE"}`), "allows lambda:InvokeFunctionUrl on itself to everybody"},
		"a function of any rule":           {add("AWS::Lambda::Permission", `{"FunctionName": `+function+`, "Action": "lambda:InvokeFunction", "Principal": "events.amazonaws.com"}`), "to events.amazonaws.com without a condition"},
	})
}
