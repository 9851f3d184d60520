package stacks

import (
	"maps"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsec2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsecr"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsecs"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsiam"
	"github.com/aws/aws-cdk-go/awscdk/v2/awss3"
	"github.com/aws/aws-cdk-go/awscdk/v2/awssecretsmanager"
	"github.com/aws/constructs-go/constructs/v10"
	"github.com/aws/jsii-runtime-go"

	"flask-on-fargate/config"
	"flask-on-fargate/constructs/bucket"
	"flask-on-fargate/constructs/database"
	"flask-on-fargate/constructs/loggroup"
	"flask-on-fargate/constructs/schemainit"
	"flask-on-fargate/constructs/webservice"
	"flask-on-fargate/internal/appenv"
	"flask-on-fargate/internal/imagetag"
	"flask-on-fargate/internal/nag"
	"flask-on-fargate/internal/policy"
)

// ServiceStackProps configures [NewServiceStack]. All are required.
type ServiceStackProps struct {
	VPC         awsec2.IVpc
	Repository  awsecr.IRepository
	Bucket      awss3.IBucket
	Database    *database.Database
	FlaskSecret awssecretsmanager.ISecret
}

// ServiceStack holds what runs: the cluster and the application's service behind its load balancer.
type ServiceStack struct {
	Stack     awscdk.Stack
	Cluster   awsecs.ICluster
	Service   awsecs.FargateService
	TaskRoles []awsiam.IRole // of the application's task definition
	URL       awscdk.CfnOutput
}

// NewServiceStack defines the stack <project>-<env>-service under scope.
func NewServiceStack(scope constructs.Construct, env config.Environment, props ServiceStackProps) *ServiceStack {
	stack := newStack(scope, "Service", env, "service", "ECS cluster, load balancer and the application's service")
	cluster := newCluster(stack, props)
	tasks, databaseAccess := newTasksSecurityGroup(stack, props)
	schema := schemainit.New(stack, "SchemaInit", schemainit.Props{
		VPC:              props.VPC,
		Cluster:          cluster,
		SecurityGroup:    tasks,
		DatabaseAccess:   databaseAccess,
		Database:         props.Database,
		Repository:       props.Repository,
		Architecture:     env.Architecture,
		Family:           env.FullName() + "-schema",
		LogGroupName:     "/ecs/" + env.FullName() + "-schema",
		LogRetentionDays: env.LogRetentionDays,
		AssetKeyArn:      env.BootstrapKmsKeyArn,
	})
	logs := loggroup.New(stack, "Logs", loggroup.Props{
		Name:          "/ecs/" + env.FullName(),
		RetentionDays: env.LogRetentionDays,
	})
	web := webservice.New(stack, "Web", webservice.Props{
		Cluster:          cluster,
		SecurityGroup:    tasks,
		LogGroup:         logs,
		Image:            awsecs.ContainerImage_FromEcrRepository(props.Repository, jsii.String(imagetag.Live)),
		Family:           env.FullName(),
		Architecture:     env.Architecture,
		CPU:              env.Service.CPU,
		MemoryMiB:        env.Service.Memory,
		DesiredCount:     env.Service.DesiredCount,
		ContainerPort:    env.Service.ContainerPort,
		Command:          env.Service.Command,
		HealthCheckPath:  env.Service.HealthCheckPath,
		HealthCheckCodes: env.Service.HealthCheckCodes,
		HealthCheckGrace: healthCheckGrace(env),
		Environment:      environmentVariables(env, props),
		Secrets:          secrets(stack, env, props),
		Permissions:      []policy.Statement{bucket.AllowObjects(props.Bucket)},
		ManagedPolicies:  env.Service.TaskPolicyArns,
	})
	waitFor(web.Service, schema.Resource)

	output(stack, "ClusterName", "ECS cluster", cluster.ClusterName())
	output(stack, "ServiceName", "ECS service of the application", web.Service.ServiceName())
	output(stack, "AlbDnsName", "DNS name of the load balancer", web.LoadBalancer.LoadBalancerDnsName())
	url := output(stack, "ApplicationUrl", "URL of the application", jsii.String("http://"+*web.LoadBalancer.LoadBalancerDnsName()))
	return &ServiceStack{Stack: stack, Cluster: cluster, Service: web.Service, TaskRoles: web.TaskRoles, URL: url}
}

func newCluster(stack awscdk.Stack, props ServiceStackProps) awsecs.Cluster {
	cluster := awsecs.NewCluster(stack, jsii.String("Cluster"), &awsecs.ClusterProps{
		Vpc: props.VPC,
		// An account's own default could switch it on, and its log group would outlive the stack.
		ContainerInsightsV2: awsecs.ContainerInsights_DISABLED,
		// The default gives every task role the right to write any log group.
		ExecuteCommandConfiguration: &awsecs.ExecuteCommandConfiguration{Logging: awsecs.ExecuteCommandLogging_NONE},
	})
	// The L2 associates the provider by a resource of its own, which nothing makes the service wait for, at creation or at
	// deletion. As a property of the cluster it is there before any service.
	cluster.Node().DefaultChild().(awsecs.CfnCluster).SetCapacityProviders(jsii.Strings("FARGATE"))
	nag.Accept(cluster, nag.Finding{Rule: "AwsSolutions-ECS4", Reason: "Container Insights is billed by the metric and finds no intrusion. " +
		"CPU, memory and running tasks are metrics of ECS without it, requests and errors of the load balancer."})
	return cluster
}

// newTasksSecurityGroup defines the group of everything that runs the application's image, and lets it into the database.
// It is defined here, not by the load-balanced service, because the schema task uses it before there is a service.
func newTasksSecurityGroup(stack awscdk.Stack, props ServiceStackProps) (awsec2.SecurityGroup, constructs.IDependable) {
	group := awsec2.NewSecurityGroup(stack, jsii.String("TasksSecurityGroup"), &awsec2.SecurityGroupProps{
		Vpc:         props.VPC,
		Description: jsii.String("Tasks: the port of the application, from the load balancer"),
	})
	databaseAccess := awsec2.NewCfnSecurityGroupIngress(stack, jsii.String("TasksToDatabase"), &awsec2.CfnSecurityGroupIngressProps{
		Description:           jsii.String("MySQL from the tasks"),
		GroupId:               props.Database.SecurityGroup.SecurityGroupId(),
		SourceSecurityGroupId: group.SecurityGroupId(),
		IpProtocol:            jsii.String("tcp"),
		FromPort:              jsii.Number(appenv.MySQLPort),
		ToPort:                jsii.Number(appenv.MySQLPort),
	})
	return group, databaseAccess
}

// waitFor makes the service itself, and nothing else of its construct, wait for the schema: the task needs the service's
// neighbours, so that a dependency of the whole construct would be a cycle that only CloudFormation reports.
func waitFor(service awsecs.FargateService, schema awscdk.CustomResource) {
	service.Node().DefaultChild().(awscdk.CfnResource).AddResourceDependency(schema.Node().DefaultChild().(awscdk.CfnResource), nil)
}

// environmentVariables is the application's contract, then what the configuration adds.
func environmentVariables(env config.Environment, props ServiceStackProps) map[string]string {
	variables := map[string]string{
		appenv.Role:         appenv.Web,
		appenv.Port:         strconv.Itoa(env.Service.ContainerPort),
		appenv.DatabaseHost: *props.Database.Instance.DbInstanceEndpointAddress(),
		appenv.DatabasePort: strconv.Itoa(appenv.MySQLPort),
		appenv.DatabaseName: props.Database.Name,
		appenv.PhotosBucket: *props.Bucket.BucketName(),
	}
	if status := env.Service.HealthyStatus(); status != http.StatusOK {
		variables[appenv.PlaceholderStatus] = strconv.Itoa(status)
	}
	maps.Copy(variables, env.Service.Environment)
	return variables
}

// secrets is the application's contract, then what the configuration adds. ECS reads the values when a task starts.
func secrets(stack awscdk.Stack, env config.Environment, props ServiceStackProps) map[string]awsecs.Secret {
	values := *props.Database.Secrets()
	values[appenv.FlaskSecret] = awsecs.Secret_FromSecretsManager(props.FlaskSecret, nil)
	given := constructs.NewConstruct(stack, jsii.String("Secrets"))
	for name, reference := range env.Service.Secrets {
		values[name] = givenSecret(given, name, reference)
	}
	return values
}

// givenSecret imports a secret by its ARN, which one key of a JSON secret may follow: arn:…:secret:name-AbCdEf:key::
func givenSecret(scope constructs.Construct, name, reference string) awsecs.Secret {
	parts := strings.Split(reference, ":")
	arn, key := strings.Join(parts[:7], ":"), ""
	if len(parts) > 7 {
		key = parts[7]
	}
	secret := awssecretsmanager.Secret_FromSecretCompleteArn(scope, jsii.String(name), jsii.String(arn))
	return awsecs.Secret_FromSecretsManager(secret, optional(key))
}

func healthCheckGrace(env config.Environment) time.Duration {
	return time.Duration(env.Service.HealthCheckGraceSeconds) * time.Second
}

// deployTimeout is how long the pipeline waits for a deployment of the service.
func deployTimeout(env config.Environment) time.Duration {
	return webservice.DeployTimeout(healthCheckGrace(env))
}
