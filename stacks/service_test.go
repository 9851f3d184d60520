package stacks_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"flask-on-fargate/config"
)

func TestLoadBalancer(t *testing.T) {
	forEachShipped(t, func(t *testing.T, env environment, cfg config.Environment) {
		balancer := env.One(t, "AWS::ElasticLoadBalancingV2::LoadBalancer")
		want(t, balancer, "internet-facing", "Scheme")
		want(t, balancer, "application", "Type")
		for _, subnet := range references(balancer.Properties["Subnets"]) {
			if !strings.Contains(subnet, "PublicSubnet") {
				t.Errorf("the load balancer is in %s, want public subnets", subnet)
			}
		}
		if attributes := text(balancer.Properties["LoadBalancerAttributes"]); !strings.Contains(attributes, `{"Key":"routing.http.drop_invalid_header_fields.enabled","Value":"true"}`) {
			t.Errorf("header fields that are invalid reach the application: %s", attributes)
		}
		listener := env.One(t, "AWS::ElasticLoadBalancingV2::Listener")
		want(t, listener, 80, "Port")
		want(t, listener, "HTTP", "Protocol")
		group := env.One(t, "AWS::ElasticLoadBalancingV2::TargetGroup")
		want(t, listener, map[string]any{"Ref": group.ID}, "DefaultActions", 0, "TargetGroupArn")
		want(t, group, "ip", "TargetType")
		want(t, group, 5000, "Port")
		want(t, group, cfg.Service.HealthCheckPath, "HealthCheckPath")
		want(t, group, cfg.Service.HealthCheckCodes, "Matcher", "HttpCode")
		want(t, group, 10, "HealthCheckIntervalSeconds")
		want(t, group, 2, "HealthyThresholdCount")
		if attributes := text(group.Properties["TargetGroupAttributes"]); !strings.Contains(attributes, `{"Key":"deregistration_delay.timeout_seconds","Value":"20"}`) {
			t.Errorf("the deregistration delay is not 20 s: %s", attributes)
		}
	})
}

// The target group's own port is create-only: if it followed the configuration, the listener would lead nowhere for a while.
func TestConfiguredPortAndHealthCheck(t *testing.T) {
	env := decodeTemplates(t, synthesize(t, minimal(func(env *config.Environment) {
		env.Service.ContainerPort, env.Service.HealthCheckPath, env.Service.HealthCheckCodes = 8080, "/health", "200-399"
		env.Service.HealthCheckGraceSeconds = 180
	})))
	group := env.One(t, "AWS::ElasticLoadBalancingV2::TargetGroup")
	want(t, group, 5000, "Port")
	want(t, group, "/health", "HealthCheckPath")
	want(t, group, "200-399", "Matcher", "HttpCode")
	want(t, applicationTask(t, env), 8080, "ContainerDefinitions", 0, "PortMappings", 0, "ContainerPort")
	want(t, applicationTask(t, env), map[string]any{"Name": "PORT", "Value": "8080"}, "ContainerDefinitions", 0, "Environment", 5)
	want(t, env.One(t, "AWS::ECS::Service"), 8080, "LoadBalancers", 0, "ContainerPort")
	want(t, env.One(t, "AWS::ECS::Service"), 180, "HealthCheckGracePeriodSeconds")
}

func applicationTask(t *testing.T, env environment) resource {
	return env.ByPath(t, "Service/TaskDefinition/Resource")
}

func TestTaskDefinition(t *testing.T) {
	forEachShipped(t, func(t *testing.T, env environment, cfg config.Environment) {
		task := applicationTask(t, env)
		want(t, task, []string{"FARGATE"}, "RequiresCompatibilities")
		want(t, task, fmt.Sprint(cfg.Service.CPU), "Cpu")
		want(t, task, fmt.Sprint(cfg.Service.Memory), "Memory")
		want(t, task, string(cfg.Architecture), "RuntimePlatform", "CpuArchitecture")

		repository := env.One(t, "AWS::ECR::Repository")
		image := at(task.Properties, "ContainerDefinitions", 0, "Image")
		if !slices.Contains(references(image), repository.ID) || !strings.HasSuffix(text(image), `":live"]]}`) {
			t.Errorf("the image is %s, want %s:live", text(image), repository.ID)
		}
		want(t, task, "app", "ContainerDefinitions", 0, "Name")
		want(t, task, 20, "ContainerDefinitions", 0, "StopTimeout")
		want(t, task, cfg.Service.ContainerPort, "ContainerDefinitions", 0, "PortMappings", 0, "ContainerPort")
		if got := len(at(task.Properties, "ContainerDefinitions").([]any)); got != 1 {
			t.Errorf("%d containers, want 1", got)
		}
	})
}

func TestApplicationContract(t *testing.T) {
	forEachShipped(t, func(t *testing.T, env environment, cfg config.Environment) {
		task := applicationTask(t, env)
		database := env.One(t, "AWS::RDS::DBInstance")
		want(t, task, []any{
			map[string]any{"Name": "APP_ROLE", "Value": "web"},
			map[string]any{"Name": "DATABASE_DB_NAME", "Value": cfg.Database.Name},
			map[string]any{"Name": "DATABASE_HOST", "Value": map[string]any{"Fn::GetAtt": []any{database.ID, "Endpoint.Address"}}},
			map[string]any{"Name": "DATABASE_PORT", "Value": "3306"},
			map[string]any{"Name": "PHOTOS_BUCKET", "Value": map[string]any{"Ref": photos(t, env).ID}},
			map[string]any{"Name": "PORT", "Value": "5000"},
		}, "ContainerDefinitions", 0, "Environment")

		attachment := map[string]any{"Ref": env.One(t, "AWS::SecretsManager::SecretTargetAttachment").ID}
		key := func(name string) any {
			return map[string]any{"Fn::Join": []any{"", []any{attachment, ":" + name + "::"}}}
		}
		want(t, task, []any{
			map[string]any{"Name": "DATABASE_PASSWORD", "ValueFrom": key("password")},
			map[string]any{"Name": "DATABASE_USER", "ValueFrom": key("username")},
			map[string]any{"Name": "FLASK_SECRET", "ValueFrom": map[string]any{"Ref": env.ByPath(t, "Data/FlaskSecret/Resource").ID}},
		}, "ContainerDefinitions", 0, "Secrets")
	})
}

func TestConfiguredVariablesAndSecretsReachTheApplication(t *testing.T) {
	const arn = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:stripe-AbCdEf"
	env := decodeTemplates(t, synthesize(t, minimal(func(env *config.Environment) {
		env.Service.Environment = map[string]string{"LOG_LEVEL": "debug"}
		env.Service.Secrets = map[string]string{"STRIPE_KEY": arn + ":key::", "WHOLE": arn}
	})))
	task := applicationTask(t, env)
	want(t, task, map[string]any{"Name": "LOG_LEVEL", "Value": "debug"}, "ContainerDefinitions", 0, "Environment", 4)
	want(t, task, map[string]any{"Name": "STRIPE_KEY", "ValueFrom": arn + ":key::"}, "ContainerDefinitions", 0, "Secrets", 3)
	want(t, task, map[string]any{"Name": "WHOLE", "ValueFrom": arn}, "ContainerDefinitions", 0, "Secrets", 4)
	policy := env.ByPath(t, "Service/TaskDefinition/ExecutionRole/DefaultPolicy/Resource")
	if !strings.Contains(text(policy.Properties), `"`+arn+`"`) {
		t.Errorf("the execution role may not read %s: %s", arn, text(policy.Properties))
	}
}

func TestConfiguredCommandAndPoliciesReachTheTask(t *testing.T) {
	policies := []string{"arn:aws:iam::123456789012:policy/mail", "arn:aws:iam::aws:policy/AmazonSQSFullAccess"}
	env := decodeTemplates(t, synthesize(t, minimal(func(env *config.Environment) {
		env.Service.Command, env.Service.TaskPolicyArns = []string{"gunicorn", "app:app"}, policies
	})))
	want(t, applicationTask(t, env), []string{"gunicorn", "app:app"}, "ContainerDefinitions", 0, "Command")
	want(t, env.ByPath(t, "Service/TaskDefinition/TaskRole/Resource"), policies, "ManagedPolicyArns")
	want(t, env.ByPath(t, "Service/TaskDefinition/ExecutionRole/Resource"), nil, "ManagedPolicyArns")

	none := applicationTask(t, decodeTemplates(t, synthesize(t, minimal(func(*config.Environment) {}))))
	if _, given := at(none.Properties, "ContainerDefinitions", 0).(map[string]any)["Command"]; given {
		t.Error("without a command in the configuration the task definition has one: the image's own would be lost")
	}
}

// The rule E1029 would fail the synth, since it takes ${…} for a forgotten Fn::Sub.
func TestVariablesOfAShellReachTheTask(t *testing.T) {
	const command, format = "exec gunicorn -b :${PORT} app:app", "${time} ${message}"
	env := decodeTemplates(t, synthesize(t, minimal(func(env *config.Environment) {
		env.Service.Command, env.Service.Environment = []string{"sh", "-c", command}, map[string]string{"LOG_FORMAT": format}
	})))
	want(t, applicationTask(t, env), command, "ContainerDefinitions", 0, "Command", 2)
	want(t, applicationTask(t, env), format, "ContainerDefinitions", 0, "Environment", 4, "Value")
	if ignored := text(at(applicationTask(t, env).Metadata, "cfn-lint")); !strings.Contains(ignored, "E1029") {
		t.Errorf("cfn-lint ignores %s, want E1029", ignored)
	}
	if ignored := text(applicationTask(t, decode(t, "dev")).Metadata); strings.Contains(ignored, "E1029") {
		t.Errorf("without such a variable E1029 is accepted too: %s", ignored)
	}
}

func TestApplicationLogs(t *testing.T) {
	forEachShipped(t, func(t *testing.T, env environment, cfg config.Environment) {
		logs := env.ByPath(t, "Service/Logs/Resource")
		want(t, logs, "/ecs/"+cfg.Project+"-"+cfg.Name, "LogGroupName")
		want(t, logs, cfg.LogRetentionDays, "RetentionInDays")
		want(t, applicationTask(t, env), map[string]any{"Ref": logs.ID}, "ContainerDefinitions", 0, "LogConfiguration", "Options", "awslogs-group")
	})
}

func TestService(t *testing.T) {
	forEachShipped(t, func(t *testing.T, env environment, cfg config.Environment) {
		service := env.One(t, "AWS::ECS::Service")
		want(t, service, map[string]any{"Ref": env.One(t, "AWS::ECS::Cluster").ID}, "Cluster")
		want(t, service, cfg.Service.DesiredCount, "DesiredCount")
		want(t, service, true, "EnableExecuteCommand")
		// Otherwise a task would need the right to write the logs of sessions.
		want(t, env.One(t, "AWS::ECS::Cluster"), "NONE", "Configuration", "ExecuteCommandConfiguration", "Logging")
		want(t, service, "DISABLED", "NetworkConfiguration", "AwsvpcConfiguration", "AssignPublicIp")
		for _, subnet := range references(at(service.Properties, "NetworkConfiguration", "AwsvpcConfiguration", "Subnets")) {
			if !strings.Contains(subnet, "PrivateSubnet") {
				t.Errorf("the service is in %s, want private subnets", subnet)
			}
		}
		want(t, service, map[string]any{"Ref": applicationTask(t, env).ID}, "TaskDefinition")
		want(t, service, map[string]any{"Ref": env.One(t, "AWS::ElasticLoadBalancingV2::TargetGroup").ID}, "LoadBalancers", 0, "TargetGroupArn")
		want(t, service, "app", "LoadBalancers", 0, "ContainerName")
		want(t, service, cfg.Service.ContainerPort, "LoadBalancers", 0, "ContainerPort")
	})
}

func TestDeploymentSafety(t *testing.T) {
	forEachShipped(t, func(t *testing.T, env environment, cfg config.Environment) {
		service := env.One(t, "AWS::ECS::Service")
		want(t, service, []any{map[string]any{"CapacityProvider": "FARGATE", "Weight": 1}}, "CapacityProviderStrategy")
		want(t, service, nil, "LaunchType")
		want(t, env.One(t, "AWS::ECS::Cluster"), []string{"FARGATE"}, "CapacityProviders")
		want(t, service, map[string]any{
			"DeploymentCircuitBreaker": map[string]any{
				"Enable": true, "Rollback": true, "ResetOnHealthyTask": false,
			},
			"MaximumPercent": 200, "MinimumHealthyPercent": 100,
		}, "DeploymentConfiguration")
		want(t, service, "ENABLED", "AvailabilityZoneRebalancing")
		want(t, service, cfg.Service.HealthCheckGraceSeconds, "HealthCheckGracePeriodSeconds")
		if id := env.ByPath(t, "Service/TaskDefinition/ExecutionRole/DefaultPolicy/Resource").ID; !slices.Contains(service.DependsOn, id) {
			t.Errorf("the service does not wait for the right to pull its image (%s)", id)
		}
	})
}
