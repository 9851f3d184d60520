// Package webservice defines the application on ECS Fargate behind an internet-facing load balancer.
package webservice

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsec2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsecs"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsecspatterns"
	"github.com/aws/aws-cdk-go/awscdk/v2/awselasticloadbalancingv2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsiam"
	"github.com/aws/aws-cdk-go/awscdk/v2/awslogs"
	"github.com/aws/constructs-go/constructs/v10"
	"github.com/aws/jsii-runtime-go"

	"flask-on-fargate/constructs/repository"
	"flask-on-fargate/internal/cdk"
	"flask-on-fargate/internal/nag"
	"flask-on-fargate/internal/platform"
	"flask-on-fargate/internal/policy"
)

// ContainerName is the application's container in the task definition. The build writes it into imagedefinitions.json,
// where the deploy action looks for it.
const ContainerName = "app"

// The pace of a deployment. The defaults of ELB and ECS add about eight minutes to each.
const (
	HealthCheckInterval = 10 * time.Second
	HealthCheckTimeout  = 5 * time.Second
	HealthyThreshold    = 2
	UnhealthyThreshold  = 2
	DeregistrationDelay = 20 * time.Second
	StopTimeout         = 20 * time.Second

	// groupPort is the target group's own port, which no target uses: each is registered with its container's. It must not
	// follow the configuration: a change replaces the group, and the listener would lead nowhere until new tasks are healthy.
	groupPort = 5000

	// failedRounds is how often in a row tasks fail at most before the circuit breaker rolls a deployment back. ECS gives up
	// after as many failures as half of the desired count, at least 3 and at most 200. With one task these are three, one after
	// the other; with two tasks two rounds; from six tasks on the first round reaches the threshold.
	// https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-circuit-breaker.html
	failedRounds = 3
)

// DeployTimeout is how long the circuit breaker takes at most to give a deployment up and to roll it back, in whole
// minutes, whatever the number of tasks: each task that fails has to be placed, to pull its image, to miss its health checks
// after grace, and to stop. CodePipeline's deploy action waits 60 minutes at most
// (https://docs.aws.amazon.com/codepipeline/latest/userguide/action-reference-ECS.html).
func DeployTimeout(grace time.Duration) time.Duration {
	const placement = 2 * time.Minute
	failedTask := placement + grace + UnhealthyThreshold*HealthCheckInterval + DeregistrationDelay + StopTimeout
	rollback := placement
	total := failedRounds*failedTask + rollback
	return min(total.Truncate(time.Minute)+time.Minute, time.Hour)
}

// Props configures [New].
type Props struct {
	Cluster       awsecs.ICluster       // required; with the capacity provider FARGATE
	SecurityGroup awsec2.SecurityGroup  // required; of the tasks
	LogGroup      awslogs.ILogGroup     // required
	Image         awsecs.ContainerImage // required
	Family        string                // required; of the task definition
	Architecture  platform.Architecture // required
	CPU           int                   // required; in units of 1/1024 vCPU
	MemoryMiB     int                   // required
	DesiredCount  int                   // required; at least 1
	ContainerPort int                   // required

	HealthCheckPath  string        // required
	HealthCheckCodes string        // required; HTTP status codes of a healthy answer, "200-399"
	HealthCheckGrace time.Duration // required; how long a new task's failed health checks do not count

	Command         []string // default: the image's own
	Environment     map[string]string
	Secrets         map[string]awsecs.Secret
	Permissions     []policy.Statement // of the application itself, beside ECS Exec
	ManagedPolicies []string           // ARNs of further policies of the application
}

// WebService is a rolling, self-healing service: a deployment whose tasks do not become healthy is rolled back.
type WebService struct {
	Service      awsecs.FargateService
	TaskRoles    []awsiam.IRole // the execution role and the task role
	LoadBalancer awselasticloadbalancingv2.ApplicationLoadBalancer
}

// New defines a WebService under scope.
func New(scope constructs.Construct, id string, props Props) *WebService {
	if props.Cluster == nil || props.SecurityGroup == nil {
		panic("webservice.New: Cluster and SecurityGroup are required")
	}
	task := newTaskDefinition(scope, props)
	pattern := awsecspatterns.NewApplicationLoadBalancedFargateService(scope, jsii.String(id), &awsecspatterns.ApplicationLoadBalancedFargateServiceProps{
		Cluster:              props.Cluster,
		TaskDefinition:       task,
		DesiredCount:         jsii.Number(props.DesiredCount),
		EnableExecuteCommand: jsii.Bool(true),
		PropagateTags:        awsecs.PropagatedTagSource_SERVICE,
		// LaunchType FARGATE would do, but a later change to a capacity provider replaces the service.
		CapacityProviderStrategies: &[]*awsecs.CapacityProviderStrategy{
			{CapacityProvider: jsii.String("FARGATE"), Weight: jsii.Number(1)},
		},

		PublicLoadBalancer: jsii.Bool(true),
		ListenerPort:       jsii.Number(80),
		SecurityGroups:     &[]awsec2.ISecurityGroup{props.SecurityGroup},
		TaskSubnets:        &awsec2.SubnetSelection{SubnetType: awsec2.SubnetType_PRIVATE_WITH_EGRESS},
		AssignPublicIp:     jsii.Bool(false),

		MinHealthyPercent:      jsii.Number(100),
		MaxHealthyPercent:      jsii.Number(200),
		CircuitBreaker:         &awsecs.DeploymentCircuitBreaker{Enable: jsii.Bool(true), Rollback: jsii.Bool(true)},
		HealthCheckGracePeriod: cdk.Duration(props.HealthCheckGrace),
	})
	// The stack has outputs of its own with stable names.
	pattern.Node().TryRemoveChild(jsii.String("LoadBalancerDNS"))
	pattern.Node().TryRemoveChild(jsii.String("ServiceURL"))

	pattern.LoadBalancer().SetAttribute(jsii.String("routing.http.drop_invalid_header_fields.enabled"), jsii.String("true"))
	setHealthCheck(pattern.TargetGroup(), props)
	setDeploymentSafety(pattern.Service())
	// The pattern waits for the task role only: without the execution role's policy the first task cannot pull its image.
	pattern.Service().Node().AddDependency(task.ExecutionRole())
	this := &WebService{
		Service:      pattern.Service(),
		TaskRoles:    []awsiam.IRole{task.ExecutionRole(), task.TaskRole()},
		LoadBalancer: pattern.LoadBalancer(),
	}
	this.acceptFindings(task, props)
	return this
}

// acceptFindings says why what a security review asks about is right here, and what the statements are for that the library
// has added to the roles.
func (w *WebService) acceptFindings(task awsecs.FargateTaskDefinition, props Props) {
	nag.Accept(w.LoadBalancer, nag.Finding{Rule: "AwsSolutions-ELB2", Reason: "Access logs stop no request; they need a bucket of their own " +
		"that grows with each, and hold the addresses of the application's visitors. Requests, errors and latency are metrics of the load balancer without them."})
	nag.Accept(w.LoadBalancer.Node().FindChild(jsii.String("SecurityGroup")), nag.Finding{Rule: "AwsSolutions-EC23", Reason: "This is the " +
		"public entrance of a web application: port 80 of the load balancer, and nothing else, is open to everyone."})
	nag.Accept(task, nag.Finding{Rule: "AwsSolutions-ECS2", Reason: "The variables are names, addresses and what service.environment sets; " +
		"secrets come from Secrets Manager (service.secrets)."})
	execution, own := w.TaskRoles[0], w.TaskRoles[1]
	policy.Explain(execution, repository.AllowLogin())
	policy.Explain(own, append(slices.Clone(props.Permissions),
		policy.Allow("ssmmessages:CreateControlChannel", "ssmmessages:CreateDataChannel", "ssmmessages:OpenControlChannel", "ssmmessages:OpenDataChannel").OnAll())...)
}

func newTaskDefinition(scope constructs.Construct, props Props) awsecs.FargateTaskDefinition {
	task := awsecs.NewFargateTaskDefinition(scope, jsii.String("TaskDefinition"), &awsecs.FargateTaskDefinitionProps{
		Family:          jsii.String(props.Family),
		Cpu:             jsii.Number(props.CPU),
		MemoryLimitMiB:  jsii.Number(props.MemoryMiB),
		RuntimePlatform: cdk.RuntimePlatform(props.Architecture),
	})
	for _, permission := range props.Permissions {
		task.AddToTaskRolePolicy(permission.CDK())
	}
	acknowledgeShellVariables(task, props)
	for i, arn := range props.ManagedPolicies {
		id := jsii.String("ManagedPolicy" + strconv.Itoa(i+1))
		task.TaskRole().AddManagedPolicy(awsiam.ManagedPolicy_FromManagedPolicyArn(task, id, jsii.String(arn)))
	}
	var command *[]*string // an empty one would be part of the template
	if len(props.Command) > 0 {
		command = jsii.Strings(props.Command...)
	}
	environment := map[string]*string{}
	for name, value := range props.Environment {
		environment[name] = jsii.String(value)
	}
	task.AddContainer(jsii.String(ContainerName), &awsecs.ContainerDefinitionOptions{
		Image:        props.Image,
		Command:      command,
		PortMappings: &[]*awsecs.PortMapping{{ContainerPort: jsii.Number(props.ContainerPort)}},
		Environment:  &environment,
		Secrets:      &props.Secrets,
		StopTimeout:  cdk.Duration(StopTimeout),
		Logging: awsecs.LogDriver_AwsLogs(&awsecs.AwsLogDriverProps{
			LogGroup:     props.LogGroup,
			StreamPrefix: jsii.String(ContainerName),
		}),
	})
	return task
}

// acknowledgeShellVariables lets values with ${…} pass the rules that take it for a forgotten Fn::Sub: it is for the
// application, or for a shell in its container.
func acknowledgeShellVariables(task awsecs.FargateTaskDefinition, props Props) {
	braced := func(text string) bool { return strings.Contains(text, "${") && !strings.Contains(text, "${Token[") }
	if !slices.ContainsFunc(props.Command, braced) && !slices.ContainsFunc(slices.Collect(maps.Values(props.Environment)), braced) {
		return
	}
	awscdk.Validations_Of(task).Acknowledge(&awscdk.Acknowledgment{
		Id:     jsii.String("CloudFormation-Validate::E1029"),
		Reason: jsii.String("The configuration's ${…} reaches the container as it is written."),
	})
	resource := task.Node().DefaultChild().(awscdk.CfnResource)
	resource.AddMetadata(jsii.String("cfn-lint"), map[string]any{"config": map[string]any{"ignore_checks": []string{"E1029"}}})
}

// setHealthCheck sets how fast the load balancer takes a new task for healthy and lets an old one go.
func setHealthCheck(group awselasticloadbalancingv2.ApplicationTargetGroup, props Props) {
	group.ConfigureHealthCheck(&awselasticloadbalancingv2.HealthCheck{
		Path:                    jsii.String(props.HealthCheckPath),
		HealthyHttpCodes:        jsii.String(props.HealthCheckCodes),
		Interval:                cdk.Duration(HealthCheckInterval),
		Timeout:                 cdk.Duration(HealthCheckTimeout),
		HealthyThresholdCount:   jsii.Number(HealthyThreshold),
		UnhealthyThresholdCount: jsii.Number(UnhealthyThreshold),
	})
	group.Node().DefaultChild().(awselasticloadbalancingv2.CfnTargetGroup).SetPort(jsii.Number(groupPort))
	group.SetAttribute(jsii.String("deregistration_delay.timeout_seconds"), jsii.String(strconv.Itoa(int(DeregistrationDelay.Seconds()))))
}

// setDeploymentSafety sets what the pattern has no props for.
func setDeploymentSafety(service awsecs.FargateService) {
	cfn := service.Node().DefaultChild().(awsecs.CfnService)
	cfn.SetAvailabilityZoneRebalancing(jsii.String("ENABLED"))
	// An application that starts, answers and crashes again must not begin the breaker's count anew.
	cfn.AddPropertyOverride(jsii.String("DeploymentConfiguration.DeploymentCircuitBreaker.ResetOnHealthyTask"), false)
}
