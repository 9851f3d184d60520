package templatecheck

import (
	"fmt"
	"slices"
	"strings"
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
func deployedARN(env Templates, text string) string {
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

// AuthorizationOf checks every statement of the templates by [Authorization]. It returns a sentence for each fault, and
// which of [acceptedFaults] it found.
func AuthorizationOf(env Templates) (broken, used []string) {
	var all []Statement
	for _, s := range policyStatements(env) {
		if s.trust {
			s.roles, s.resources = nil, []string{"itself"}
		}
		deployed := Statement{Denies: s.denies, OfResource: len(s.principals) > 0, Actions: s.actions}
		deployed.Condition, _ = s.condition.(map[string]any)
		for _, on := range s.resources {
			if on == "itself" {
				on = "${" + s.of.ID + ".Arn}"
			}
			arn := deployedARN(env, on)
			if strings.ContainsAny(arn, "${}<>[]") { // a reference, or a function that readable does not know
				broken = append(broken, fmt.Sprintf("%s: %s is unknown: say in internal/templatecheck/identifiers.go what it becomes", s.of.ID, arn))
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
	for _, fault := range Authorization(all) {
		if i := slices.IndexFunc(acceptedFaults, func(a struct{ fault, reason string }) bool { return wholly(a.fault, fault) }); i >= 0 {
			used = append(used, acceptedFaults[i].fault)
			continue
		}
		broken = append(broken, fault)
	}
	return broken, used
}

// UnneededAccepted returns a sentence for each accepted fault that is not among the used ones, which [AuthorizationOf] returns.
func UnneededAccepted(used []string) []string {
	var unneeded []string
	for _, accepted := range acceptedFaults {
		if !slices.Contains(used, accepted.fault) {
			unneeded = append(unneeded, "this accepted fault is not found any more: "+accepted.fault)
		}
	}
	return unneeded
}
