// Package schemainit applies the SQL files of this project to a database before anything that needs the schema starts.
package schemainit

import (
	_ "embed"
	"path/filepath"
	"strconv"
	"time"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsec2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsecr"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsecs"
	"github.com/aws/aws-cdk-go/awscdk/v2/awslambda"
	"github.com/aws/aws-cdk-go/awscdk/v2/awslogs"
	"github.com/aws/aws-cdk-go/awscdk/v2/awss3assets"
	"github.com/aws/aws-cdk-go/awscdk/v2/customresources"
	"github.com/aws/constructs-go/constructs/v10"
	"github.com/aws/jsii-runtime-go"

	"flask-on-fargate/constructs/database"
	"flask-on-fargate/constructs/function"
	"flask-on-fargate/constructs/loggroup"
	"flask-on-fargate/constructs/repository"
	"flask-on-fargate/internal/appenv"
	"flask-on-fargate/internal/cdk"
	"flask-on-fargate/internal/imagetag"
	"flask-on-fargate/internal/nag"
	"flask-on-fargate/internal/platform"
	"flask-on-fargate/internal/policy"
)

// The containers of the task, which runs them one after the other.
const (
	FetchContainer = "fetch" // unpacks the SQL files into the volume
	MySQLContainer = "mysql" // applies them
)

// How long the gate waits. The framework's waiter counts polls, each of which takes the interval and up to two seconds, and
// CloudFormation waits for a custom resource an hour at most.
const (
	// TaskTimeout is how long the task may run; then the gate stops it and says so.
	TaskTimeout = 30 * time.Minute

	pollInterval   = 5 * time.Second
	totalTimeout   = TaskTimeout + 5*time.Minute
	serviceTimeout = 55 * time.Minute
)

const (
	program   = "schemainit" // the functions' folder below functions/
	volume    = "schema"
	schemaDir = "/schema"
)

// apply is the command of the mysql container.
//
//go:embed apply.sh
var apply string

// Props configures [New]. All but AssetKeyArn are required.
type Props struct {
	VPC              awsec2.IVpc
	Cluster          awsecs.ICluster
	SecurityGroup    awsec2.ISecurityGroup // of the task; DatabaseAccess lets it into the database
	DatabaseAccess   constructs.IDependable
	Database         *database.Database
	Repository       awsecr.IRepository // with the seed image
	Architecture     platform.Architecture
	Family           string // of the task definition
	LogGroupName     string
	LogRetentionDays int

	AssetKeyArn string // default: the bootstrap bucket has no KMS key of its own
}

// SchemaInit runs the schema task whenever the SQL files, the engine or the database change, waits for its exit code, and
// fails the deployment with the real reason.
type SchemaInit struct {
	Resource awscdk.CustomResource // what needs the schema depends on it
}

// New defines a SchemaInit under scope.
func New(scope constructs.Construct, id string, props Props) *SchemaInit {
	this := constructs.NewConstruct(scope, jsii.String(id))
	logs := loggroup.New(this, "Logs", loggroup.Props{Name: props.LogGroupName, RetentionDays: props.LogRetentionDays})
	sql := awss3assets.NewAsset(this, jsii.String("Sql"), &awss3assets.AssetProps{Path: jsii.String(assetDir())})
	task := newTask(this, props, logs, sql)

	resource := awscdk.NewCustomResource(this, jsii.String("Resource"), &awscdk.CustomResourceProps{
		ResourceType:   jsii.String("Custom::SchemaInit"),
		ServiceToken:   newProvider(this, props, task, logs).ServiceToken(),
		ServiceTimeout: cdk.Duration(serviceTimeout),
		Properties: &map[string]any{
			"Cluster":            props.Cluster.ClusterArn(),
			"TaskDefinition":     task.TaskDefinitionArn(),
			"Subnets":            privateSubnets(props.VPC),
			"SecurityGroups":     []*string{props.SecurityGroup.SecurityGroupId()},
			"LogGroup":           logs.LogGroupName(),
			"LogStreamPrefix":    volume,
			"SchemaHash":         sql.AssetHash(),
			"EngineVersion":      props.Database.EngineVersion,
			"DatabaseResourceId": props.Database.Instance.InstanceResourceId(),
			"TimeoutSeconds":     strconv.Itoa(int(TaskTimeout.Seconds())),
		},
	})
	// CloudFormation sees that the resource needs the task definition, not what the task needs.
	resource.Node().AddDependency(task.TaskRole(), task.ExecutionRole(), props.DatabaseAccess)
	return &SchemaInit{Resource: resource}
}

// newTask defines the one-off task. Neither the mysql image nor the AWS CLI's can unpack an archive, so that the seed
// image does it first.
func newTask(scope constructs.Construct, props Props, logs awslogs.ILogGroup, sql awss3assets.Asset) awsecs.FargateTaskDefinition {
	task := awsecs.NewFargateTaskDefinition(scope, jsii.String("Task"), &awsecs.FargateTaskDefinitionProps{
		Family:          jsii.String(props.Family),
		Cpu:             jsii.Number(256),
		MemoryLimitMiB:  jsii.Number(512),
		RuntimePlatform: cdk.RuntimePlatform(props.Architecture),
		Volumes:         &[]*awsecs.Volume{{Name: jsii.String(volume)}},
	})
	task.AddToTaskRolePolicy(policy.Allow("s3:GetObject").On(sql.Bucket().ArnForObjects(sql.S3ObjectKey())).CDK())
	if props.AssetKeyArn != "" {
		task.AddToTaskRolePolicy(policy.Allow("kms:Decrypt").On(jsii.String(props.AssetKeyArn)).CDK())
	}
	logging := awsecs.LogDriver_AwsLogs(&awsecs.AwsLogDriverProps{LogGroup: logs, StreamPrefix: jsii.String(volume)})

	fetch := task.AddContainer(jsii.String(FetchContainer), &awsecs.ContainerDefinitionOptions{
		Image:     awsecs.ContainerImage_FromEcrRepository(props.Repository, jsii.String(imagetag.Seed)),
		Command:   jsii.Strings("fetch"),
		Essential: jsii.Bool(false), // it ends before the task does
		Environment: &map[string]*string{
			"SCHEMA_BUCKET": sql.S3BucketName(),
			"SCHEMA_KEY":    sql.S3ObjectKey(),
			"SCHEMA_DIR":    jsii.String(schemaDir),
		},
		Logging: logging,
	})
	mysql := task.AddContainer(jsii.String(MySQLContainer), &awsecs.ContainerDefinitionOptions{
		// Not from Docker Hub, which limits anonymous pulls.
		Image:   awsecs.ContainerImage_FromRegistry(jsii.String("public.ecr.aws/docker/library/mysql:"+props.Database.EngineVersion), nil),
		Command: jsii.Strings("sh", "-c", apply),
		Environment: &map[string]*string{
			appenv.DatabaseHost: props.Database.Instance.DbInstanceEndpointAddress(),
			appenv.DatabaseName: jsii.String(props.Database.Name),
			"SCHEMA_DIR":        jsii.String(schemaDir),
		},
		Secrets:     props.Database.Secrets(),
		StopTimeout: cdk.Duration(20 * time.Second),
		Logging:     logging,
	})
	for _, container := range []awsecs.ContainerDefinition{fetch, mysql} {
		container.AddMountPoints(&awsecs.MountPoint{
			SourceVolume: jsii.String(volume), ContainerPath: jsii.String(schemaDir), ReadOnly: jsii.Bool(false),
		})
	}
	mysql.AddContainerDependencies(&awsecs.ContainerDependency{Container: fetch, Condition: awsecs.ContainerDependencyCondition_SUCCESS})
	nag.Accept(task, nag.Finding{Rule: "AwsSolutions-ECS2", Reason: "The variables are names and addresses of this stack's resources, and no " +
		"secret: user and password come from Secrets Manager."})
	policy.Explain(task.ExecutionRole(), repository.AllowLogin())
	return task
}

// newProvider defines the framework that turns two short functions into a resource that waits.
func newProvider(scope constructs.Construct, props Props, task awsecs.FargateTaskDefinition, logs awslogs.ILogGroup) customresources.Provider {
	handler := func(id, name, description string, permissions []policy.Statement) awslambda.Function {
		return function.New(scope, id, function.Props{
			Program:          program,
			Handler:          name,
			Description:      description,
			Architecture:     props.Architecture,
			Timeout:          5 * time.Minute, // most of it for retries, while a new role is not yet known everywhere
			LogRetentionDays: props.LogRetentionDays,
			Permissions:      permissions,
		})
	}
	frameworkLogs := loggroup.New(scope, "ProviderLogs", loggroup.Props{RetentionDays: props.LogRetentionDays})
	start := handler("OnEvent", "onEvent", "Starts the schema task", startPermissions(props, task))
	wait := handler("IsComplete", "isComplete", "Waits for the schema task", waitPermissions(props, logs))
	startRole := policy.NewOpenRole(scope, "ProviderOnEventRole", function.Service, function.AllowLogs(frameworkLogs))
	waitRole := policy.NewOpenRole(scope, "ProviderIsCompleteRole", function.Service, function.AllowLogs(frameworkLogs))
	provider := customresources.NewProvider(scope, jsii.String("Provider"), &customresources.ProviderProps{
		OnEventHandler:                   start,
		IsCompleteHandler:                wait,
		QueryInterval:                    cdk.Duration(pollInterval),
		TotalTimeout:                     cdk.Duration(totalTimeout),
		LogGroup:                         frameworkLogs,
		FrameworkOnEventRole:             startRole,
		FrameworkCompleteAndTimeoutRole:  waitRole,
		DisableWaiterStateMachineLogging: jsii.Bool(true),
	})
	handlers := versions("a version of a function of this project: the library's framework asks for them beside the function itself", start, wait)
	policy.Explain(startRole, handlers)
	policy.Explain(waitRole, handlers)
	explainWaiter(provider)
	return provider
}

// versions explains what the library's grantInvoke adds for each function.
func versions(reason string, functions ...awslambda.IFunction) policy.Statement {
	var arns []*string
	for _, f := range functions {
		arns = append(arns, jsii.String(*f.FunctionArn()+":*"))
	}
	return policy.Allow("lambda:InvokeFunction").On(arns...).Because(reason)
}

// explainWaiter says why the library's state machine, which calls the framework's functions until the task has ended, is as it is.
func explainWaiter(provider customresources.Provider) {
	child := func(parent constructs.IConstruct, id string) constructs.IConstruct {
		return parent.Node().FindChild(jsii.String(id))
	}
	waiter := child(provider, "waiter-state-machine")
	nag.Accept(waiter,
		nag.Finding{Rule: "AwsSolutions-SF1", Reason: "It only repeats a poll, whose function logs. Its own logging needs eight actions of " +
			"CloudWatch Logs on every resource, some of which change the policies of other log groups."},
		nag.Finding{Rule: "AwsSolutions-SF2", Reason: "It only repeats a poll of one function. Traces cost, need actions on every resource, and " +
			"would show what the function's log says."})
	policy.Explain(child(waiter, "Role"), versions("a version of a function of the library's own framework",
		child(provider, "framework-isComplete").(awslambda.Function), child(provider, "framework-onTimeout").(awslambda.Function)))
}

// startPermissions covers every revision of the task's family: a rollback starts an older one.
func startPermissions(props Props, task awsecs.FargateTaskDefinition) []policy.Statement {
	family := ecsARN(task, "task-definition", props.Family+":*")
	return []policy.Statement{
		policy.Allow("ecs:RunTask").On(family).If("ArnEquals", "ecs:cluster", *props.Cluster.ClusterArn()).
			Because("every revision of the schema task's own family: a rollback starts an older one"),
		policy.Allow("iam:PassRole").On(task.TaskRole().RoleArn(), task.ObtainExecutionRole().RoleArn()).
			If("StringEquals", "iam:PassedToService", "ecs-tasks.amazonaws.com"),
	}
}

func waitPermissions(props Props, logs awslogs.ILogGroup) []policy.Statement {
	tasks := ecsARN(logs, "task", *props.Cluster.ClusterName()+"/*")
	return []policy.Statement{
		policy.Allow("ecs:DescribeTasks", "ecs:StopTask").On(tasks).If("ArnEquals", "ecs:cluster", *props.Cluster.ClusterArn()).
			Because("the tasks of the environment's own cluster, whose ids ECS makes"),
		policy.Allow("logs:GetLogEvents").On(logs.LogGroupArn()),
	}
}

func ecsARN(scope constructs.IConstruct, resource, path string) *string {
	return awscdk.Stack_Of(scope).FormatArn(&awscdk.ArnComponents{
		Service: jsii.String("ecs"), Resource: jsii.String(resource), ResourceName: jsii.String(path),
	})
}

func privateSubnets(vpc awsec2.IVpc) []*string {
	var ids []*string
	for _, subnet := range *vpc.PrivateSubnets() {
		ids = append(ids, subnet.SubnetId())
	}
	return ids
}

// assetDir is what make has put together: the SQL files and the certificates of RDS.
func assetDir() string {
	dir, err := filepath.Abs(filepath.Join("dist", "schema"))
	if err != nil {
		panic("schemainit: " + err.Error())
	}
	return dir
}
