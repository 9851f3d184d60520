package templatecheck_test

import (
	"fmt"
	"strings"
	"testing"

	"flask-on-fargate/internal/templatecheck"
)

const (
	service    = "arn:aws:ecs:eu-west-1:111122223333:service/cluster/web"
	deployment = "arn:aws:ecs:eu-west-1:111122223333:service-deployment/cluster/web/*"
	role       = "arn:aws:iam::111122223333:role/path/task"
	bucket     = "arn:aws:s3:::photos"
	key        = "arn:aws:kms:eu-west-1:111122223333:key/12ab"
	function   = "arn:aws:lambda:eu-west-1:111122223333:function:release"
	logGroup   = "arn:aws:logs:eu-west-1:111122223333:log-group:/ecs/shop:*"
)

// allow is a statement of the role of all these tests: actions, separated by spaces, on ARNs.
func allow(actions string, arns ...string) templatecheck.Statement {
	return templatecheck.Statement{Holder: "Role", Actions: strings.Fields(actions), Resources: arns}
}

func given(s templatecheck.Statement, operator, key string) templatecheck.Statement {
	s.Condition = map[string]any{operator: map[string]any{key: "value"}}
	return s
}

func ofResource(s templatecheck.Statement) templatecheck.Statement {
	s.OfResource = true
	return s
}

func denied(s templatecheck.Statement) templatecheck.Statement {
	s.Denies = true
	return s
}

func TestAuthorizationAccepts(t *testing.T) {
	for name, statements := range map[string][]templatecheck.Statement{
		"action without resource types on *":     {allow("ecr:GetAuthorizationToken", "*")},
		"action with a resource type on *":       {allow("ecs:ListTasks", "*")},
		"both required types in one statement":   {allow("ecs:DescribeServiceDeployments", service, deployment)},
		"both required types in two statements":  {given(allow("ecs:DescribeServiceDeployments", service), "ArnEquals", "ecs:cluster"), given(allow("ecs:DescribeServiceDeployments", deployment), "ArnEquals", "ecs:cluster")},
		"an action that knows one of the types":  {allow("ecs:ListServiceDeployments ecs:DescribeServiceDeployments", service, deployment)},
		"one of several optional types":          {given(allow("ecs:TagResource", "arn:aws:ecs:eu-west-1:111122223333:task-definition/shop:*"), "StringEquals", "ecs:CreateAction")},
		"a role with a path":                     {given(allow("iam:PassRole", role), "StringEquals", "iam:PassedToService")},
		"a trust":                                {ofResource(allow("sts:AssumeRole", role))},
		"a log group for its streams":            {allow("logs:PutLogEvents", logGroup)},
		"the qualifiers of a function":           {allow("lambda:InvokeFunction", function, function+":*")},
		"a wildcard for some fitting actions":    {ofResource(allow("s3:GetObject* s3:GetBucket* s3:List*", bucket, bucket+"/*"))},
		"a wildcard of one character":            {allow("s3:GetObjec?", bucket+"/*")},
		"the own key with every action":          {ofResource(allow("kms:*", key))},
		"every action denied":                    {given(denied(ofResource(allow("s3:*", bucket, bucket+"/*"))), "Bool", "aws:SecureTransport")},
		"a global condition key":                 {given(ofResource(allow("lambda:InvokeFunction", function)), "ArnLike", "AWS:SourceARN")},
		"a condition key with a name in it":      {given(allow("sts:AssumeRole", "arn:aws:iam::*:role/*"), "ForAnyValue:StringEquals", "iam:ResourceTag/aws-cdk:bootstrap-role")},
		"a condition key of the resource's type": {given(allow("lambda:GetFunction", function), "StringEquals", "aws:ResourceTag/environment")},
	} {
		t.Run(name, func(t *testing.T) {
			for _, fault := range templatecheck.Authorization(statements) {
				t.Error(fault)
			}
		})
	}
}

func TestAuthorizationFinds(t *testing.T) {
	for name, test := range map[string]struct {
		statements []templatecheck.Statement
		want       string // of all faults
	}{
		"misspelt action":                    {[]templatecheck.Statement{allow("s3:GetObjects", bucket+"/*")}, "Role: s3:GetObjects is not in the data"},
		"action in small letters":            {[]templatecheck.Statement{allow("s3:getobject", bucket+"/*")}, "Role: s3:getobject is not in the data"},
		"misspelt service":                   {[]templatecheck.Statement{allow("cloudwatchlogs:PutLogEvents", logGroup)}, "Role: cloudwatchlogs:PutLogEvents is not in the data"},
		"misspelt action of a trust":         {[]templatecheck.Statement{ofResource(allow("sts:AssumeRoles", role))}, "Role: sts:AssumeRoles is not in the data"},
		"wildcard for nothing":               {[]templatecheck.Statement{allow("s3:Fetch*", bucket+"/*")}, "Role: s3:Fetch* is not in the data"},
		"wildcard on another service":        {[]templatecheck.Statement{allow("s3:GetObject*", function)}, "Role: s3:GetObject* stands on " + function + ", which is no resource of its "},
		"wrong type of ARN":                  {[]templatecheck.Statement{allow("ecs:UpdateService", deployment)}, "Role: ecs:UpdateService stands on " + deployment + ", but its resource is service (arn:${Partition}:ecs:${Region}:${Account}:service/${ClusterName}/${ServiceName})"},
		"objects for a bucket":               {[]templatecheck.Statement{allow("s3:ListBucket", bucket+"/*")}, "but its resource is accesspoint ("},
		"a bucket for objects":               {[]templatecheck.Statement{allow("s3:GetObject", bucket)}, "but its resource is accesspointobject ("},
		"ARN without its account":            {[]templatecheck.Statement{allow("iam:PassRole", "arn:aws:iam:::role/task")}, "Role: iam:PassRole stands on arn:aws:iam:::role/task, but its resource is role"},
		"no ARN":                             {[]templatecheck.Statement{allow("iam:PassRole", "task")}, "Role: iam:PassRole stands on task, but its resource is role"},
		"a second ARN of a wrong type":       {[]templatecheck.Statement{allow("s3:GetObject s3:PutObject", bucket+"/*", bucket)}, "Role: s3:GetObject, s3:PutObject stands on " + bucket + ", which is no resource of any of these actions"},
		"an ARN for an action of *":          {[]templatecheck.Statement{allow("ecs:DescribeTaskDefinition", "arn:aws:ecs:eu-west-1:111122223333:task-definition/shop:*")}, "but the action has no resource types: let it stand on *"},
		"missing required type":              {[]templatecheck.Statement{allow("ecs:DescribeServiceDeployments", deployment)}, "Role: ecs:DescribeServiceDeployments stands on " + deployment + ", but requires service ("},
		"missing required type, wildcard":    {[]templatecheck.Statement{allow("ecs:DescribeServiceDep*", deployment)}, "Role: ecs:DescribeServiceDep* stands on " + deployment + ", but requires service ("},
		"required type of another role":      {[]templatecheck.Statement{allow("ecs:DescribeServiceDeployments", deployment), {Holder: "Other", Actions: []string{"ecs:DescribeServiceDeployments"}, Resources: []string{service, deployment}}}, "but requires service ("},
		"required type that is denied":       {[]templatecheck.Statement{allow("ecs:DescribeServiceDeployments", deployment), denied(allow("ecs:DescribeServiceDeployments", service))}, "but requires service ("},
		"required type on another condition": {[]templatecheck.Statement{allow("ecs:DescribeServiceDeployments", deployment), given(allow("ecs:DescribeServiceDeployments", service, deployment), "StringEquals", "aws:PrincipalTag/team")}, "but requires service ("},
		"unknown condition key":              {[]templatecheck.Statement{given(allow("iam:PassRole", role), "StringEquals", "iam:PassedToServices")}, "Role: iam:PassRole has the condition key iam:PassedToServices, which is not global"},
		"key of another action":              {[]templatecheck.Statement{given(allow("ecs:UpdateService ecs:TagResource", service), "StringEquals", "ecs:CreateAction")}, "Role: ecs:UpdateService has the condition key ecs:CreateAction"},
		"tag key where none is known":        {[]templatecheck.Statement{given(allow("ecr:GetAuthorizationToken", "*"), "StringEquals", "aws:ResourceTag/team")}, "Role: ecr:GetAuthorizationToken has the condition key aws:ResourceTag/team"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := templatecheck.Authorization(test.statements); len(got) != 1 || !strings.Contains(fmt.Sprint(got), test.want) {
				t.Errorf("faults %v, want one: %s", got, test.want)
			}
		})
	}
}
