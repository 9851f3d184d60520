package stacks_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"flask-on-fargate/config"
	"flask-on-fargate/internal/templatecheck"
)

// identifiers are what a reference in a policy becomes when it is deployed, by the type of the resource and the attribute.
var identifiers = map[string]string{
	"AWS::AccountId": "111122223333",
	"AWS::Partition": "aws",

	"AWS::CodeBuild::Project":                        "name",
	"AWS::CodeBuild::Project.Arn":                    "arn:aws:codebuild:us-east-1:111122223333:project/name",
	"AWS::CodeConnections::Connection.ConnectionArn": "arn:aws:codeconnections:us-east-1:111122223333:connection/id",
	"AWS::EC2::VPC.DefaultSecurityGroup":             "sg-1",
	"AWS::ECR::Repository.Arn":                       "arn:aws:ecr:us-east-1:111122223333:repository/name",
	"AWS::ECS::Cluster":                              "cluster",
	"AWS::ECS::Service":                              "arn:aws:ecs:us-east-1:111122223333:service/cluster/name",
	"AWS::ECS::Service.Name":                         "name",
	"AWS::IAM::Role.Arn":                             "arn:aws:iam::111122223333:role/name",
	"AWS::KMS::Key.Arn":                              "arn:aws:kms:us-east-1:111122223333:key/id",
	"AWS::Lambda::Function.Arn":                      "arn:aws:lambda:us-east-1:111122223333:function:name",
	"AWS::Lambda::Permission.Arn":                    "arn:aws:lambda:us-east-1:111122223333:function:name", // its function's
	"AWS::Logs::LogGroup.Arn":                        "arn:aws:logs:us-east-1:111122223333:log-group:name:*",
	"AWS::S3::Bucket.Arn":                            "arn:aws:s3:::name",
	"AWS::SecretsManager::Secret":                    "arn:aws:secretsmanager:us-east-1:111122223333:secret:name-AbCdEf",
	"AWS::SecretsManager::SecretTargetAttachment":    "arn:aws:secretsmanager:us-east-1:111122223333:secret:name-AbCdEf",
	"AWS::StepFunctions::StateMachine":               "arn:aws:states:us-east-1:111122223333:stateMachine:name",
}

// acceptedFaults are faults that stay in the templates. fault is a regular expression of the whole sentence.
var acceptedFaults = []struct{ fault, reason string }{
	{`.*/Pipeline/Role/Resource: code(star-)?connections:UseConnection stands on arn:aws:code(star-)?connections:.*`,
		"a connection's ARN has the service's old name or its new one; the role has the action under both names, and the one that does not match allows nothing"},
}

// deployedARN replaces the references in a resource of a policy. A reference that [identifiers] lacks stays.
func deployedARN(env environment, text string) string {
	return anyReference.ReplaceAllStringFunc(text, func(reference string) string {
		key := reference[2 : len(reference)-1]
		if parts := strings.SplitN(key, ".", 3); len(parts) > 1 {
			parts[1] = env.Resources[parts[0]+"."+parts[1]].Type
			key = strings.Join(parts[1:], ".")
		}
		if identifier := identifiers[key]; identifier != "" {
			return identifier
		}
		return reference
	})
}

// checkAuthorization checks every statement against AWS's authorization reference. It returns a sentence for each fault, and
// which of [acceptedFaults] it found.
func checkAuthorization(env environment) (broken, used []string) {
	var all []templatecheck.Statement
	for _, s := range policyStatements(env) {
		if s.trust {
			s.roles, s.resources = nil, []string{"itself"}
		}
		deployed := templatecheck.Statement{Denies: s.denies, OfResource: len(s.principals) > 0, Actions: s.actions}
		deployed.Condition, _ = s.condition.(map[string]any)
		for _, on := range s.resources {
			if on == "itself" {
				on = "${" + s.of.ID + ".Arn}"
			}
			arn := deployedARN(env, on)
			if strings.ContainsAny(arn, "${}<>[]") { // a reference, or a function that readable does not know
				broken = append(broken, fmt.Sprintf("%s: %s is unknown: say in stacks/authorization_test.go what it becomes", s.of.ID, arn))
			}
			deployed.Resources = append(deployed.Resources, arn)
		}
		holders := s.roles
		if len(holders) == 0 {
			holders = []string{s.of.ID}
		}
		for _, id := range holders {
			deployed.Holder = fmt.Sprint(env.Resources[id].Metadata["aws:cdk:path"])
			all = append(all, deployed)
		}
	}
	for _, fault := range templatecheck.Authorization(all) {
		if i := slices.IndexFunc(acceptedFaults, func(a struct{ fault, reason string }) bool { return wholly(a.fault, fault) }); i >= 0 {
			used = append(used, acceptedFaults[i].fault)
			continue
		}
		broken = append(broken, fault)
	}
	return broken, used
}

// TestPoliciesAreAsAWSDefinesThem asks the shipped environments and the delivery; [invariants] asks the generated ones.
func TestPoliciesAreAsAWSDefinesThem(t *testing.T) {
	var needed []string
	for name, env := range map[string]environment{
		"dev": decode(t, "dev"), "prod": decode(t, "prod"), "delivery": theDelivery(t), "delivery to another account": theCrossing(t),
	} {
		broken, used := checkAuthorization(env)
		for _, fault := range broken {
			t.Errorf("%s: %s", name, fault)
		}
		needed = append(needed, used...)
	}
	for _, accepted := range acceptedFaults {
		if !slices.Contains(needed, accepted.fault) {
			t.Errorf("this accepted fault is not found any more: %s", accepted.fault)
		}
	}
}

func TestAPolicyThatAWSDoesNotKnowIsNoticed(t *testing.T) {
	const bucket = `{"Fn::GetAtt": ["data.Bucket83908E77", "Arn"]}`
	role := func(statement string) func(*testing.T, environment) {
		return add("AWS::IAM::Role", `{"Policies": [{"PolicyDocument": {"Statement": [{"Effect": "Allow", `+statement+`}]}}]}`)
	}
	ofBucket := func(effect, action string) func(*testing.T, environment) {
		return add("AWS::S3::BucketPolicy", `{"PolicyDocument": {"Statement": [{"Effect": "`+effect+`", "Principal": {"AWS": "111122223333"}, "Action": "`+action+`", "Resource": `+bucket+`}]}}`)
	}
	check := func(env environment, _ config.Environment) []string {
		broken, _ := checkAuthorization(env)
		return broken
	}
	wantNoticed(t, check, map[string]fault{
		"deployments without their service": {func(t *testing.T, env environment) {
			release := env.byPath(t, "Pipeline/Release/Handler/Role/Resource").Properties
			for _, s := range list(at(release, "Policies", 0, "PolicyDocument", "Statement")) {
				if slices.Contains(texts(at(s, "Action")), "ecs:DescribeServiceDeployments") {
					s.(map[string]any)["Resource"] = list(at(s, "Resource"))[1:]
				}
			}
		}, "dev/Pipeline/Release/Handler/Role/Resource: ecs:DescribeServiceDeployments stands on arn:aws:ecs:us-east-1:111122223333:service-deployment/cluster/name/*, arn:aws:ecs:us-east-1:111122223333:service-revision/cluster/name/*, but requires service ("},
		"a misspelt action":          {role(`"Action": "s3:GetObjects", "Resource": ` + bucket), "dev/Data/Added/Resource: s3:GetObjects is not in the data"},
		"a bucket for its objects":   {role(`"Action": "s3:GetObject", "Resource": ` + bucket), "s3:GetObject stands on arn:aws:s3:::name, but its resource is"},
		"an unknown condition key":   {role(`"Action": "s3:ListBucket", "Resource": ` + bucket + `, "Condition": {"StringEquals": {"s3:prefixes": "a"}}`), "s3:ListBucket has the condition key s3:prefixes"},
		"an unknown reference":       {role(`"Action": "s3:ListBucket", "Resource": {"Fn::GetAtt": ["data.Bucket83908E77", "DomainName"]}`), "data.Added: ${data.Bucket83908E77.DomainName} is unknown"},
		"another function":           {role(`"Action": "s3:ListBucket", "Resource": {"Fn::Join": ["", ["arn:aws:s3:::", {"Fn::Select": [0, "a"]}]]}`), "data.Added: arn:aws:s3:::map[Fn::Select:[0 a]] is unknown"},
		"a split policy":             {add("AWS::IAM::ManagedPolicy", `{"Roles": [{"Ref": "service.TaskDefinitionTaskRoleFD40A61D"}], "PolicyDocument": {"Statement": [{"Effect": "Allow", "Action": "s3:PutObjects", "Resource": "*"}]}}`), "dev/Service/TaskDefinition/TaskRole/Resource: s3:PutObjects is not in the data"},
		"a trust":                    {add("AWS::IAM::Role", `{"AssumeRolePolicyDocument": {"Statement": [{"Effect": "Allow", "Action": "sts:AssumesRole", "Principal": {"Service": "lambda.amazonaws.com"}}]}}`), "dev/Data/Added/Resource: sts:AssumesRole is not in the data"},
		"a bucket's policy":          {ofBucket("Allow", "s3:GetObject"), "s3:GetObject stands on arn:aws:s3:::name, but its resource is"},
		"a denial":                   {ofBucket("Deny", "s3:PutObjects"), "s3:PutObjects is not in the data"},
		"a repository's policy":      {set("Data/Repository/Resource", `{"RepositoryPolicyText": {"Statement": [{"Effect": "Allow", "Action": "ecr:GetAuthorizationToken", "Principal": {"AWS": "111122223333"}}]}}`), "dev/Data/Repository/Resource: ecr:GetAuthorizationToken stands on arn:aws:ecr:us-east-1:111122223333:repository/name, but the action has no resource types"},
		"a permission of a function": {add("AWS::Lambda::Permission", `{"FunctionName": "a", "Action": "lambda:Invoke", "Principal": "events.amazonaws.com"}`), "dev/Data/Added/Resource: lambda:Invoke is not in the data"},
	})
}
