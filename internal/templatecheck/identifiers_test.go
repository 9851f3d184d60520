package templatecheck_test

import (
	"slices"
	"testing"

	"flask-on-fargate/config"
	"flask-on-fargate/internal/templatecheck"
)

func TestAuthorizationOfFinds(t *testing.T) {
	const bucket = `{"Fn::GetAtt": ["data.Bucket83908E77", "Arn"]}`
	role := func(statement string) change {
		return add("AWS::IAM::Role", `{"Policies": [{"PolicyDocument": {"Statement": [{"Effect": "Allow", `+statement+`}]}}]}`)
	}
	ofBucket := func(effect, action string) change {
		return add("AWS::S3::BucketPolicy", `{"PolicyDocument": {"Statement": [{"Effect": "`+effect+`", "Principal": {"AWS": "111122223333"}, "Action": "`+action+`", "Resource": `+bucket+`}]}}`)
	}
	check := func(env templatecheck.Templates, _ config.Environment) []string {
		broken, _ := templatecheck.AuthorizationOf(env)
		return broken
	}
	wantNoticed(t, check, map[string]fault{
		"deployments without their service": {func(t *testing.T, env templatecheck.Templates) {
			release := env.ByPath(t, "Pipeline/Release/Handler/Role/Resource").Properties
			for _, s := range templatecheck.List(templatecheck.At(release, "Policies", 0, "PolicyDocument", "Statement")) {
				if slices.Contains(templatecheck.List(templatecheck.At(s, "Action")), any("ecs:DescribeServiceDeployments")) {
					s.(map[string]any)["Resource"] = templatecheck.List(templatecheck.At(s, "Resource"))[1:]
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
