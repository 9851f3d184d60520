package stacks_test

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
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
	"ec2:DescribeSecurityGroups":       "the CDK's function that closes the default security group; no resource-level permission",
}

// byTheLibrary are actions with a * in them that the CDK library writes itself, each with its reason.
var byTheLibrary = map[string]string{
	"s3:DeleteObject*": "policy of a bucket that is emptied when destroyed: for the emptying function's role, on that bucket",
	"s3:GetBucket*":    "the same",
	"s3:List*":         "the same",
}

// byTheLibraryInDelivery are what CDK Pipelines writes into its own roles: "action on resource", each with its reason.
var byTheLibraryInDelivery = map[string]string{
	"s3:Abort* on ${delivery.Artifacts82DD59A1.Arn}":          "the library's grant to the actions of the pipeline, on its own artifacts, which can be built again",
	"s3:Abort* on ${delivery.Artifacts82DD59A1.Arn}/*":        "the library's grant to the actions of the pipeline, on its own artifacts, which can be built again",
	"s3:DeleteObject* on ${delivery.Artifacts82DD59A1.Arn}":   "the library's grant to the actions of the pipeline, on its own artifacts, which can be built again",
	"s3:DeleteObject* on ${delivery.Artifacts82DD59A1.Arn}/*": "the library's grant to the actions of the pipeline, on its own artifacts, which can be built again",
	"s3:GetBucket* on ${delivery.Artifacts82DD59A1.Arn}":      "the library's grant to the actions of the pipeline, on its own artifacts, which can be built again",
	"s3:GetBucket* on ${delivery.Artifacts82DD59A1.Arn}/*":    "the library's grant to the actions of the pipeline, on its own artifacts, which can be built again",
	"s3:GetObject* on ${delivery.Artifacts82DD59A1.Arn}":      "the library's grant to the actions of the pipeline, on its own artifacts, which can be built again",
	"s3:GetObject* on ${delivery.Artifacts82DD59A1.Arn}/*":    "the library's grant to the actions of the pipeline, on its own artifacts, which can be built again",
	"s3:List* on ${delivery.Artifacts82DD59A1.Arn}":           "the library's grant to the actions of the pipeline, on its own artifacts, which can be built again",
	"s3:List* on ${delivery.Artifacts82DD59A1.Arn}/*":         "the library's grant to the actions of the pipeline, on its own artifacts, which can be built again",
	"codebuild:BatchGetBuilds on *":                           "the role that publishes assets starts its own builds, whose names the library does not know yet",
	"codebuild:StartBuild on *":                               "the role that publishes assets starts its own builds, whose names the library does not know yet",
	"codebuild:StopBuild on *":                                "the role that publishes assets starts its own builds, whose names the library does not know yet",
	"cloudformation:DescribeStacks on *":                      "self-mutation looks for the bootstrap stack",
	"s3:ListBucket on *":                                      "self-mutation looks for the bootstrap bucket",
}

// statement is one statement of any policy, with the resource that has it.
type statement struct {
	of        resource
	trust     bool // it says who may assume a role
	onBucket  bool // it is a bucket's policy
	principal any
	actions   []string
	resources []string
	effect    string
	condition any
}

func policyStatements(env environment) []statement {
	var found []statement
	var walk func(of resource, node any, key string)
	walk = func(of resource, node any, key string) {
		switch node := node.(type) {
		case []any:
			for _, element := range node {
				walk(of, element, key)
			}
		case map[string]any:
			if node["Effect"] != nil && (node["Action"] != nil || node["NotAction"] != nil) {
				s := statement{of: of, trust: key == "AssumeRolePolicyDocument", onBucket: of.Type == "AWS::S3::BucketPolicy", principal: node["Principal"], effect: text(node["Effect"]), condition: node["Condition"]}
				for _, action := range list(node["Action"]) {
					s.actions = append(s.actions, fmt.Sprint(readable(action)))
				}
				if node["NotAction"] != nil || node["NotResource"] != nil || node["NotPrincipal"] != nil {
					s.actions = append(s.actions, "*") // everything but
				}
				for _, on := range list(node["Resource"]) {
					s.resources = append(s.resources, fmt.Sprint(readable(on)))
				}
				found = append(found, s)
				return
			}
			for name, value := range node {
				if name == "AssumeRolePolicyDocument" {
					walk(of, value, name)
				} else {
					walk(of, value, key)
				}
			}
		}
	}
	for _, id := range slices.Sorted(maps.Keys(env.Resources)) {
		walk(env.Resources[id], env.Resources[id].Properties, "")
	}
	return found
}

// serviceName is a service that may assume a role.
var serviceName = regexp.MustCompile(`^[a-z0-9-]+\.amazonaws\.com$`)

// checkPolicies walks every statement. What is in except, as "action on resource", may be wider.
func checkPolicies(env environment, except map[string]string) []string {
	var broken []string
	for _, s := range policyStatements(env) {
		fail := func(format string, args ...any) {
			broken = append(broken, fmt.Sprintf("%s: ", s.of.ID)+fmt.Sprintf(format, args...))
		}
		denies := s.effect == `"Deny"`
		if s.trust {
			principal, _ := s.principal.(map[string]any)
			service, _ := principal["Service"].(string)
			if len(principal) != 1 || !serviceName.MatchString(service) && !isRole(env, principal["AWS"]) {
				fail("may be assumed by %s, want exactly one service, or exactly one role of these stacks", text(s.principal))
			}
			continue
		}
		for _, action := range s.actions {
			library := s.onBucket && byTheLibrary[action] != "" && isRole(env, at(s.principal, "AWS"))
			if action == "iam:PassRole" && s.condition == nil {
				fail("passes a role without a condition")
			}
			for _, on := range s.resources {
				if except[action+" on "+on] != "" {
					continue
				}
				if strings.Contains(action, "*") && !denies && !library {
					fail("allows %s on %s", action, on)
				}
				if on == "*" && !denies && onEverything[action] == "" {
					fail("allows %s on *, which is not among those without resource-level permission", action)
				}
				if on == "*" && action == "ecs:ListTasks" && s.condition == nil {
					fail("allows ecs:ListTasks on * without the cluster as condition")
				}
			}
		}
		if everybody := text(s.principal) == `"*"` || text(s.principal) == `{"AWS":"*"}`; everybody && s.condition == nil {
			fail("names everybody without a condition")
		}
	}
	for _, role := range env.all("AWS::IAM::Role") {
		for _, arn := range list(role.Properties["ManagedPolicyArns"]) {
			broken = append(broken, fmt.Sprintf("%s has the managed policy %v: write the statements", role.ID, readable(arn)))
		}
	}
	return broken
}

func isRole(env environment, node any) bool {
	ids := references(node)
	return len(ids) == 1 && env.Resources[ids[0]].Type == "AWS::IAM::Role"
}

// checkSecretReaders wants each secret of the stacks to be read by exactly the roles that need it.
func checkSecretReaders(env environment) []string {
	readers := map[string]map[string]bool{} // by kind of secret: the roles' paths below the environment
	for _, s := range policyStatements(env) {
		if !slices.Contains(s.actions, "secretsmanager:GetSecretValue") {
			continue
		}
		for _, on := range s.resources {
			kind := "configured"
			for _, id := range qualified.FindAllStringSubmatch(on, -1) {
				switch r := env.Resources[id[1]]; {
				case r.Type == "AWS::SecretsManager::SecretTargetAttachment" || strings.Contains(r.ID, "DatabaseCredentials"):
					kind = "database"
				case r.Type == "AWS::SecretsManager::Secret":
					kind = "flask"
				}
			}
			for _, role := range references(s.of.Properties["Roles"]) {
				if readers[kind] == nil {
					readers[kind] = map[string]bool{}
				}
				readers[kind][pathOf(env.Resources[role])] = true
			}
		}
	}
	wanted := map[string][]string{
		"database":   {"Service/SchemaInit/Task/ExecutionRole/Resource", "Service/TaskDefinition/ExecutionRole/Resource"},
		"flask":      {"Service/TaskDefinition/ExecutionRole/Resource"},
		"configured": {"Service/TaskDefinition/ExecutionRole/Resource"},
	}
	var broken []string
	for kind, roles := range readers {
		if got := slices.Sorted(maps.Keys(roles)); !slices.Equal(got, wanted[kind]) {
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

// TestPoliciesOfTheDelivery walks the pipeline's own stack. Those of the delivered environments are the same as of deployed ones, to
// the byte.
func TestPoliciesOfTheDelivery(t *testing.T) {
	env := theDelivery(t)
	for _, broken := range checkPolicies(env, byTheLibraryInDelivery) {
		t.Error(broken)
	}
	held := map[string]bool{}
	for _, s := range policyStatements(env) {
		for _, action := range s.actions {
			for _, on := range s.resources {
				held[action+" on "+on] = true
			}
		}
	}
	for exception := range byTheLibraryInDelivery {
		if !held[exception] {
			t.Errorf("%s is excepted, and no role has it any more", exception)
		}
	}
}
