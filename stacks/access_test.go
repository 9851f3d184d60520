package stacks_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"flask-on-fargate/config"
	"flask-on-fargate/internal/templatecheck"
)

// The whole set of what each role of the application may do. One action more or less fails.

func TestRolesAllowExactly(t *testing.T) {
	forEachShipped(t, func(t *testing.T, env environment, cfg config.Environment) {
		account := "${AWS::AccountId}"
		name := cfg.Project + "-" + cfg.Name
		id := func(path string) string { return env.ByPath(t, path).ID }
		repository := "${" + env.One(t, "AWS::ECR::Repository").ID + ".Arn}"
		credentials := "${" + env.One(t, "AWS::SecretsManager::SecretTargetAttachment").ID + "}"
		cluster := env.One(t, "AWS::ECS::Cluster").ID
		inCluster := ` if {"ArnEquals":{"ecs:cluster":"${` + cluster + `.Arn}"}}`
		assets := "arn:aws:s3:::cdk-hnb659fds-assets-" + account + "-" + cfg.Region
		pull := []string{
			"ecr:BatchCheckLayerAvailability on " + repository, "ecr:BatchGetImage on " + repository, "ecr:GetDownloadUrlForLayer on " + repository,
			"ecr:GetAuthorizationToken on *",
		}
		writeLogs := func(path string) []string {
			group := "${" + id(path) + ".Arn}"
			return []string{"logs:CreateLogStream on " + group, "logs:PutLogEvents on " + group}
		}
		read := func(secret string) []string {
			return []string{"secretsmanager:DescribeSecret on " + secret, "secretsmanager:GetSecretValue on " + secret}
		}
		service, ecs := env.One(t, "AWS::ECS::Service").ID, "arn:aws:ecs:"+cfg.Region+":"+account+":"
		ofService := func(kind string) string { return ecs + kind + "/${" + cluster + "}/${" + service + ".Name}/*" }
		var followDeployments []string
		for _, action := range []string{"ecs:ListServiceDeployments", "ecs:DescribeServiceDeployments", "ecs:DescribeServiceRevisions"} {
			followDeployments = append(followDeployments,
				action+" on ${"+service+"}", action+" on "+ofService("service-deployment"), action+" on "+ofService("service-revision"))
		}
		artifacts := "${" + id("Pipeline/Artifacts/Resource") + ".Arn}"
		build := "${" + env.One(t, "AWS::CodeBuild::Project").ID + ".Arn}"
		connection := "${" + env.One(t, "AWS::CodeConnections::Connection").ID + ".ConnectionArn}"
		push := []string{
			"ecr:CompleteLayerUpload on " + repository, "ecr:InitiateLayerUpload on " + repository,
			"ecr:PutImage on " + repository, "ecr:UploadLayerPart on " + repository,
		}
		invoke := func(function string) []string {
			return []string{"lambda:InvokeFunction on ${" + id(function) + ".Arn}", "lambda:InvokeFunction on ${" + id(function) + ".Arn}:*"}
		}
		var handlers []string // what the library's provider of the schema needs of both
		for _, handler := range []string{"OnEvent", "IsComplete"} {
			function := "Service/SchemaInit/" + handler + "/Function/Resource"
			handlers = append(append(handlers, invoke(function)...), "lambda:GetFunction on ${"+id(function)+".Arn}")
		}
		handlers = append(handlers, writeLogs("Service/SchemaInit/ProviderLogs/Resource")...)
		empty := func(bucket string) []string { // by the bucket's policy
			var all []string
			for _, action := range []string{"s3:DeleteObject*", "s3:GetBucket*", "s3:List*", "s3:PutBucketPolicy"} {
				all = append(all, action+" on "+bucket, action+" on "+bucket+"/*")
			}
			return all
		}
		defaultGroup := "arn:aws:ec2:" + cfg.Region + ":" + account + ":security-group/${" + env.One(t, "AWS::EC2::VPC").ID + ".DefaultSecurityGroup}"

		roles := map[string][]string{
			"Service/TaskDefinition/TaskRole": {
				"s3:DeleteObject on ${" + id("Data/Bucket/Resource") + ".Arn}/*",
				"s3:GetObject on ${" + id("Data/Bucket/Resource") + ".Arn}/*",
				"s3:PutObject on ${" + id("Data/Bucket/Resource") + ".Arn}/*",
				"ssmmessages:CreateControlChannel on *", "ssmmessages:CreateDataChannel on *",
				"ssmmessages:OpenControlChannel on *", "ssmmessages:OpenDataChannel on *",
			},
			"Service/TaskDefinition/ExecutionRole": slices.Concat(pull, writeLogs("Service/Logs/Resource"),
				read(credentials), read("${"+id("Data/FlaskSecret/Resource")+"}")),
			"Service/SchemaInit/Task/TaskRole":      {"s3:GetObject on " + assets + "/" + schemaKey(t, env)},
			"Service/SchemaInit/Task/ExecutionRole": slices.Concat(pull, writeLogs("Service/SchemaInit/Logs/Resource"), read(credentials)),
			"Service/SchemaInit/OnEvent/Role": slices.Concat(writeLogs("Service/SchemaInit/OnEvent/Logs/Resource"), []string{
				"ecs:RunTask on arn:aws:ecs:" + cfg.Region + ":" + account + ":task-definition/" + name + "-schema:*" + inCluster,
				"iam:PassRole on ${" + id("Service/SchemaInit/Task/ExecutionRole/Resource") + `.Arn} if {"StringEquals":{"iam:PassedToService":"ecs-tasks.amazonaws.com"}}`,
				"iam:PassRole on ${" + id("Service/SchemaInit/Task/TaskRole/Resource") + `.Arn} if {"StringEquals":{"iam:PassedToService":"ecs-tasks.amazonaws.com"}}`,
			}),
			"Service/SchemaInit/IsComplete/Role": slices.Concat(writeLogs("Service/SchemaInit/IsComplete/Logs/Resource"), []string{
				"ecs:DescribeTasks on arn:aws:ecs:" + cfg.Region + ":" + account + ":task/${" + cluster + "}/*" + inCluster,
				"ecs:StopTask on arn:aws:ecs:" + cfg.Region + ":" + account + ":task/${" + cluster + "}/*" + inCluster,
				"logs:GetLogEvents on ${" + id("Service/SchemaInit/Logs/Resource") + ".Arn}",
			}),
			"Data/SeedImage/Handler/Role": slices.Concat(pull, push, writeLogs("Data/SeedImage/Handler/Logs/Resource")),
			"Pipeline/Release/Handler/Role": slices.Concat(writeLogs("Pipeline/Release/Handler/Logs/Resource"), followDeployments, []string{
				"codepipeline:PutJobFailureResult on *", "codepipeline:PutJobSuccessResult on *",
				"ecr:BatchGetImage on " + repository, "ecr:ListImages on " + repository, "ecr:PutImage on " + repository,
				"ecs:DescribeServices on ${" + service + "}",
				"ecs:DescribeTasks on " + ecs + "task/${" + cluster + "}/*" + inCluster, "ecs:ListTasks on *" + inCluster,
			}),
			"Pipeline/Pipeline/Role": {
				"codebuild:BatchGetBuilds on " + build, "codebuild:StartBuild on " + build, "codebuild:StopBuild on " + build,
				"codeconnections:UseConnection on " + connection, "codestar-connections:UseConnection on " + connection,
				"ecs:DescribeServices on ${" + service + "}", "ecs:UpdateService on ${" + service + "}", "ecs:DescribeTaskDefinition on *", "ecs:RegisterTaskDefinition on *",
				"ecs:TagResource on " + ecs + "task-definition/" + name + `:* if {"StringEquals":{"ecs:CreateAction":"RegisterTaskDefinition"}}`,
				"iam:PassRole on ${" + id("Service/TaskDefinition/ExecutionRole/Resource") + `.Arn} if {"StringEquals":{"iam:PassedToService":"ecs-tasks.amazonaws.com"}}`,
				"iam:PassRole on ${" + id("Service/TaskDefinition/TaskRole/Resource") + `.Arn} if {"StringEquals":{"iam:PassedToService":"ecs-tasks.amazonaws.com"}}`,
				"lambda:InvokeFunction on ${" + id("Pipeline/Release/Handler/Function/Resource") + ".Arn}",
				"s3:GetBucketAcl on " + artifacts, "s3:GetBucketLocation on " + artifacts, "s3:GetBucketVersioning on " + artifacts,
				"s3:GetObject on " + artifacts + "/*", "s3:GetObjectVersion on " + artifacts + "/*",
				"s3:PutObject on " + artifacts + "/*", "s3:PutObjectAcl on " + artifacts + "/*",
			},
			"Pipeline/ImageBuild/Role": slices.Concat(pull, push, writeLogs("Pipeline/ImageBuild/Logs/Resource"), []string{
				"s3:GetBucketAcl on " + artifacts, "s3:GetBucketLocation on " + artifacts,
				"s3:GetObject on " + artifacts + "/*", "s3:GetObjectVersion on " + artifacts + "/*", "s3:PutObject on " + artifacts + "/*",
			}),

			// The library's own functions.
			"Network/Custom::VpcRestrictDefaultSGCustomResourceProvider/Role": slices.Concat(writeLogs("Network/Custom::VpcRestrictDefaultSGCustomResourceProvider/Logs/Resource"), []string{
				"ec2:AuthorizeSecurityGroupEgress on " + defaultGroup, "ec2:AuthorizeSecurityGroupIngress on " + defaultGroup,
				"ec2:RevokeSecurityGroupEgress on " + defaultGroup, "ec2:RevokeSecurityGroupIngress on " + defaultGroup,
			}),
			"Pipeline/Custom::S3AutoDeleteObjectsCustomResourceProvider/Role": slices.Concat(empty(artifacts), writeLogs("Pipeline/Custom::S3AutoDeleteObjectsCustomResourceProvider/Logs/Resource")),
			"Service/SchemaInit/ProviderOnEventRole": slices.Concat(handlers, []string{
				"states:StartExecution on ${" + env.One(t, "AWS::StepFunctions::StateMachine").ID + "}",
			}),
			"Service/SchemaInit/ProviderIsCompleteRole": handlers,
			"Service/SchemaInit/Provider/waiter-state-machine/Role": slices.Concat(
				invoke("Service/SchemaInit/Provider/framework-isComplete/Resource"), invoke("Service/SchemaInit/Provider/framework-onTimeout/Resource")),
		}
		if !cfg.Retain {
			roles["Data/Custom::S3AutoDeleteObjectsCustomResourceProvider/Role"] = slices.Concat(
				empty("${"+id("Data/Bucket/Resource")+".Arn}"), writeLogs("Data/Custom::S3AutoDeleteObjectsCustomResourceProvider/Logs/Resource"))
		}
		for _, role := range env.All("AWS::IAM::Role") {
			wanted := slices.Sorted(slices.Values(roles[strings.TrimSuffix(templatecheck.Path(role), "/Resource")]))
			if diff := cmp.Diff(wanted, permissions(env, role.ID)); diff != "" {
				t.Errorf("%s (-want +got)\n%s", templatecheck.Path(role), diff)
			}
			delete(roles, strings.TrimSuffix(templatecheck.Path(role), "/Resource"))
		}
		for role := range roles {
			t.Errorf("there is no role %s", role)
		}
	})
}

// schemaKey is the key of the SQL files' archive in the bootstrap bucket.
func schemaKey(t *testing.T, env environment) string {
	return at(env.ByPath(t, "Service/SchemaInit/Resource/Default").Properties, "SchemaHash").(string) + ".zip"
}
