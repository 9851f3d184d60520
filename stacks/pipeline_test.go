package stacks_test

import (
	"slices"
	"strings"
	"testing"

	"flask-on-fargate/config"
)

func pipelineStages(t *testing.T, env environment) []string {
	var names []string
	for _, stage := range list(env.One(t, "AWS::CodePipeline::Pipeline").Properties["Stages"]) {
		for _, action := range list(at(stage, "Actions")) {
			names = append(names, at(stage, "Name").(string)+"/"+at(action, "Name").(string)+"/"+at(action, "ActionTypeId", "Provider").(string))
		}
	}
	return names
}

func action(t *testing.T, env environment, name string) any {
	t.Helper()
	for _, stage := range list(env.One(t, "AWS::CodePipeline::Pipeline").Properties["Stages"]) {
		for _, action := range list(at(stage, "Actions")) {
			if at(action, "Name") == name {
				return action
			}
		}
	}
	t.Fatalf("no action %s", name)
	return nil
}

func TestPipelineStages(t *testing.T) {
	forEachShipped(t, func(t *testing.T, env environment, cfg config.Environment) {
		wanted := []string{"Source/Source/CodeStarSourceConnection", "Build/Build/CodeBuild"}
		if cfg.Pipeline.Approval {
			wanted = append(wanted, "Approve/Approve/Manual")
		}
		wanted = append(wanted, "Deploy/Deploy/ECS", "Deploy/Release/Lambda")
		if got := pipelineStages(t, env); !slices.Equal(got, wanted) {
			t.Errorf("actions %v, want %v", got, wanted)
		}
		pipeline := env.One(t, "AWS::CodePipeline::Pipeline")
		want(t, pipeline, "V2", "PipelineType")
		want(t, pipeline, "SUPERSEDED", "ExecutionMode")
		want(t, pipeline, []any{map[string]any{"Branches": map[string]any{"Includes": []string{cfg.Pipeline.Branch}}}}, "Triggers", 0, "GitConfiguration", "Push")
		source := action(t, env, "Source")
		if at(source, "Configuration", "BranchName") != cfg.Pipeline.Branch || at(source, "Configuration", "DetectChanges") != false {
			t.Errorf("the source is %s, want branch %s, and that only the trigger starts the pipeline", text(at(source, "Configuration")), cfg.Pipeline.Branch)
		}
	})
}

// The release action must not wait for the deploy action, which ends at its time-out only when ECS rolled back.
func TestTheReleaseActionRunsBesideTheDeployActionOnTheSameImage(t *testing.T) {
	forEachShipped(t, func(t *testing.T, env environment, cfg config.Environment) {
		deploy, release := action(t, env, "Deploy"), action(t, env, "Release")
		if text(at(deploy, "RunOrder")) != text(at(release, "RunOrder")) {
			t.Errorf("run orders %v and %v, want the same", at(deploy, "RunOrder"), at(release, "RunOrder"))
		}
		if text(at(deploy, "InputArtifacts")) != text(at(release, "InputArtifacts")) {
			t.Errorf("inputs %s and %s, want the same", text(at(deploy, "InputArtifacts")), text(at(release, "InputArtifacts")))
		}
		function := references(at(release, "Configuration", "FunctionName"))
		environment := env.Resources[function[0]].Properties["Environment"]
		if text(at(environment, "Variables", "DEPLOY_TIMEOUT_SECONDS")) != `"900"` || text(at(deploy, "Configuration", "DeploymentTimeout")) != "15" {
			t.Errorf("time-outs %s s and %s min, want 15 min for both", text(at(environment, "Variables", "DEPLOY_TIMEOUT_SECONDS")), text(at(deploy, "Configuration", "DeploymentTimeout")))
		}
	})
}

// A task that fails takes its grace before that counts, and the circuit breaker waits for three.
func TestTheDeployActionWaitsForTheCircuitBreaker(t *testing.T) {
	for grace, minutes := range map[int]string{0: "12", 60: "15", 900: "57"} {
		env := decodeTemplates(t, synthesize(t, minimal(func(env *config.Environment) {
			env.Pipeline.Repository, env.Service.HealthCheckGraceSeconds = "my-org/my-app", grace
		})))
		if got := text(at(action(t, env, "Deploy"), "Configuration", "DeploymentTimeout")); got != minutes {
			t.Errorf("with a grace of %d s the deploy action waits %s min, want %s", grace, got, minutes)
		}
	}
}

func TestImageBuild(t *testing.T) {
	forEachShipped(t, func(t *testing.T, env environment, cfg config.Environment) {
		build := env.One(t, "AWS::CodeBuild::Project")
		want(t, build, "aws/codebuild/standard:7.0", "Environment", "Image")
		want(t, build, true, "Environment", "PrivilegedMode")
		want(t, build, "buildspec.yml", "Source", "BuildSpec")
		want(t, build, map[string]any{"Name": "CONTAINER_NAME", "Type": "PLAINTEXT", "Value": "app"}, "Environment", "EnvironmentVariables", 0)
		for i, name := range []string{"ECR_REPOSITORY_URI", "REPOSITORY_URI"} {
			variable := at(build.Properties, "Environment", "EnvironmentVariables", 1+i)
			if at(variable, "Name") != name || !slices.Contains(references(at(variable, "Value")), env.One(t, "AWS::ECR::Repository").ID) {
				t.Errorf("%s is %s, want the repository's address", name, text(variable))
			}
		}
	})
}

func TestArtifactsArePrivateAndExpire(t *testing.T) {
	forEachShipped(t, func(t *testing.T, env environment, cfg config.Environment) {
		artifacts := env.ByPath(t, "Pipeline/Artifacts/Resource")
		want(t, artifacts, 30, "LifecycleConfiguration", "Rules", 0, "ExpirationInDays")
		want(t, artifacts, "AES256", "BucketEncryption", "ServerSideEncryptionConfiguration", 0, "ServerSideEncryptionByDefault", "SSEAlgorithm")
		want(t, artifacts, true, "PublicAccessBlockConfiguration", "RestrictPublicBuckets")
		if artifacts.DeletionPolicy != "Delete" {
			t.Errorf("the artifacts stay after destroy: %s", artifacts.DeletionPolicy)
		}
		emptied := slices.ContainsFunc(env.All("Custom::S3AutoDeleteObjects"), func(r resource) bool {
			return slices.Contains(references(r.Properties["BucketName"]), artifacts.ID)
		})
		if !emptied {
			t.Error("the bucket is not emptied on destroy, which then fails")
		}
		policy := env.ByPath(t, "Pipeline/Artifacts/Policy/Resource")
		want(t, policy, "Deny", "PolicyDocument", "Statement", 0, "Effect")
		want(t, policy, map[string]any{"Bool": map[string]any{"aws:SecureTransport": "false"}}, "PolicyDocument", "Statement", 0, "Condition")
	})
}

func TestTheConnectionIsMadeOrGiven(t *testing.T) {
	env := decode(t, "dev")
	want(t, env.One(t, "AWS::CodeConnections::Connection"), "GitHub", "ProviderType")
	if env.Outputs["pipeline.ConnectionUrl"] == nil {
		t.Error("no link to the handshake of the connection")
	}
	if env.Outputs["pipeline.PipelineUrl"] == nil {
		t.Error("no link to the pipeline")
	}

	const arn = "arn:aws:codeconnections:eu-west-1:123456789012:connection/12ab"
	given := decodeTemplates(t, synthesize(t, minimal(func(env *config.Environment) {
		env.Pipeline.Repository, env.Pipeline.ConnectionArn = "my-org/my-app", arn
		env.Pipeline.Branch, env.Pipeline.Paths = "stable", []string{"app/**"}
		env.NotificationTopicArn = "arn:aws:sns:eu-west-1:123456789012:operators"
	})))
	if len(given.All("AWS::CodeConnections::Connection")) > 0 || given.Outputs["pipeline.ConnectionUrl"] != nil {
		t.Error("a connection is made although one is given")
	}
	if got := at(action(t, given, "Source"), "Configuration", "ConnectionArn"); got != arn {
		t.Errorf("the source uses %v", got)
	}
	pipeline := given.One(t, "AWS::CodePipeline::Pipeline")
	if got := at(action(t, given, "Source"), "Configuration", "BranchName"); got != "stable" {
		t.Errorf("the source is the branch %v", got)
	}
	want(t, pipeline, []string{"stable"}, "Triggers", 0, "GitConfiguration", "Push", 0, "Branches", "Includes")
	want(t, pipeline, []string{"app/**"}, "Triggers", 0, "GitConfiguration", "Push", 0, "FilePaths", "Includes")
	testFailuresAreAnnounced(t, given)
}

func testFailuresAreAnnounced(t *testing.T, env environment) {
	t.Helper()
	release := env.ByPath(t, "Pipeline/Release/Handler/Function/Resource")
	want(t, release, "arn:aws:sns:eu-west-1:123456789012:operators", "Environment", "Variables", "NOTIFICATION_TOPIC_ARN")
	role := env.ByPath(t, "Pipeline/Release/Handler/Role/Resource").ID
	if allowed := permissions(env, role); !slices.Contains(allowed, "sns:Publish on arn:aws:sns:eu-west-1:123456789012:operators") {
		t.Errorf("the release function may not publish: %v", allowed)
	}
	announced := slices.ContainsFunc(env.All("AWS::Events::Rule"), func(rule resource) bool {
		pattern := text(rule.Properties["EventPattern"])
		return strings.Contains(pattern, "CodePipeline Pipeline Execution State Change") && strings.Contains(pattern, `"state":["FAILED"]`) &&
			slices.Contains(references(rule.Properties["Targets"]), release.ID)
	})
	if !announced {
		t.Error("a failed run of the pipeline is announced nowhere")
	}
}

// The tag live is kept without a pipeline too: whoever starts a deployment, the function hears of it.
func TestLiveIsKeptWithoutAPipeline(t *testing.T) {
	env := decodeTemplates(t, synthesize(t, minimal(nil)))
	if len(env.All("AWS::CodePipeline::Pipeline")) > 0 {
		t.Error("a pipeline without a repository")
	}
	rule := env.One(t, "AWS::Events::Rule")
	want(t, rule, []any{map[string]any{"Ref": env.One(t, "AWS::ECS::Service").ID}}, "EventPattern", "resources")
	want(t, rule, []string{"aws.ecs"}, "EventPattern", "source")
	want(t, rule, []string{"ECS Deployment State Change"}, "EventPattern", "detail-type")
	want(t, rule, map[string]any{"eventName": []string{"SERVICE_DEPLOYMENT_COMPLETED", "SERVICE_DEPLOYMENT_FAILED"}}, "EventPattern", "detail")
}

func TestAnEnvironmentWithoutARepositoryHasNoPipeline(t *testing.T) {
	env := decodeTemplates(t, synthesize(t, minimal(nil)))
	if len(env.All("AWS::CodePipeline::Pipeline")) > 0 || len(env.All("AWS::CodeConnections::Connection")) > 0 {
		t.Error("there is a pipeline or a connection for no repository")
	}
	env.One(t, "AWS::CodeBuild::Project") // CloudFormation refuses a stack without resources
}
