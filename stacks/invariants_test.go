package stacks_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"flask-on-fargate/config"
)

// What holds for every environment, whatever its configuration: sweep_test.go asks the same of generated ones.

func TestInvariants(t *testing.T) {
	for _, name := range shipped {
		t.Run(name, func(t *testing.T) {
			cfg := load(t, name)
			bodies := synthesize(t, cfg)
			for _, broken := range invariants(t, cfg, bodies) {
				t.Error(broken)
			}
			statements := policyStatements(decodeTemplates(t, bodies))
			if len(statements) < 40 {
				t.Errorf("only %d policy statements were found: the walk misses some", len(statements))
			}
			t.Logf("figure: %d policy statements of %s walked", len(statements), name)
		})
	}
}

// invariants returns a sentence for each invariant that an environment's templates break.
func invariants(t *testing.T, cfg config.Environment, bodies map[string][]byte) []string {
	t.Helper()
	env := decodeTemplates(t, bodies)
	broken := slices.Concat(checkPolicies(env, nil), checkSecretReaders(env), checkExposure(env, cfg), checkLifecycle(env, cfg), checkSecrets(env), checkLimits(env, bodies))
	if cycle := findCycle(env); cycle != nil {
		broken = append(broken, fmt.Sprintf("dependency cycle: %v", cycle))
	}
	return broken
}

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

// pathOf is a resource's construct path below its environment.
func pathOf(r resource) string {
	full, _ := r.Metadata["aws:cdk:path"].(string)
	_, below, _ := strings.Cut(full, "/")
	return below
}

// checkExposure computes who can reach what, over security groups, routes and public addresses, and compares it with the
// whole allowed set.
func checkExposure(env environment, cfg config.Environment) []string {
	names := map[string]string{"0.0.0.0/0": "internet"}
	for _, r := range env.all("AWS::EC2::SecurityGroup") {
		switch pathOf(r) {
		case "Service/Web/LB/SecurityGroup/Resource":
			names[r.ID] = "balancer"
		case "Service/TasksSecurityGroup/Resource":
			names[r.ID] = "tasks"
		case "Data/Database/SecurityGroup/Resource":
			names[r.ID] = "database"
		}
	}
	// A connection needs both ends' leave: what goes out of one group and in at the other.
	type rule struct{ from, to, port string }
	out, in := map[rule]bool{}, map[rule]bool{}
	for _, line := range securityRules(env, names) {
		var group, direction, preposition, peer, protocol, ports string
		fmt.Sscan(line, &group, &direction, &preposition, &peer, &protocol, &ports)
		peer = orName(names, peer)
		port := protocol + " " + ports
		if direction == "in" {
			in[rule{peer, group, port}] = true
		} else {
			out[rule{group, peer, port}] = true
		}
	}
	groups := []string{"balancer", "tasks", "database"}
	reach := map[string]bool{}
	for r := range in {
		leaves := r.from == "internet" || out[r] || out[rule{r.from, "internet", "-1 "}]
		if leaves {
			reach[fmt.Sprintf("%s → %s %s", r.from, r.to, r.port)] = true
		}
	}
	for r := range out {
		if r.to == "internet" {
			reach[fmt.Sprintf("%s → internet %s", r.from, r.port)] = true
		} else if !slices.Contains(groups, r.to) && !strings.HasPrefix(r.to, "255.255.255.255") {
			reach[fmt.Sprintf("%s → %s %s", r.from, r.to, r.port)] = true
		}
	}
	wanted := []string{
		fmt.Sprintf("balancer → tasks tcp %d-%d", cfg.Service.ContainerPort, cfg.Service.ContainerPort),
		"internet → balancer tcp 80-80", "tasks → database tcp 3306-3306", "tasks → internet -1 ",
	}
	var broken []string
	if got := slices.Sorted(maps.Keys(reach)); !slices.Equal(got, wanted) {
		broken = append(broken, fmt.Sprintf("reachable are %q, want exactly %q", got, wanted))
	}
	return append(broken, checkPublicAddresses(env)...)
}

func orName(names map[string]string, id string) string {
	if names[id] != "" {
		return names[id]
	}
	return id
}

// checkPublicAddresses wants only the load balancer, NAT and nothing else in public subnets, and no public address elsewhere.
func checkPublicAddresses(env environment) []string {
	public := map[string]bool{} // subnets with a route to the internet gateway
	for _, route := range env.all("AWS::EC2::Route") {
		if route.Properties["GatewayId"] == nil {
			continue
		}
		for _, association := range env.all("AWS::EC2::SubnetRouteTableAssociation") {
			if slices.Equal(references(association.Properties["RouteTableId"]), references(route.Properties["RouteTableId"])) {
				public[references(association.Properties["SubnetId"])[0]] = true
			}
		}
	}
	inPublic := func(node any) bool {
		return slices.ContainsFunc(references(node), func(id string) bool { return public[id] })
	}
	var broken []string
	if len(public) != 2 {
		broken = append(broken, fmt.Sprintf("%d public subnets, want 2", len(public)))
	}
	for _, subnet := range env.all("AWS::EC2::Subnet") {
		if !public[subnet.ID] && subnet.Properties["MapPublicIpOnLaunch"] == true {
			broken = append(broken, subnet.ID+" is private and gives public addresses")
		}
	}
	for _, r := range env.Resources {
		switch r.Type {
		case "AWS::ElasticLoadBalancingV2::LoadBalancer":
			if r.Properties["Scheme"] != "internet-facing" || !inPublic(r.Properties["Subnets"]) {
				broken = append(broken, r.ID+" does not face the internet")
			}
		case "AWS::ECS::Service":
			awsvpc := at(r.Properties, "NetworkConfiguration", "AwsvpcConfiguration")
			if at(awsvpc, "AssignPublicIp") != "DISABLED" || inPublic(at(awsvpc, "Subnets")) {
				broken = append(broken, r.ID+" has tasks with a public address or in a public subnet")
			}
		case "AWS::RDS::DBSubnetGroup":
			if inPublic(r.Properties["SubnetIds"]) {
				broken = append(broken, r.ID+" holds a public subnet")
			}
		case "AWS::RDS::DBInstance":
			if r.Properties["PubliclyAccessible"] != false {
				broken = append(broken, r.ID+" is publicly accessible")
			}
		case "Custom::SchemaInit":
			if inPublic(r.Properties["Subnets"]) {
				broken = append(broken, r.ID+" runs its task in a public subnet")
			}
		case "AWS::S3::Bucket":
			for _, block := range []string{"BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets"} {
				if at(r.Properties, "PublicAccessBlockConfiguration", block) != true {
					broken = append(broken, fmt.Sprintf("%s does not have %s", r.ID, block))
				}
			}
		}
	}
	slices.Sort(broken)
	return broken
}

// checkLifecycle wants exactly the data to outlive a retained environment, and nothing another one.
func checkLifecycle(env environment, cfg config.Environment) []string {
	var broken, stays []string
	for _, id := range slices.Sorted(maps.Keys(env.Resources)) {
		r := env.Resources[id]
		if r.DeletionPolicy != "" && r.DeletionPolicy != "Delete" {
			stays = append(stays, fmt.Sprintf("%s %s %s", pathOf(r), r.Type, r.DeletionPolicy))
		}
		name, _ := r.Properties["LogGroupName"].(string)
		if r.Type == "AWS::Logs::LogGroup" && r.DeletionPolicy != "Delete" {
			broken = append(broken, fmt.Sprintf("the log group %s %s stays after destroy", r.ID, name))
		}
	}
	wanted := []string{}
	if cfg.Retain {
		wanted = []string{
			"Data/Bucket/Resource AWS::S3::Bucket RetainExceptOnCreate", "Data/Database/Credentials/Resource AWS::SecretsManager::Secret RetainExceptOnCreate",
			"Data/Database/Instance/Resource AWS::RDS::DBInstance Snapshot", "Data/FlaskSecret/Resource AWS::SecretsManager::Secret RetainExceptOnCreate",
			"Data/Repository/Resource AWS::ECR::Repository RetainExceptOnCreate",
		}
	}
	slices.Sort(stays)
	slices.Sort(wanted)
	if !slices.Equal(stays, wanted) {
		broken = append(broken, fmt.Sprintf("after destroy there stay %q, want exactly %q", stays, wanted))
	}
	emptied := map[string]bool{}
	for _, r := range env.all("Custom::S3AutoDeleteObjects") {
		emptied[references(r.Properties["BucketName"])[0]] = true
	}
	for _, bucket := range env.all("AWS::S3::Bucket") {
		if stays := bucket.DeletionPolicy != "Delete"; stays == emptied[bucket.ID] {
			broken = append(broken, fmt.Sprintf("%s has the deletion policy %s; emptied when destroyed: %v", bucket.ID, bucket.DeletionPolicy, emptied[bucket.ID]))
		}
	}
	return broken
}

// secretProperties are those whose value is a secret.
var secretProperties = regexp.MustCompile(`(?i)(password|secretstring|^token$|privatekey|accesskey)`)

// checkSecrets wants every secret to be a reference that is resolved when it is used.
func checkSecrets(env environment) []string {
	var broken []string
	var walk func(id, key string, node any)
	walk = func(id, key string, node any) {
		switch node := node.(type) {
		case []any:
			for _, element := range node {
				walk(id, key, element)
			}
		case map[string]any:
			for name, value := range node {
				if secretProperties.MatchString(name) && name != "GenerateSecretString" && name != "SecretStringTemplate" && name != "PasswordLength" {
					if value := fmt.Sprint(readable(value)); !strings.HasPrefix(value, "{{resolve:secretsmanager:${") {
						broken = append(broken, fmt.Sprintf("%s: %s is %q, want a dynamic reference", id, name, value))
					}
					continue
				}
				walk(id, name, value)
			}
		case string:
			if strings.Contains(node, "{{resolve:") && !secretProperties.MatchString(key) {
				broken = append(broken, fmt.Sprintf("%s: %s holds a dynamic reference: its value would be readable there", id, key))
			}
		}
	}
	for _, id := range slices.Sorted(maps.Keys(env.Resources)) {
		walk(id, "", env.Resources[id].Properties)
	}
	for name, value := range env.Outputs {
		if strings.Contains(text(value), "resolve:") {
			broken = append(broken, fmt.Sprintf("the output %s holds a secret", name))
		}
	}
	return broken
}

// CloudFormation's and the services' limits, https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html
const (
	maxTemplate   = 1_000_000
	maxResources  = 500
	maxOutputs    = 200
	maxExportName = 255
	maxRolePolicy = 10_240 // characters of a role's inline policies, https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
)

// maxLengths are of properties with a text that the configuration is part of.
var maxLengths = map[string]int{
	"LogGroupName": 512, "Family": 255, "GroupDescription": 255, "SecretName": 512, "RuleName": 64, "ConnectionName": 32, "Description": 256,
}

func checkLimits(env environment, bodies map[string][]byte) []string {
	var broken []string
	for _, stack := range stackNames {
		body := bodies[stack]
		var file struct {
			Resources map[string]any
			Outputs   map[string]struct{ Export struct{ Name string } }
		}
		if err := json.Unmarshal(body, &file); err != nil {
			return []string{err.Error()}
		}
		for what, n := range map[string][2]int{"bytes": {len(body), maxTemplate}, "resources": {len(file.Resources), maxResources}, "outputs": {len(file.Outputs), maxOutputs}} {
			if n[0] > n[1] {
				broken = append(broken, fmt.Sprintf("%s has %d %s, CloudFormation takes %d", stack, n[0], what, n[1]))
			}
		}
		for _, output := range file.Outputs {
			if len(output.Export.Name) > maxExportName {
				broken = append(broken, fmt.Sprintf("%s exports a name of %d characters: %s", stack, len(output.Export.Name), output.Export.Name))
			}
		}
	}
	policies := map[string]int{}
	for _, r := range env.Resources {
		for property, limit := range maxLengths {
			if value, _ := r.Properties[property].(string); len(value) > limit {
				broken = append(broken, fmt.Sprintf("%s: %s has %d characters, allowed are %d: %s", r.ID, property, len(value), limit, value))
			}
		}
		if r.Type == "AWS::IAM::Policy" {
			for _, role := range references(r.Properties["Roles"]) {
				policies[role] += len(text(r.Properties["PolicyDocument"]))
			}
		}
	}
	for role, n := range policies {
		if n > maxRolePolicy {
			broken = append(broken, fmt.Sprintf("%s has policies of %d characters, IAM takes %d", role, n, maxRolePolicy))
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
