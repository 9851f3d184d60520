package stacks_test

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"flask-on-fargate/config"
	"flask-on-fargate/internal/platform"
	"flask-on-fargate/internal/toolchain"
	"flask-on-fargate/stacks"
)

// The accounts of these tests: the shipped files have none.
const (
	pipelineAccount = "111111111111"
	otherAccount    = "222222222222"
)

// shippedDelivery is config/delivery.yaml, with everything in one account, changed by edit.
func shippedDelivery(t *testing.T, edit func(*config.Delivery)) config.Delivery {
	t.Helper()
	delivery := config.DefaultDelivery()
	delivery.Project, delivery.Account, delivery.Region, delivery.Repository = "flask-app", pipelineAccount, "us-east-1", "my-org/my-infrastructure"
	for _, name := range shipped {
		env := load(t, name)
		env.Account = pipelineAccount
		delivery.Environments = append(delivery.Environments, config.DeliveredEnvironment{Name: name, Approval: name == "prod", Environment: env})
	}
	if edit != nil {
		edit(&delivery)
	}
	return delivery
}

func pinned(t *testing.T) toolchain.Versions {
	t.Helper()
	var contents [2][]byte
	for i, file := range []string{"go.mod", "package.json"} {
		body, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		contents[i] = body
	}
	versions, err := toolchain.Read(contents[0], contents[1])
	if err != nil {
		t.Fatal(err)
	}
	return versions
}

// deliver returns the bytes of all templates of the assembly that a delivery makes, by the stack's name.
func deliver(t *testing.T, delivery config.Delivery) map[string][]byte {
	t.Helper()
	app := newApp(t, inPlace(t))
	stacks.NewDelivery(app, delivery, pinned(t))
	return templates(t, app)
}

var staged map[string][]byte

// stageDelivery is deliver of the shipped one with copies of the assets, as the CLI does it, synthesized once for all tests.
func stageDelivery(t *testing.T) map[string][]byte {
	t.Helper()
	if staged == nil {
		app := newApp(t, cliContext(t))
		stacks.NewDelivery(app, shippedDelivery(t, nil), pinned(t))
		staged = templates(t, app)
	}
	return staged
}

// decodeDelivery decodes the pipeline's own stack.
func decodeDelivery(t *testing.T, delivery config.Delivery) environment {
	t.Helper()
	return decodeStacks(t, map[string][]byte{"delivery": deliver(t, delivery)["flask-app-delivery"]}, "delivery")
}

var decodedDelivery environment

// theDelivery is the shipped one, synthesized once for all tests.
func theDelivery(t *testing.T) environment {
	t.Helper()
	if decodedDelivery.Resources == nil {
		decodedDelivery = decodeDelivery(t, shippedDelivery(t, nil))
	}
	return decodedDelivery
}

// actions returns the actions of a stage, in the order in which they run.
func actions(t *testing.T, env environment, stage string) []map[string]any {
	t.Helper()
	for _, s := range list(env.One(t, "AWS::CodePipeline::Pipeline").Properties["Stages"]) {
		if at(s, "Name") != stage {
			continue
		}
		var all []map[string]any
		for _, action := range list(at(s, "Actions")) {
			all = append(all, action.(map[string]any))
		}
		slices.SortStableFunc(all, func(a, b map[string]any) int { return int(a["RunOrder"].(float64) - b["RunOrder"].(float64)) })
		return all
	}
	t.Fatalf("no stage %s", stage)
	return nil
}

// build returns the CodeBuild project that an action runs, and its build specification.
func build(t *testing.T, env environment, action any) (project resource, spec map[string]any) {
	t.Helper()
	project = env.Resources[references(at(action, "Configuration", "ProjectName"))[0]]
	if err := json.Unmarshal([]byte(at(project.Properties, "Source", "BuildSpec").(string)), &spec); err != nil {
		t.Fatalf("%s: %v", project.ID, err)
	}
	return project, spec
}

func TestDeliveryStages(t *testing.T) {
	env := theDelivery(t)
	var stages []string
	for _, stage := range list(env.One(t, "AWS::CodePipeline::Pipeline").Properties["Stages"]) {
		stages = append(stages, at(stage, "Name").(string))
	}
	if wanted := []string{"Source", "Build", "UpdatePipeline", "Assets", "dev", "prod"}; !slices.Equal(stages, wanted) {
		t.Errorf("stages %v, want %v", stages, wanted)
	}
	pipeline := env.One(t, "AWS::CodePipeline::Pipeline")
	want(t, pipeline, "V2", "PipelineType")
	want(t, pipeline, true, "RestartExecutionOnUpdate")
	source := actions(t, env, "Source")[0]
	if at(source, "Configuration", "FullRepositoryId") != "my-org/my-infrastructure" || at(source, "Configuration", "BranchName") != "main" {
		t.Errorf("the source is %s", text(at(source, "Configuration")))
	}
}

// Each stack: its change set, the guard's look at it, and only then its execution. The stacks in order, the smoke test last.
func TestAnEnvironmentIsGuardedBeforeAndTestedAfter(t *testing.T) {
	env := theDelivery(t)
	for _, name := range shipped {
		t.Run(name, func(t *testing.T) {
			var got, wanted []string
			for i, action := range actions(t, env, name) {
				got = append(got, fmt.Sprintf("%v/%v", action["Name"], at(action, "ActionTypeId", "Provider")))
				if action["RunOrder"] != float64(i+1) {
					t.Errorf("%v runs in order %v, want %d: beside nothing else", action["Name"], action["RunOrder"], i+1)
				}
			}
			if name == "prod" {
				wanted = append(wanted, "Approve/Manual")
			}
			for _, stack := range stackNames {
				stack = "flask-app-" + name + "-" + stack
				wanted = append(wanted, stack+".Prepare/CloudFormation", stack+".Guard/CodeBuild", stack+".Deploy/CloudFormation")
			}
			wanted = append(wanted, "Smoke/CodeBuild")
			if diff := cmp.Diff(wanted, got); diff != "" {
				t.Errorf("actions (-want +got)\n%s", diff)
			}
		})
	}
}

func TestTheGuardLooksAtTheChangeSetOfItsStack(t *testing.T) {
	env := theDelivery(t)
	all := actions(t, env, "dev")
	for i, stack := range stackNames {
		prepare, guard, deploy := all[3*i], all[3*i+1], all[3*i+2]
		name := at(prepare, "Configuration", "ChangeSetName").(string)
		if at(prepare, "Configuration", "ActionMode") != "CHANGE_SET_REPLACE" || at(deploy, "Configuration", "ActionMode") != "CHANGE_SET_EXECUTE" ||
			at(deploy, "Configuration", "ChangeSetName") != name {
			t.Errorf("%s: another change set is executed than was prepared", stack)
		}
		_, spec := build(t, env, guard)
		wanted := fmt.Sprintf("bin/infra guard --stack %v --change-set %s --env dev --role-arn arn:aws:iam::%s:role/cdk-hnb659fds-lookup-role-%[3]s-us-east-1",
			at(prepare, "Configuration", "StackName"), name, pipelineAccount)
		if commands := list(at(spec, "phases", "build", "commands")); commands[len(commands)-1] != wanted {
			t.Errorf("%s: the guard runs %v, want %s", stack, commands, wanted)
		}
		if input := at(guard, "InputArtifacts", 0, "Name"); input != "Synth_cdk_tool" {
			t.Errorf("%s: the guard's input is %v, want the tool that the synth built", stack, input)
		}
	}
}

func TestTheSmokeTestAsksTheHealthCheckOfItsEnvironment(t *testing.T) {
	env := theDelivery(t)
	for _, name := range shipped {
		all := actions(t, env, name)
		smoke, deployService := all[len(all)-1], all[len(all)-5] // the stack pipeline's three actions are between
		if stack := at(deployService, "Configuration", "StackName"); stack != "flask-app-"+name+"-service" {
			t.Fatalf("%s: the fifth last action deploys %v", name, stack)
		}
		_, spec := build(t, env, smoke)
		commands := list(at(spec, "phases", "build", "commands"))
		if wanted := "bin/infra smoke --env " + name + ` "$APPLICATION_URL"`; commands[len(commands)-1] != wanted {
			t.Errorf("%s: commands %v, want %s", name, commands, wanted)
		}
		wanted := fmt.Sprintf("#{%v.ApplicationUrl}", deployService["Namespace"])
		if variables := fmt.Sprint(at(smoke, "Configuration", "EnvironmentVariables")); !strings.Contains(variables, wanted) {
			t.Errorf("%s: variables %s, want %s", name, variables, wanted)
		}
	}
}

func TestTheBuildsHaveThePinnedVersionsAndNoDocker(t *testing.T) {
	env := theDelivery(t)
	versions := pinned(t)
	synth := actions(t, env, "Build")[0]
	project, spec := build(t, env, synth)
	if got, wanted := text(at(spec, "phases", "install", "runtime-versions")), fmt.Sprintf(`{"golang":"%s","nodejs":"%s"}`, versions.GoMinor(), versions.Node); got != wanted {
		t.Errorf("the synth has %s, want %s", got, wanted)
	}
	if got := text(at(spec, "phases", "build", "commands")); got != `["make delivery"]` {
		t.Errorf("the synth runs %s", got)
	}
	cached := text(at(spec, "cache", "paths"))
	variables := text(at(project.Properties, "Environment", "EnvironmentVariables"))
	for _, cache := range []string{"go-mod", "go-build", "aws/jsii"} {
		if !strings.Contains(cached, "/root/.cache/"+cache+"/**/*") {
			t.Errorf("%s is not cached: %s", cache, cached)
		}
		if cache != "aws/jsii" && !strings.Contains(variables, "/root/.cache/"+cache) {
			t.Errorf("Go is not told of %s: %s", cache, variables)
		}
	}
	_, spec = build(t, env, actions(t, env, "UpdatePipeline")[0])
	if got := at(spec, "phases", "install", "runtime-versions", "nodejs"); got != versions.Node {
		t.Errorf("the self-mutation has Node.js %v, want %s", got, versions.Node)
	}
	for _, project := range env.All("AWS::CodeBuild::Project") {
		want(t, project, false, "Environment", "PrivilegedMode")
		want(t, project, "aws/codebuild/standard:8.0", "Environment", "Image")
	}
}

func TestAssetsArePublishedByOneBuild(t *testing.T) {
	if all := actions(t, theDelivery(t), "Assets"); len(all) != 1 {
		t.Errorf("%d actions publish assets, want one", len(all))
	}
}

func TestArtifactsAndCacheArePrivateAndExpire(t *testing.T) {
	env := theDelivery(t)
	for _, bucket := range env.All("AWS::S3::Bucket") {
		want(t, bucket, 30, "LifecycleConfiguration", "Rules", 0, "ExpirationInDays")
		want(t, bucket, "AES256", "BucketEncryption", "ServerSideEncryptionConfiguration", 0, "ServerSideEncryptionByDefault", "SSEAlgorithm")
		want(t, bucket, true, "PublicAccessBlockConfiguration", "RestrictPublicBuckets")
	}
	for _, policy := range env.All("AWS::S3::BucketPolicy") {
		want(t, policy, "Deny", "PolicyDocument", "Statement", 0, "Effect")
		want(t, policy, map[string]any{"Bool": map[string]any{"aws:SecureTransport": "false"}}, "PolicyDocument", "Statement", 0, "Condition")
	}
}

// The roles of our own steps. Those of the library's are the library's.
func TestDeliveryRolesAllowExactly(t *testing.T) {
	env := theDelivery(t)
	arn := func(path string) string { return "${" + env.ByPath(t, path).ID + ".Arn}" }
	artifacts, cache, logs := arn("Delivery/Artifacts/Resource"), arn("Delivery/Cache/Resource"), arn("Delivery/Logs/Resource")
	common := []string{
		"logs:CreateLogStream on " + logs, "logs:PutLogEvents on " + logs,
		"s3:GetBucketAcl on " + artifacts, "s3:GetBucketLocation on " + artifacts,
		"s3:GetObject on " + artifacts + "/*", "s3:GetObjectVersion on " + artifacts + "/*",
	}
	own := map[string][]string{
		"Delivery/SmokeRole/Resource":       nil,
		"Delivery/Guard-dev/Role/Resource":  {"sts:AssumeRole on arn:aws:iam::" + pipelineAccount + ":role/cdk-hnb659fds-lookup-role-" + pipelineAccount + "-us-east-1"},
		"Delivery/Guard-prod/Role/Resource": {"sts:AssumeRole on arn:aws:iam::" + pipelineAccount + ":role/cdk-hnb659fds-lookup-role-" + pipelineAccount + "-us-east-1"},
		"Delivery/SynthRole/Resource": {
			"s3:PutObject on " + artifacts + "/*",
			"s3:GetBucketAcl on " + cache, "s3:GetBucketLocation on " + cache,
			"s3:GetObject on " + cache + "/*", "s3:GetObjectVersion on " + cache + "/*", "s3:PutObject on " + cache + "/*",
		},
	}
	for path, more := range own {
		wanted := append(slices.Clone(common), more...)
		slices.Sort(wanted)
		if diff := cmp.Diff(wanted, permissions(env, env.ByPath(t, path).ID)); diff != "" {
			t.Errorf("%s (-want +got)\n%s", path, diff)
		}
	}
	ofLibrary := []string{
		"Delivery/Pipeline/Pipeline/Role/Resource", "Delivery/Pipeline/Assets/FileRole/Resource", "Delivery/Pipeline/UpdatePipeline/SelfMutation/Role/Resource",
		"Delivery/Custom::S3AutoDeleteObjectsCustomResourceProvider/Role",
	}
	for _, role := range env.All("AWS::IAM::Role") {
		if path := role.Metadata["aws:cdk:path"].(string); own[path] == nil && path != "Delivery/SmokeRole/Resource" && !slices.Contains(ofLibrary, path) {
			t.Errorf("%s is a role that nobody judged: it may do %q", path, permissions(env, role.ID))
		}
	}
	assume := `sts:AssumeRole on arn:*:iam::` + pipelineAccount + `:role/* if {"ForAnyValue:StringEquals":{"iam:ResourceTag/aws-cdk:bootstrap-role":["image-publishing","file-publishing","deploy"]}}`
	if got := permissions(env, env.ByPath(t, "Delivery/Pipeline/UpdatePipeline/SelfMutation/Role/Resource").ID); !slices.Contains(got, assume) {
		t.Errorf("self-mutation may do %q, want %s", got, assume)
	}
	pipeline := permissions(env, env.ByPath(t, "Delivery/Pipeline/Pipeline/Role/Resource").ID)
	for _, service := range []string{"codeconnections", "codestar-connections"} {
		if !slices.Contains(pipeline, service+":UseConnection on ${"+env.One(t, "AWS::CodeConnections::Connection").ID+".ConnectionArn}") {
			t.Errorf("the pipeline may not use the connection by the name %s: %v", service, pipeline)
		}
	}
}

func TestADeliverysConnectionIsMadeOrGiven(t *testing.T) {
	if env := theDelivery(t); env.Outputs["delivery.ConnectionUrl"] == nil || env.Outputs["delivery.PipelineUrl"] == nil {
		t.Errorf("outputs %v, want the links to the connection's handshake and to the pipeline", env.Outputs)
	}
	const arn = "arn:aws:codeconnections:us-east-1:111111111111:connection/12ab"
	given := decodeDelivery(t, shippedDelivery(t, func(d *config.Delivery) { d.ConnectionArn = arn }))
	if len(given.All("AWS::CodeConnections::Connection")) > 0 {
		t.Error("a connection is made although one is given")
	}
	if got := at(actions(t, given, "Source")[0], "Configuration", "ConnectionArn"); got != arn {
		t.Errorf("the source uses %v", got)
	}
}

// An environment can move from one way of deploying to the other: nothing in it changes.
func TestTemplatesAreTheSameDeployedDirectlyAndDelivered(t *testing.T) {
	compare := func(t *testing.T, env config.Environment, delivered map[string][]byte) {
		t.Helper()
		direct := stage(t, env)
		for _, stack := range stackNames {
			if len(direct[stack]) == 0 {
				t.Fatal("no template")
			}
			if diff := cmp.Diff(string(direct[stack]), string(delivered["flask-app-"+env.Name+"-"+stack])); diff != "" {
				t.Errorf("%s (-direct +delivered)\n%s", stack, diff)
			}
		}
	}
	delivery := shippedDelivery(t, nil)
	delivered := stageDelivery(t)
	for _, d := range delivery.Environments {
		t.Run(d.Name, func(t *testing.T) { compare(t, d.Environment, delivered) })
		// The configuration refuses to deliver an environment without an account. Its stage is the same even so.
		t.Run(d.Name+" without account", func(t *testing.T) {
			app, env := newApp(t, cliContext(t)), d.Environment
			env.Account = ""
			stacks.NewEnvironmentStage(app, env)
			compare(t, env, templates(t, app))
		})
	}
}

// What changes in the environments' stacks does not change the pipeline, so that it need not restart itself.
func TestAChangeOfAStackLeavesThePipelineAsItIs(t *testing.T) {
	before := deliver(t, shippedDelivery(t, nil))
	after := deliver(t, shippedDelivery(t, func(d *config.Delivery) {
		env := &d.Environments[0].Environment
		env.Service.CPU, env.Service.Memory = 512, 1024
		env.Architecture = platform.ARM64 // other functions, so other assets
		env.Service.Secrets = map[string]string{"STRIPE_KEY": "arn:aws:secretsmanager:us-east-1:111111111111:secret:stripe-AbCdEf"}
		env.Database.MultiAZ = true
	}))
	for _, stack := range []string{"flask-app-dev-data", "flask-app-dev-service", "flask-app-dev-pipeline"} {
		if string(before[stack]) == string(after[stack]) {
			t.Errorf("%s has not changed: the test shows nothing", stack)
		}
	}
	if diff := cmp.Diff(string(before["flask-app-delivery"]), string(after["flask-app-delivery"])); diff != "" {
		t.Errorf("the delivery's template changed (-before +after)\n%s", diff)
	}
}

func TestAnotherEnvironmentChangesThePipeline(t *testing.T) {
	env := decodeDelivery(t, shippedDelivery(t, func(d *config.Delivery) {
		staging := d.Environments[0]
		staging.Name, staging.Environment.Name = "staging", "staging"
		d.Environments = slices.Insert(d.Environments, 1, staging)
	}))
	if got, wanted := len(actions(t, env, "staging")), 3*len(stackNames)+1; got != wanted {
		t.Errorf("%d actions in the new stage, want %d", got, wanted)
	}
}

// crossing is a delivery of prod into another account and region.
func crossing(t *testing.T) config.Delivery {
	return shippedDelivery(t, func(d *config.Delivery) {
		prod := &d.Environments[1].Environment
		prod.Account, prod.Region, prod.Network.AvailabilityZones = otherAccount, "eu-west-1", nil
	})
}

var decodedCrossing environment

// theCrossing is its pipeline's own stacks: in its region, and the artifacts in the other one.
func theCrossing(t *testing.T) environment {
	t.Helper()
	if decodedCrossing.Resources == nil {
		bodies := deliver(t, crossing(t))
		decodedCrossing = decodeStacks(t, map[string][]byte{"delivery": bodies["flask-app-delivery"], "replica": bodies["flask-app-delivery-eu-west-1"]}, "delivery", "replica")
	}
	return decodedCrossing
}

func TestAnEnvironmentInAnotherAccountAndRegion(t *testing.T) {
	env := theCrossing(t)
	for _, action := range actions(t, env, "prod") {
		if at(action, "ActionTypeId", "Provider") != "CloudFormation" {
			continue
		}
		if action["Region"] != "eu-west-1" {
			t.Errorf("%v runs in %v", action["Name"], action["Region"])
		}
		if role := fmt.Sprint(readable(action["RoleArn"])); !strings.HasSuffix(role, ":iam::"+otherAccount+":role/cdk-hnb659fds-deploy-role-"+otherAccount+"-eu-west-1") {
			t.Errorf("%v runs as %s", action["Name"], role)
		}
	}
	guard := permissions(env, env.ByPath(t, "Delivery/Guard-prod/Role/Resource").ID)
	if wanted := "sts:AssumeRole on arn:aws:iam::" + otherAccount + ":role/cdk-hnb659fds-lookup-role-" + otherAccount + "-eu-west-1"; !slices.Contains(guard, wanted) {
		t.Errorf("the guard may do %v, want %s", guard, wanted)
	}
	if !slices.Contains(guard, "kms:Decrypt on ${"+env.ByPath(t, "Delivery/ArtifactsKey/Resource").ID+".Arn}") {
		t.Errorf("the guard cannot read its input: %v", guard)
	}
	for _, path := range []string{"Delivery/Artifacts/Resource", "Delivery-eu-west-1/Artifacts/Resource"} {
		bucket := env.ByPath(t, path)
		want(t, bucket, "aws:kms", "BucketEncryption", "ServerSideEncryptionConfiguration", 0, "ServerSideEncryptionByDefault", "SSEAlgorithm")
		if bucket.DeletionPolicy != "Delete" {
			t.Errorf("%s stays after destroy", path)
		}
	}
	keys := env.All("AWS::KMS::Key")
	for _, key := range keys {
		want(t, key, true, "EnableKeyRotation")
	}
	if len(keys) != 2 {
		t.Errorf("%d keys, want one in each region", len(keys))
	}
	// The role that deploys in the other account reads the artifacts there.
	stack := strings.SplitN(env.ByPath(t, "Delivery-eu-west-1/Artifacts/Policy/Resource").ID, ".", 2)[0]
	if policy := text(readable(env.ByPath(t, "Delivery-eu-west-1/Artifacts/Policy/Resource").Properties["PolicyDocument"])); stack != "replica" || !strings.Contains(policy, "cdk-hnb659fds-deploy-role-"+otherAccount+"-eu-west-1") {
		t.Errorf("the other account cannot read the artifacts: %s", policy)
	}
	if key := text(readable(env.ByPath(t, "Delivery-eu-west-1/ArtifactsKey/Resource").Properties["KeyPolicy"])); !strings.Contains(key, "cdk-hnb659fds-deploy-role-"+otherAccount+"-eu-west-1") {
		t.Errorf("the other account cannot decrypt the artifacts: %s", key)
	}
	stores := map[string]string{}
	for _, store := range list(env.One(t, "AWS::CodePipeline::Pipeline").Properties["ArtifactStores"]) {
		stores[at(store, "Region").(string)] = fmt.Sprint(readable(at(store, "ArtifactStore", "Location")))
		if at(store, "ArtifactStore", "EncryptionKey", "Type") != "KMS" {
			t.Errorf("the artifacts in %v have no key of their own", at(store, "Region"))
		}
	}
	if diff := cmp.Diff(map[string]string{
		"us-east-1": "${" + env.ByPath(t, "Delivery/Artifacts/Resource").ID + "}",
		"eu-west-1": "flask-app-delivery-eu-west-1-" + pipelineAccount,
	}, stores); diff != "" {
		t.Errorf("artifact stores (-want +got)\n%s", diff)
	}
}

// A key costs a dollar a month: only another account needs one.
func TestAnEnvironmentInAnotherRegionOfTheSameAccountNeedsNoKey(t *testing.T) {
	bodies := deliver(t, shippedDelivery(t, func(d *config.Delivery) {
		d.Environments[0].Environment.Region = "eu-west-1"
		d.Environments[1].Environment.Region, d.Environments[1].Environment.Network.AvailabilityZones = "eu-west-1", nil
	}))
	env := decodeStacks(t, map[string][]byte{"delivery": bodies["flask-app-delivery"], "replica": bodies["flask-app-delivery-eu-west-1"]}, "delivery", "replica")
	if keys := env.All("AWS::KMS::Key"); len(keys) > 0 {
		t.Errorf("%d keys", len(keys))
	}
	want(t, env.ByPath(t, "Delivery-eu-west-1/Artifacts/Resource"), "flask-app-delivery-eu-west-1-"+pipelineAccount, "BucketName")
}
