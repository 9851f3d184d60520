package templatecheck_test

import (
	"testing"

	"flask-on-fargate/config"
	"flask-on-fargate/internal/templatecheck"
)

// TestPoliciesFinds adds to the templates of dev what an attacker, or a mistake, would add.
func TestPoliciesFinds(t *testing.T) {
	role := func(statement string) change {
		return add("AWS::IAM::Role", `{"AssumeRolePolicyDocument": {"Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "lambda.amazonaws.com"}}]},
			"Policies": [{"PolicyName": "a", "PolicyDocument": {"Statement": [`+statement+`]}}]}`)
	}
	trust := func(actions, principal string) change {
		return add("AWS::IAM::Role", `{"AssumeRolePolicyDocument": {"Statement": [{"Effect": "Allow", "Action": `+actions+`, "Principal": `+principal+`}]}}`)
	}
	ofBucket := func(principal, more string) change {
		return add("AWS::S3::BucketPolicy", `{"Bucket": {"Ref": "data.Bucket83908E77"}, "PolicyDocument": {"Statement": [{"Effect": "Allow", "Action": "s3:GetObject",
			"Resource": {"Fn::Sub": "${data.Bucket83908E77.Arn}/*"}, "Principal": `+principal+more+`}]}}`)
	}
	const function = `{"Ref": "pipeline.ReleaseHandlerFunction1022F433"}`
	wantNoticed(t, func(env templatecheck.Templates, cfg config.Environment) []string {
		broken, _ := templatecheck.Policies(env, templatecheck.OwnerOf(cfg), templatecheck.InEnvironments)
		return append(broken, templatecheck.SecretReaders(env)...)
	}, map[string]fault{
		"every action":                      {role(`{"Effect": "Allow", "Action": "s3:*", "Resource": {"Fn::GetAtt": ["data.Bucket83908E77", "Arn"]}}`), "allows s3:* on ${data.Bucket83908E77.Arn}: name each action, as AWS writes it"},
		"everything but":                    {role(`{"Effect": "Allow", "NotAction": "iam:*", "Resource": {"Fn::GetAtt": ["data.Bucket83908E77", "Arn"]}}`), "allows * on ${data.Bucket83908E77.Arn}: name each"},
		"every resource":                    {role(`{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}`), "allows s3:GetObject on *, and is not among"},
		"every resource of a kind":          {role(`{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::*"}`), "allows s3:GetObject on arn:aws:s3:::*, which is not of these stacks alone"},
		"every task":                        {role(`{"Effect": "Allow", "Action": "ecs:ListTasks", "Resource": "*"}`), "without the cluster as condition"},
		"passing any role":                  {role(`{"Effect": "Allow", "Action": "iam:PassRole", "Resource": "arn:aws:iam::*:role/*", "Condition": {"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}}}`), "passes arn:aws:iam::*:role/*, want a role of these stacks"},
		"passing on another condition":      {role(`{"Effect": "Allow", "Action": "iam:PassRole", "Resource": {"Fn::GetAtt": ["service.TaskDefinitionTaskRoleFD40A61D", "Arn"]}, "Condition": {"Bool": {"aws:SecureTransport": true}}}`), "want one service: iam:PassedToService"},
		"a new reader of a secret":          {role(`{"Effect": "Allow", "Action": "secretsmanager:GetSecretValue", "Resource": {"Ref": "data.FlaskSecretDB73E49F"}}`), "the flask secret is read by [Data/Added/Resource "},
		"a new reader in a batch":           {role(`{"Effect": "Allow", "Action": "secretsmanager:BatchGetSecretValue", "Resource": {"Ref": "data.DatabaseCredentialsAttachment15FFA803"}}`), "the database secret is read by [Data/Added/Resource "},
		"a reader of all secrets":           {role(`{"Effect": "Allow", "Action": "secretsmanager:GetSecretValue", "Resource": "*"}`), "the whole account's secret is read by"},
		"a policy beside its role":          {add("AWS::IAM::RolePolicy", `{"RoleName": {"Ref": "service.TaskDefinitionTaskRoleFD40A61D"}, "PolicyDocument": {"Statement": [{"Effect": "Allow", "Action": "secretsmanager:GetSecretValue", "Resource": {"Ref": "data.FlaskSecretDB73E49F"}}]}}`), "the flask secret is read by [Service/TaskDefinition/ExecutionRole/Resource Service/TaskDefinition/TaskRole/Resource]"},
		"a secret's own policy":             {add("AWS::SecretsManager::ResourcePolicy", `{"SecretId": {"Ref": "data.FlaskSecretDB73E49F"}, "ResourcePolicy": {"Statement": [{"Effect": "Allow", "Action": "secretsmanager:GetSecretValue", "Resource": "*", "Principal": {"AWS": "999999999999"}}]}}`), "is of type AWS::SecretsManager::ResourcePolicy"},
		"a role of anybody":                 {trust(`"sts:AssumeRole"`, `{"AWS": "*"}`), `may be assumed by ["*"], want exactly one service`},
		"a role of another role":            {trust(`"sts:AssumeRole"`, `{"AWS": {"Fn::GetAtt": ["service.TaskDefinitionTaskRoleFD40A61D", "Arn"]}}`), "may be assumed by"},
		"a role of two services":            {trust(`"sts:AssumeRole"`, `{"Service": ["lambda.amazonaws.com", "ec2.amazonaws.com"]}`), "may be assumed by"},
		"a trust in every action":           {trust(`"sts:*"`, `{"Service": "lambda.amazonaws.com"}`), `trusts with ["sts:*"], want sts:AssumeRole`},
		"a managed policy":                  {add("AWS::IAM::Role", `{"ManagedPolicyArns": ["arn:aws:iam::aws:policy/AdministratorAccess"]}`), "has the managed policy arn:aws:iam::aws:policy/AdministratorAccess"},
		"a user":                            {add("AWS::IAM::User", `{"ManagedPolicyArns": ["arn:aws:iam::aws:policy/AdministratorAccess"]}`), "is of type AWS::IAM::User"},
		"a policy of a user":                {add("AWS::IAM::Policy", `{"Users": ["me"], "PolicyDocument": {"Statement": []}}`), "is a policy of users or groups"},
		"a bucket of everybody":             {ofBucket(`"*"`, ``), "allows s3:GetObject on ${data.Bucket83908E77.Arn}/* to everybody"},
		"a bucket of everybody with TLS":    {ofBucket(`{"AWS": ["*"]}`, `, "Condition": {"Bool": {"aws:SecureTransport": true}}`), "to everybody"},
		"a bucket of another account":       {ofBucket(`{"AWS": "arn:aws:iam::999999999999:root"}`, ``), "to arn:aws:iam::999999999999:root, which is not of these stacks"},
		"a bucket of a service":             {ofBucket(`{"Service": "cloudtrail.amazonaws.com"}`, ``), "to cloudtrail.amazonaws.com on the condition null, want aws:SourceArn"},
		"a bucket of a service with TLS":    {ofBucket(`{"Service": "cloudtrail.amazonaws.com"}`, `, "Condition": {"Bool": {"aws:SecureTransport": true}}`), "want aws:SourceArn of these stacks, or aws:SourceAccount"},
		"a function of everybody's rules":   {add("AWS::Lambda::Permission", `{"FunctionName": `+function+`, "Action": "lambda:InvokeFunction", "Principal": "events.amazonaws.com", "SourceArn": "arn:aws:events:*"}`), "want aws:SourceArn of these stacks"},
		"a wildcard of one character":       {role(`{"Effect": "Allow", "Action": "secretsmanager:GetSecretValu?", "Resource": {"Ref": "data.FlaskSecretDB73E49F"}}`), "the flask secret is read by [Data/Added/Resource "},
		"an action in small letters":        {role(`{"Effect": "Allow", "Action": "iam:passrole", "Resource": {"Fn::GetAtt": ["service.TaskDefinitionTaskRoleFD40A61D", "Arn"]}}`), "allows iam:passrole on ${service.TaskDefinitionTaskRoleFD40A61D.Arn}: name each action"},
		"a role of another account":         {role(`{"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": "arn:aws:iam::999999999999:role/Admin"}`), "allows sts:AssumeRole on arn:aws:iam::999999999999:role/Admin, which is not of these stacks"},
		"a bucket that is not ours":         {role(`{"Effect": "Allow", "Action": "s3:PutObject", "Resource": "arn:aws:s3:::elsewhere/data"}`), "which is not of these stacks alone"},
		"the next environment":              {role(`{"Effect": "Allow", "Action": "ecs:RunTask", "Resource": "arn:aws:ecs:us-east-1:123456789012:task-definition/flask-app-dev*"}`), "which is not of these stacks alone"},
		"a policy of a role of the account": {add("AWS::IAM::Policy", `{"Roles": ["Admin"], "PolicyDocument": {"Statement": []}}`), "is a policy of Admin, which is no role of these stacks"},
		"a repository of another account":   {set("Data/Repository/Resource", `{"RepositoryPolicyText": {"Statement": [{"Effect": "Allow", "Action": "ecr:*", "Principal": {"AWS": "999999999999"}}]}}`), "allows ecr:* on itself: name each action, as AWS writes it"},
		"a function that everybody starts":  {add("AWS::Lambda::Permission", `{"FunctionName": `+function+`, "Action": "lambda:InvokeFunctionUrl", "Principal": "*", "FunctionUrlAuthType": "NONE"}`), "allows lambda:InvokeFunctionUrl on itself to everybody"},
		"a function of any rule":            {add("AWS::Lambda::Permission", `{"FunctionName": `+function+`, "Action": "lambda:InvokeFunction", "Principal": "events.amazonaws.com"}`), "to events.amazonaws.com on the condition null, want aws:SourceArn"},
	})
}
