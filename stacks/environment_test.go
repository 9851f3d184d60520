package stacks_test

import (
	"testing"

	"flask-on-fargate/config"
	"flask-on-fargate/internal/platform"
)

// What holds for the stacks of an environment together.

func TestOutputs(t *testing.T) {
	forEachShipped(t, func(t *testing.T, env environment, cfg config.Environment) {
		dns := map[string]any{"Fn::GetAtt": []any{env.One(t, "AWS::ElasticLoadBalancingV2::LoadBalancer").ID, "DNSName"}}
		wanted := map[string]any{
			"service.AlbDnsName":     dns,
			"service.ApplicationUrl": map[string]any{"Fn::Join": []any{"", []any{"http://", dns}}},
			"service.ClusterName":    map[string]any{"Ref": env.One(t, "AWS::ECS::Cluster").ID},
			"service.ServiceName":    map[string]any{"Fn::GetAtt": []any{env.One(t, "AWS::ECS::Service").ID, "Name"}},
			"data.RdsEndpoint":       map[string]any{"Fn::GetAtt": []any{env.One(t, "AWS::RDS::DBInstance").ID, "Endpoint.Address"}},
			"data.S3BucketName":      map[string]any{"Ref": photos(t, env).ID},
		}
		for name, value := range wanted {
			if text(env.Outputs[name]) != text(value) {
				t.Errorf("output %s is %s, want %s", name, text(env.Outputs[name]), text(value))
			}
		}
	})
}

// CloudFormation puts the tags of a stack on its resources.
func TestTags(t *testing.T) {
	env := minimal(func(env *config.Environment) { env.Tags = map[string]string{"team": "web"} })
	for _, artifact := range assemble(t, env) {
		wanted := map[string]string{"project": env.Project, "environment": env.Name, "team": "web"}
		if got := *artifact.Tags(); text(got) != text(wanted) {
			t.Errorf("%s has the tags %s, want %s", *artifact.StackName(), text(got), text(wanted))
		}
	}
}

func TestAnARM64EnvironmentIsARM64Throughout(t *testing.T) {
	env := decodeTemplates(t, synthesize(t, minimal(func(env *config.Environment) {
		env.Architecture, env.Pipeline.Repository = platform.ARM64, "my-org/my-app"
	})))
	for _, task := range env.All("AWS::ECS::TaskDefinition") {
		want(t, task, "ARM64", "RuntimePlatform", "CpuArchitecture")
	}
	ours := 0
	for _, function := range env.All("AWS::Lambda::Function") {
		if function.Properties["Runtime"] == "provided.al2023" {
			ours++
			want(t, function, []string{"arm64"}, "Architectures")
		}
	}
	if ours != 4 {
		t.Errorf("%d functions of this project, want 4", ours)
	}
	want(t, env.One(t, "AWS::CodeBuild::Project"), "ARM_CONTAINER", "Environment", "Type")
	want(t, seedImage(t, env), "ARM64", "Architecture")

	// What CloudFormation sees of the program must follow it: those of the two architectures differ.
	versions := map[string]bool{}
	for _, env := range []environment{env, decode(t, "dev")} {
		version, _ := seedImage(t, env).Properties["ProgramVersion"].(string)
		versions[version] = true
	}
	if len(versions) != 2 || versions[""] {
		t.Errorf("the seed image's program has the versions %v for ARM64 and X86_64, want two: a new program would never be pushed", versions)
	}
}
