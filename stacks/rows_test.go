package stacks_test

import (
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"
	"testing"

	"flask-on-fargate/config"
	"flask-on-fargate/internal/templatecheck"
)

// Each test below shows a part of what this project promises, on the templates of the shipped environments.

func forEachShipped(t *testing.T, test func(t *testing.T, env environment, cfg config.Environment)) {
	for _, name := range shipped {
		t.Run(name, func(t *testing.T) { test(t, decode(t, name), load(t, name)) })
	}
}

// want fails unless the value found at a path of a resource's properties has the wanted JSON.
func want(t *testing.T, r resource, wanted any, path ...any) {
	t.Helper()
	if got := text(at(r.Properties, path...)); got != text(wanted) {
		t.Errorf("%s: %v is %s, want %s", r.ID, path, got, text(wanted))
	}
}

func TestNetwork(t *testing.T) {
	forEachShipped(t, func(t *testing.T, env environment, cfg config.Environment) {
		vpc := env.One(t, "AWS::EC2::VPC")
		want(t, vpc, cfg.Network.CIDR, "CidrBlock")
		want(t, vpc, true, "EnableDnsHostnames")
		want(t, vpc, true, "EnableDnsSupport")

		if got := len(env.All("AWS::EC2::Subnet")); got != 4 {
			t.Errorf("%d subnets, want 4", got)
		}
		for _, kind := range []string{"Public", "Private"} {
			zones := map[string]bool{}
			for i := range 2 {
				subnet := env.ByPath(t, fmt.Sprintf("Network/%sSubnet%d/Subnet", kind, i+1))
				zones[text(subnet.Properties["AvailabilityZone"])] = true
				want(t, subnet, false, "MapPublicIpOnLaunch")
			}
			if len(zones) != 2 {
				t.Errorf("the %s subnets are in the zones %v, want two", kind, zones)
			}
		}

		closed := env.One(t, "Custom::VpcRestrictDefaultSG")
		want(t, closed, map[string]any{"Fn::GetAtt": []string{vpc.ID, "DefaultSecurityGroup"}}, "DefaultSecurityGroupId")
	})
}

func TestTheConfiguredRangeIsSharedByTheSubnets(t *testing.T) {
	env := decodeTemplates(t, synthesize(t, minimal(func(env *config.Environment) { env.Network.CIDR = "172.20.64.0/20" })))
	want(t, env.One(t, "AWS::EC2::VPC"), "172.20.64.0/20", "CidrBlock")
	var ranges []string
	for _, subnet := range env.All("AWS::EC2::Subnet") {
		ranges = append(ranges, text(subnet.Properties["CidrBlock"]))
	}
	slices.Sort(ranges)
	if got, want := strings.Join(ranges, " "), `"172.20.64.0/22" "172.20.68.0/22" "172.20.72.0/22" "172.20.76.0/22"`; got != want {
		t.Errorf("the subnets have the ranges %s, want %s", got, want)
	}
}

func TestRoutesLeadPublicSubnetsToTheInternetGatewayAndPrivateOnesToNAT(t *testing.T) {
	forEachShipped(t, func(t *testing.T, env environment, cfg config.Environment) {
		gateway := env.One(t, "AWS::EC2::InternetGateway")
		nats := env.All("AWS::EC2::NatGateway")
		if len(nats) != cfg.Network.NatGateways {
			t.Errorf("%d NAT gateways, want %d", len(nats), cfg.Network.NatGateways)
		}
		for _, nat := range nats {
			subnet := env.Resources[references(nat.Properties["SubnetId"])[0]]
			if !strings.Contains(subnet.ID, "PublicSubnet") {
				t.Errorf("%s is in %s, want a public subnet", nat.ID, subnet.ID)
			}
			address := env.Resources[references(nat.Properties["AllocationId"])[0]]
			if address.Type != "AWS::EC2::EIP" {
				t.Errorf("%s has the address %s, want an Elastic IP", nat.ID, address.ID)
			}
		}
		for _, route := range env.All("AWS::EC2::Route") {
			want(t, route, "0.0.0.0/0", "DestinationCidrBlock")
			if strings.Contains(route.ID, "Public") {
				want(t, route, map[string]any{"Ref": gateway.ID}, "GatewayId")
			} else if target := references(route.Properties["NatGatewayId"]); len(target) != 1 || env.Resources[target[0]].Type != "AWS::EC2::NatGateway" {
				t.Errorf("%s leads to %v, want a NAT gateway", route.ID, target)
			}
		}
		if got := len(env.All("AWS::EC2::Route")); got != 4 {
			t.Errorf("%d default routes, want one for each of 4 subnets", got)
		}
		endpoint := env.One(t, "AWS::EC2::VPCEndpoint")
		want(t, endpoint, "Gateway", "VpcEndpointType")
		if got := readable(endpoint.Properties["ServiceName"]); got != "com.amazonaws.${AWS::Region}.s3" {
			t.Errorf("the endpoint is for %v, want S3", got)
		}
		if got := endpoint.Properties["RouteTableIds"].([]any); len(got) != 2 {
			t.Errorf("the S3 endpoint is in %d route tables, want the two private ones", len(got))
		}
		for _, table := range references(endpoint.Properties["RouteTableIds"]) {
			if !strings.Contains(table, "PrivateSubnet") {
				t.Errorf("the S3 endpoint is in the route table %s, want private ones only", table)
			}
		}
	})
}

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
func TestAnotherPortAndHealthCheckReachTheService(t *testing.T) {
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

func TestDatabase(t *testing.T) {
	forEachShipped(t, func(t *testing.T, env environment, cfg config.Environment) {
		database := env.One(t, "AWS::RDS::DBInstance")
		want(t, database, "mysql", "Engine")
		want(t, database, cfg.Database.EngineVersion, "EngineVersion")
		want(t, database, cfg.Database.InstanceClass, "DBInstanceClass")
		want(t, database, "gp3", "StorageType")
		want(t, database, fmt.Sprint(cfg.Database.StorageGiB), "AllocatedStorage")
		want(t, database, true, "StorageEncrypted")
		want(t, database, false, "PubliclyAccessible")
		want(t, database, cfg.Database.BackupRetentionDays, "BackupRetentionPeriod")
		want(t, database, cfg.Database.MultiAZ, "MultiAZ")
		want(t, database, cfg.Database.Name, "DBName")
		want(t, database, cfg.Database.User, "MasterUsername")
		want(t, database, cfg.Retain, "DeletionProtection")
		for _, subnet := range references(env.One(t, "AWS::RDS::DBSubnetGroup").Properties["SubnetIds"]) {
			if !strings.Contains(subnet, "PrivateSubnet") {
				t.Errorf("the database is in %s, want private subnets", subnet)
			}
		}
		parameters := env.One(t, "AWS::RDS::DBParameterGroup")
		want(t, database, map[string]any{"Ref": parameters.ID}, "DBParameterGroupName")
		want(t, parameters, map[string]any{"require_secure_transport": "1"}, "Parameters")
		want(t, parameters, "mysql"+cfg.Database.EngineVersion, "Family")
	})
}

func TestDatabaseOptions(t *testing.T) {
	env := decodeTemplates(t, synthesize(t, minimal(func(env *config.Environment) {
		env.Database.RequireTLS = false
		env.Database.AllowMajorUpgrade = true
		env.NotificationTopicArn = "arn:aws:sns:eu-west-1:123456789012:operators"
	})))
	database := env.One(t, "AWS::RDS::DBInstance")
	want(t, env.One(t, "AWS::RDS::DBParameterGroup"), map[string]any{"require_secure_transport": "0"}, "Parameters")
	want(t, database, true, "AllowMajorVersionUpgrade")
	want(t, database, "open-source-rds-extended-support", "EngineLifecycleSupport")
	events := env.One(t, "AWS::RDS::EventSubscription")
	want(t, events, "arn:aws:sns:eu-west-1:123456789012:operators", "SnsTopicArn")
	want(t, events, []any{map[string]any{"Ref": database.ID}}, "SourceIds")

	prod := decode(t, "prod").One(t, "AWS::RDS::DBInstance")
	want(t, prod, "open-source-rds-extended-support-disabled", "EngineLifecycleSupport")
}

func TestSecretsAreGeneratedAndNeverWritten(t *testing.T) {
	forEachShipped(t, func(t *testing.T, env environment, cfg config.Environment) {
		credentials := env.ByPath(t, "Data/Database/Credentials/Resource")
		// A change of any of these makes a new password.
		want(t, credentials, map[string]any{
			"SecretStringTemplate": fmt.Sprintf(`{"username":"%s"}`, cfg.Database.User), "GenerateStringKey": "password",
			"PasswordLength": 32, "ExcludePunctuation": true, "IncludeSpace": false, "RequireEachIncludedType": true,
		}, "GenerateSecretString")
		want(t, env.ByPath(t, "Data/FlaskSecret/Resource"), map[string]any{
			"PasswordLength": 64, "ExcludePunctuation": true, "IncludeSpace": false, "RequireEachIncludedType": true,
		}, "GenerateSecretString")
		want(t, env.One(t, "AWS::RDS::DBInstance"), map[string]any{"Fn::Join": []any{"", []any{
			"{{resolve:secretsmanager:", map[string]any{"Ref": credentials.ID}, ":SecretString:password::}}",
		}}}, "MasterUserPassword")
		for _, secret := range env.All("AWS::SecretsManager::Secret") {
			want(t, secret, nil, "SecretString")
		}
	})
}

func photos(t *testing.T, env environment) resource {
	return env.ByPath(t, "Data/Bucket/Resource")
}

func TestBucket(t *testing.T) {
	forEachShipped(t, func(t *testing.T, env environment, cfg config.Environment) {
		bucket := photos(t, env)
		want(t, bucket, nil, "BucketName")
		want(t, bucket, map[string]any{
			"BlockPublicAcls": true, "BlockPublicPolicy": true, "IgnorePublicAcls": true, "RestrictPublicBuckets": true,
		}, "PublicAccessBlockConfiguration")
		want(t, bucket, "AES256", "BucketEncryption", "ServerSideEncryptionConfiguration", 0, "ServerSideEncryptionByDefault", "SSEAlgorithm")
		want(t, bucket, 7, "LifecycleConfiguration", "Rules", 0, "AbortIncompleteMultipartUpload", "DaysAfterInitiation")
		policy := env.ByPath(t, "Data/Bucket/Policy/Resource")
		want(t, policy, "Deny", "PolicyDocument", "Statement", 0, "Effect")
		want(t, policy, map[string]any{"Bool": map[string]any{"aws:SecureTransport": "false"}}, "PolicyDocument", "Statement", 0, "Condition")
	})
}

func TestRepository(t *testing.T) {
	forEachShipped(t, func(t *testing.T, env environment, cfg config.Environment) {
		repository := env.One(t, "AWS::ECR::Repository")
		want(t, repository, true, "ImageScanningConfiguration", "ScanOnPush")
		want(t, repository, "MUTABLE_WITH_EXCLUSION", "ImageTagMutability")
		want(t, repository, []any{map[string]any{
			"ImageTagMutabilityExclusionFilterType": "WILDCARD", "ImageTagMutabilityExclusionFilterValue": "sha-*",
		}}, "ImageTagMutabilityExclusionFilters")
	})
}

// expired returns the images that a lifecycle policy expires, as ECR documents it: a rule counts all images that it matches,
// the newest first, and an image that a rule of higher priority matches is not expired by a lower one. An image is a list of
// its tags; the first image is the newest. Rules by age are left out.
// https://docs.aws.amazon.com/AmazonECR/latest/userguide/LifecyclePolicies.html
func expired(t *testing.T, lifecyclePolicy string, images []string) []string {
	t.Helper()
	var lifecycle struct {
		Rules []struct {
			Selection struct {
				TagPatternList []string
				CountType      string
				CountNumber    int
			}
		}
	}
	if err := json.Unmarshal([]byte(lifecyclePolicy), &lifecycle); err != nil {
		t.Fatal(err)
	}
	var gone []string
	judged := map[string]bool{}
	for _, rule := range lifecycle.Rules {
		count := 0
		for _, image := range images {
			if rule.Selection.CountType != "imageCountMoreThan" || !slices.ContainsFunc(strings.Fields(image), func(tag string) bool {
				matched, _ := path.Match(rule.Selection.TagPatternList[0], tag)
				return matched
			}) {
				continue
			}
			if count++; count > rule.Selection.CountNumber && !judged[image] {
				gone = append(gone, image)
			}
			judged[image] = true
		}
	}
	return gone
}

func TestLifecycleOfImages(t *testing.T) {
	tagged := func(format string, n int) []string {
		var images []string
		for i := range n {
			images = append(images, fmt.Sprintf(format, i))
		}
		return images
	}
	forEachShipped(t, func(t *testing.T, env environment, _ config.Environment) {
		rules := at(env.One(t, "AWS::ECR::Repository").Properties, "LifecyclePolicy", "LifecyclePolicyText").(string)
		if !strings.Contains(rules, `"tagStatus":"untagged","countType":"sinceImagePushed","countNumber":14,"countUnit":"days"`) {
			t.Errorf("untagged images do not go after 14 days: %s", rules)
		}
		tests := map[string]struct {
			images, gone []string
		}{
			"builds: the newest 20 and live stay":        {slices.Concat(tagged("sha-%d", 23), []string{"sha-old live"}), tagged("sha-%d", 23)[20:]},
			"placeholders: the newest 5 and seed stay":   {slices.Concat(tagged("placeholder-%d", 7), []string{"placeholder-x seed live"}), tagged("placeholder-%d", 7)[5:]},
			"other tags: the newest 47 of all stay":      {slices.Concat([]string{"c0 latest"}, tagged("commit%d", 50), []string{"c1 live"}), tagged("commit%d", 50)[46:]},
			"other tags: 20 stay beside newer builds":    {slices.Concat(tagged("sha-%d", 20), tagged("placeholder-%d", 5), []string{"x live", "y seed"}, tagged("v%d", 21)), []string{"v20"}},
			"what an old version of this project pushed": {[]string{"seed live", "live-old"}, nil},
		}
		for behaviour, test := range tests {
			t.Run(behaviour, func(t *testing.T) {
				if got := expired(t, rules, test.images); !slices.Equal(got, test.gone) {
					t.Errorf("these expire: %q, want %q", got, test.gone)
				}
			})
		}
	})
}

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

// What holds data stays when its environment is retained, and everything goes when it is not.
func TestDataIsKeptOrGoesAsConfigured(t *testing.T) {
	forEachShipped(t, func(t *testing.T, env environment, cfg config.Environment) {
		wanted := map[string]string{
			"AWS::S3::Bucket": "Delete", "AWS::ECR::Repository": "Delete", "AWS::SecretsManager::Secret": "Delete", "AWS::RDS::DBInstance": "Delete",
		}
		if cfg.Retain {
			wanted = map[string]string{
				"AWS::S3::Bucket": "RetainExceptOnCreate", "AWS::ECR::Repository": "RetainExceptOnCreate",
				"AWS::SecretsManager::Secret": "RetainExceptOnCreate", "AWS::RDS::DBInstance": "Snapshot",
			}
		}
		for _, r := range env.Resources {
			policy, holdsData := wanted[r.Type]
			if strings.HasPrefix(r.ID, "pipeline.") {
				policy, holdsData = "Delete", false // the pipeline's artifacts can be built again
			}
			if holdsData && r.DeletionPolicy != policy {
				t.Errorf("%s has the deletion policy %q, want %q", r.ID, r.DeletionPolicy, policy)
			}
			if !holdsData && r.DeletionPolicy != "" && r.DeletionPolicy != "Delete" {
				t.Errorf("%s stays after destroy (%s) and holds no data", r.ID, r.DeletionPolicy)
			}
		}
		want(t, env.One(t, "AWS::RDS::DBInstance"), !cfg.Retain, "DeleteAutomatedBackups")
		emptied := slices.ContainsFunc(env.All("Custom::S3AutoDeleteObjects"), func(r resource) bool {
			return slices.Contains(references(r.Properties["BucketName"]), photos(t, env).ID)
		})
		if emptied == cfg.Retain {
			t.Errorf("the bucket is emptied on destroy: %v, with retain: %v", emptied, cfg.Retain)
		}
		want(t, env.One(t, "AWS::ECR::Repository"), true, "EmptyOnDelete") // or a failed first deploy could not be rolled back
	})
}

// Whatever writes logs has a declared group: one that it makes for itself stays after destroy.
func TestEveryFunctionAndBuildHasADeclaredLogGroup(t *testing.T) {
	forEachShipped(t, func(t *testing.T, env environment, cfg config.Environment) {
		for _, function := range env.All("AWS::Lambda::Function") {
			group := references(at(function.Properties, "LoggingConfig", "LogGroup"))
			if len(group) != 1 || env.Resources[group[0]].Type != "AWS::Logs::LogGroup" {
				t.Errorf("%s has no log group of its own: %v", function.ID, group)
			}
		}
		build := env.One(t, "AWS::CodeBuild::Project")
		if group := references(at(build.Properties, "LogsConfig", "CloudWatchLogs", "GroupName")); len(group) != 1 {
			t.Errorf("%s has no log group of its own", build.ID)
		}
		if strings.Contains(text(env.All("AWS::IAM::Role")), "AWSLambdaBasicExecutionRole") {
			t.Error("a role may create log groups")
		}
	})
}

func TestTheCostOfExtendedSupportIsAWarningWithItsRemedy(t *testing.T) {
	for version, want := range map[string]int{"8.0": 1, "8.4": 0} {
		found := 0
		for _, stack := range assemble(t, minimal(func(env *config.Environment) { env.Database.EngineVersion = version })) {
			for _, message := range *stack.Messages() {
				said, _ := message.Entry.Data.(string)
				if strings.Contains(said, "about 146 USD a month") && strings.Contains(said, `set database.engineVersion to "8.4" in config/test.yaml`) {
					found++
				}
			}
		}
		if found != want {
			t.Errorf("MySQL %s: %d warnings of its cost, want %d", version, found, want)
		}
	}
}

func TestStacksWithDataAreProtectedWhereItIsKept(t *testing.T) {
	for _, retain := range []bool{true, false} {
		protected := []string{}
		if retain {
			protected = []string{"-network", "-data"}
		}
		for _, broken := range templatecheck.Protection(terminationProtected(assemble(t, minimal(func(env *config.Environment) { env.Retain = retain }))), protected...) {
			t.Errorf("with retain %t %s", retain, broken)
		}
	}
}
