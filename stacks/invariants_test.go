package stacks_test

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"flask-on-fargate/config"
)

// What holds for every environment, whatever its configuration: sweep_test.go asks the same of generated ones.

func TestInvariants(t *testing.T) {
	names, err := config.Names("config")
	if err != nil {
		t.Fatal(err)
	}
	environments := map[string]config.Environment{"four keys": minimal(nil), "every key": minimal(func(env *config.Environment) {
		env.NotificationTopicArn = "arn:aws:sns:eu-west-1:123456789012:operators"
		env.NotificationKeyArn = "arn:aws:kms:eu-west-1:123456789012:key/1234abcd"
		env.BootstrapKmsKeyArn = "arn:aws:kms:eu-west-1:123456789012:key/5678abcd"
		env.Service.Command = []string{"gunicorn", "app:app"}
		env.Service.TaskPolicyArns = []string{"arn:aws:iam::123456789012:policy/mail"}
		env.Service.Secrets = map[string]string{"API_KEY": "arn:aws:secretsmanager:eu-west-1:123456789012:secret:api-AbCdEf:key::"}
		env.Pipeline.Repository, env.Pipeline.Approval = "my-org/my-app", true
	})}
	for _, name := range names {
		environments[name] = load(t, name)
	}
	var needed []string
	for name, cfg := range environments {
		t.Run(name, func(t *testing.T) {
			bodies := synthesize(t, cfg)
			for _, broken := range invariants(t, cfg, bodies) {
				t.Error(broken)
			}
			env := decodeTemplates(t, bodies)
			statements := policyStatements(env)
			if len(statements) < 40 {
				t.Errorf("only %d policy statements were found: the walk misses some", len(statements))
			}
			_, used := checkPolicies(env, ownerOf(cfg), inEnvironments)
			needed = append(needed, used...)
			t.Logf("figure: %d policy statements of %s walked", len(statements), name)
		})
	}
	for action := range onEverything {
		if !slices.Contains(needed, action) {
			t.Errorf("no role has %s on * any more: take it from the table", action)
		}
	}
	for _, e := range inEnvironments {
		if !slices.Contains(needed, e.reason) {
			t.Errorf("nothing needs the exception of %s for %s on %s any more", e.holder, e.actions, e.on)
		}
	}
}

// invariants returns a sentence for each invariant that an environment's templates break.
func invariants(t *testing.T, cfg config.Environment, bodies map[string][]byte) []string {
	t.Helper()
	env := decodeTemplates(t, bodies)
	policies, _ := checkPolicies(env, ownerOf(cfg), inEnvironments)
	authorization, _ := checkAuthorization(env)
	broken := slices.Concat(policies, authorization, checkSecretReaders(env), checkExposure(env, cfg), checkLifecycle(env, cfg), checkSecrets(env, cfg), checkLimits(env, bodies))
	if cycle := findCycle(env); cycle != nil {
		broken = append(broken, fmt.Sprintf("dependency cycle: %v", cycle))
	}
	return broken
}

// fault is a change of an environment's templates that a check must notice, and words of what it must say.
type fault struct {
	change func(t *testing.T, env environment)
	says   string
}

// wantNoticed changes the templates of dev by one fault at a time, and wants a check that finds nothing without it to say so.
func wantNoticed(t *testing.T, check func(env environment, cfg config.Environment) []string, faults map[string]fault) {
	t.Helper()
	cfg := load(t, "dev")
	bodies := synthesize(t, cfg)
	if broken := check(decodeTemplates(t, bodies), cfg); len(broken) > 0 {
		t.Fatalf("without a fault: %q", broken)
	}
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			env := decodeTemplates(t, bodies)
			fault.change(t, env)
			if broken := strings.Join(check(env, cfg), "\n"); !strings.Contains(broken, fault.says) {
				t.Errorf("noticed: %q, want %q", broken, fault.says)
			}
		})
	}
}

// add is the change that adds a resource to the data stack, with properties in JSON. References name the stack: {"Ref": "data.Bucket83908E77"}.
func add(resourceType, properties string) func(*testing.T, environment) {
	return func(t *testing.T, env environment) {
		added := resource{ID: "data.Added", Type: resourceType, DeletionPolicy: "Delete", Metadata: map[string]any{"aws:cdk:path": "dev/Data/Added/Resource"}}
		if err := json.Unmarshal([]byte(properties), &added.Properties); err != nil {
			t.Fatalf("%v: %s", err, properties)
		}
		env.Resources[added.ID] = added
	}
}

// set is the change that sets properties, given in JSON, of the resource at a construct path.
func set(path, properties string) func(*testing.T, environment) {
	return func(t *testing.T, env environment) {
		changed := env.byPath(t, path)
		if err := json.Unmarshal([]byte(properties), &changed.Properties); err != nil {
			t.Fatalf("%v: %s", err, properties)
		}
	}
}

// CloudFormation's and the services' limits, https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html
const (
	maxTemplate   = 1_000_000
	maxResources  = 500
	maxOutputs    = 200
	maxExportName = 255
)

// IAM's limits, in characters without whitespace. https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
const (
	maxRolePolicy      = 10_240 // all inline policies of a role
	maxManagedPolicy   = 6_144
	maxTrustPolicy     = 2_048
	maxManagedPolicies = 10 // of a role
)

// maxTaskDefinition is in bytes. https://docs.aws.amazon.com/general/latest/gr/ecs-service.html
const maxTaskDefinition = 64 * 1024

// maxLengths are of properties with a text that the configuration is part of.
var maxLengths = map[string]int{
	"LogGroupName": 512, "Family": 255, "GroupDescription": 255, "ConnectionName": 32, "Description": 256,
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
	for _, r := range env.Resources {
		for property, limit := range maxLengths {
			if value, _ := r.Properties[property].(string); len(value) > limit {
				broken = append(broken, fmt.Sprintf("%s: %s has %d characters, allowed are %d: %s", r.ID, property, len(value), limit, value))
			}
		}
		if size := len(compact(r.Properties)); r.Type == "AWS::ECS::TaskDefinition" && size > maxTaskDefinition {
			broken = append(broken, fmt.Sprintf("%s has %d bytes, ECS takes %d", r.ID, size, maxTaskDefinition))
		}
	}
	return append(broken, checkRoleLimits(env)...)
}

// checkRoleLimits counts what IAM counts, wherever a template writes it.
func checkRoleLimits(env environment) []string {
	var broken []string
	inline, managed := map[string]int{}, map[string]int{}
	limit := func(id string, n int, what string, most int) {
		if n > most {
			broken = append(broken, fmt.Sprintf("%s has %d %s, IAM takes %d", id, n, what, most))
		}
	}
	characters := func(document any) int {
		return utf8.RuneCountInString(strings.Join(strings.Fields(compact(document)), ""))
	}
	for _, r := range env.Resources {
		size := characters(r.Properties["PolicyDocument"])
		switch r.Type {
		case "AWS::IAM::Policy":
			for _, role := range references(r.Properties["Roles"]) {
				inline[role] += size
			}
		case "AWS::IAM::RolePolicy":
			for _, role := range references(r.Properties["RoleName"]) {
				inline[role] += size
			}
		case "AWS::IAM::ManagedPolicy":
			limit(r.ID, size, "characters of a managed policy", maxManagedPolicy)
			for _, role := range references(r.Properties["Roles"]) {
				managed[role]++
			}
		case "AWS::IAM::Role":
			for _, policy := range list(r.Properties["Policies"]) {
				inline[r.ID] += characters(at(policy, "PolicyDocument"))
			}
			managed[r.ID] += len(list(r.Properties["ManagedPolicyArns"]))
			limit(r.ID, characters(r.Properties["AssumeRolePolicyDocument"]), "characters of a trust policy", maxTrustPolicy)
		}
	}
	for role, n := range inline {
		limit(role, n, "characters of inline policies", maxRolePolicy)
	}
	for role, n := range managed {
		limit(role, n, "managed policies", maxManagedPolicies)
	}
	return broken
}

// arnLength stands for what a reference becomes when it is deployed. The ARNs of this project's resources, with names of the longest
// project and environment and the suffix that CloudFormation adds, have about as many characters; names are shorter.
const arnLength = 120

// compact is about the JSON that a service gets for node: each reference has the length of an ARN.
func compact(node any) string {
	var b strings.Builder
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(deployed(node)); err != nil {
		panic(err)
	}
	return strings.TrimSpace(b.String())
}

// deployed replaces the functions of CloudFormation by texts of a likely length.
func deployed(node any) any {
	switch node := node.(type) {
	case []any:
		all := make([]any, len(node))
		for i := range node {
			all[i] = deployed(node[i])
		}
		return all
	case map[string]any:
		if template, ok := node["Fn::Sub"].(string); ok {
			return anyReference.ReplaceAllString(template, strings.Repeat("x", arnLength))
		}
		if join, ok := node["Fn::Join"].([]any); ok {
			var parts []string
			for _, part := range list(join[1]) {
				parts = append(parts, fmt.Sprint(deployed(part)))
			}
			return strings.Join(parts, join[0].(string))
		}
		all := map[string]any{}
		for key, value := range node {
			if key == "Ref" || strings.HasPrefix(key, "Fn::") {
				return strings.Repeat("x", arnLength)
			}
			all[key] = deployed(value)
		}
		return all
	}
	return node
}

var anyReference = regexp.MustCompile(`\$\{[^}]*\}`)

func TestWhatIsTooLargeIsNoticed(t *testing.T) {
	bodies := synthesize(t, load(t, "dev"))
	document := func(characters int) string {
		return fmt.Sprintf(`{"Statement": [{"Resource": "%s"}]}`, strings.Repeat("x", characters))
	}
	const role = `{"Ref": "data.Added"}`
	check := func(env environment, _ config.Environment) []string { return checkLimits(env, bodies) }
	wantNoticed(t, check, map[string]fault{
		"policy":              {add("AWS::IAM::Policy", `{"Roles": [`+role+`], "PolicyDocument": `+document(maxRolePolicy)+`}`), "data.Added has 10271 characters of inline policies, IAM takes 10240"},
		"policy of a role":    {add("AWS::IAM::RolePolicy", `{"RoleName": `+role+`, "PolicyDocument": `+document(maxRolePolicy)+`}`), "data.Added has 10271 characters of inline policies"},
		"policy in a role":    {add("AWS::IAM::Role", `{"Policies": [{"PolicyDocument": `+document(maxRolePolicy)+`}]}`), "data.Added has 10271 characters of inline policies"},
		"two inline policies": {add("AWS::IAM::Role", `{"Policies": [{"PolicyDocument": `+document(6000)+`}, {"PolicyDocument": `+document(6000)+`}]}`), "data.Added has 12062 characters of inline policies"},
		"references":          {add("AWS::IAM::Role", `{"Policies": [{"PolicyDocument": {"Statement": [{"Resource": [`+strings.Repeat(role+",", 99)+role+`]}]}}]}`), "data.Added has 12330 characters of inline policies"},
		"managed policy":      {add("AWS::IAM::ManagedPolicy", `{"PolicyDocument": `+document(maxManagedPolicy)+`}`), "data.Added has 6175 characters of a managed policy, IAM takes 6144"},
		"managed policies":    {add("AWS::IAM::Role", `{"ManagedPolicyArns": ["1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11"]}`), "data.Added has 11 managed policies, IAM takes 10"},
		"trust policy":        {add("AWS::IAM::Role", `{"AssumeRolePolicyDocument": `+document(maxTrustPolicy)+`}`), "data.Added has 2079 characters of a trust policy, IAM takes 2048"},
		"task definition":     {add("AWS::ECS::TaskDefinition", `{"ContainerDefinitions": [{"Name": "`+strings.Repeat("x", maxTaskDefinition)+`"}]}`), "bytes, ECS takes 65536"},
		"group's name":        {add("AWS::Logs::LogGroup", `{"LogGroupName": "`+strings.Repeat("x", 513)+`"}`), "LogGroupName has 513 characters"},
	})
}

// As many variables and secrets as the configuration accepts: what AWS limits in size still holds, and the roles' policies too, which the
// library splits. The sweep's are small.
func TestTheMostThatTheConfigurationAcceptsCanBeDeployed(t *testing.T) {
	secret := func(i, characters int) (name, arn string) {
		return fmt.Sprintf("KEY_%03d", i), fmt.Sprintf("arn:aws:secretsmanager:eu-west-1:111122223333:secret:%0*d-AbCdEf", characters, i)
	}
	for name, characters := range map[string]int{"many secrets": 5, "secrets with long names": 100, "secrets with the longest names": 512} {
		t.Run(name, func(t *testing.T) {
			var file strings.Builder
			file.WriteString("project: shop\nregion: eu-west-1\ndatabase: {name: shop, user: admin}\nservice:\n  secrets:\n")
			var cfg config.Environment
			for n := 0; ; n++ {
				variable, arn := secret(n, characters)
				fmt.Fprintf(&file, "    %s: %s\n", variable, arn)
				if n%5 != 0 {
					continue
				}
				parsed, err := config.Parse("test.yaml", "test", []byte(file.String()))
				if err != nil {
					if !strings.Contains(err.Error(), "bytes of the task definition") {
						t.Fatal(err)
					}
					break
				}
				cfg = parsed
			}
			bodies := synthesize(t, cfg)
			env := decodeTemplates(t, bodies)
			for _, broken := range checkLimits(env, bodies) {
				t.Error(broken)
			}
			if size := len(compact(env.byPath(t, "Service/TaskDefinition/Resource").Properties)); size < maxTaskDefinition*9/10 {
				t.Errorf("a task definition of %d bytes: the test shows nothing", size)
			}
			t.Logf("figure: %d secrets with names of %d characters", len(cfg.Service.Secrets), characters)
		})
	}
}

// pathOf is a resource's construct path below its environment.
func pathOf(r resource) string {
	full, _ := r.Metadata["aws:cdk:path"].(string)
	_, below, _ := strings.Cut(full, "/")
	return below
}
