// The four stacks of the environment `dev` with the same resources as ours, written as one writes a small CDK application in
// JavaScript: one file, no configuration, no choices. It runs in the folder of cdk.json, whose feature flags it shares.
'use strict';

const path = require('node:path');
const cdk = require('aws-cdk-lib');
const codebuild = require('aws-cdk-lib/aws-codebuild');
const codeconnections = require('aws-cdk-lib/aws-codeconnections');
const codepipeline = require('aws-cdk-lib/aws-codepipeline');
const actions = require('aws-cdk-lib/aws-codepipeline-actions');
const ec2 = require('aws-cdk-lib/aws-ec2');
const ecr = require('aws-cdk-lib/aws-ecr');
const ecs = require('aws-cdk-lib/aws-ecs');
const patterns = require('aws-cdk-lib/aws-ecs-patterns');
const events = require('aws-cdk-lib/aws-events');
const targets = require('aws-cdk-lib/aws-events-targets');
const iam = require('aws-cdk-lib/aws-iam');
const lambda = require('aws-cdk-lib/aws-lambda');
const logs = require('aws-cdk-lib/aws-logs');
const rds = require('aws-cdk-lib/aws-rds');
const s3 = require('aws-cdk-lib/aws-s3');
const assets = require('aws-cdk-lib/aws-s3-assets');
const secretsmanager = require('aws-cdk-lib/aws-secretsmanager');
const customresources = require('aws-cdk-lib/custom-resources');

const name = 'flask-app-dev';
const env = { region: 'us-east-1' };
const removalPolicy = cdk.RemovalPolicy.DESTROY;
const week = logs.RetentionDays.ONE_WEEK;
const privateSubnets = { subnetType: ec2.SubnetType.PRIVATE_WITH_EGRESS };

const logGroup = (scope, id, logGroupName) =>
  new logs.LogGroup(scope, id, { logGroupName, retention: week, removalPolicy });

const allow = (actions, ...resources) => new iam.PolicyStatement({ actions, resources });

const allowLogs = (logGroup) => allow(['logs:CreateLogStream', 'logs:PutLogEvents'], logGroup.logGroupArn);

const role = (scope, id, service, statements) =>
  new iam.Role(scope, id, {
    assumedBy: new iam.ServicePrincipal(service),
    inlinePolicies: { Permissions: new iam.PolicyDocument({ statements }) },
  });

const lambdaFunction = (scope, id, program, handler, memorySize, statements, environment) => {
  const logGroup_ = logGroup(scope, `${id}Logs`);
  return new lambda.Function(scope, id, {
    code: lambda.Code.fromAsset(path.resolve('dist/functions/x86_64', `${program}.zip`)),
    runtime: lambda.Runtime.PROVIDED_AL2023,
    handler,
    memorySize,
    environment,
    timeout: cdk.Duration.minutes(5),
    logGroup: logGroup_,
    role: role(scope, `${id}Role`, 'lambda.amazonaws.com', [allowLogs(logGroup_), ...statements]).withoutPolicyUpdates(),
  });
};

const allowImages = (repository) => [
  allow(['ecr:GetAuthorizationToken'], '*'),
  allow([
    'ecr:BatchCheckLayerAvailability', 'ecr:BatchGetImage', 'ecr:GetDownloadUrlForLayer',
    'ecr:InitiateLayerUpload', 'ecr:UploadLayerPart', 'ecr:CompleteLayerUpload', 'ecr:PutImage',
  ], repository.repositoryArn),
];

const bucket = (scope, id, expirationDays) =>
  new s3.Bucket(scope, id, {
    blockPublicAccess: s3.BlockPublicAccess.BLOCK_ALL,
    encryption: s3.BucketEncryption.S3_MANAGED,
    enforceSSL: true,
    lifecycleRules: [{
      abortIncompleteMultipartUploadAfter: cdk.Duration.days(7),
      expiration: expirationDays && cdk.Duration.days(expirationDays),
    }],
    removalPolicy,
    autoDeleteObjects: true,
  });

// Gives the function that the library adds to a stack for a custom resource of its own a log group and a narrower role.
const declareProviderLogs = (stack, id) => {
  const provider = stack.node.findChild(id);
  const group = logGroup(provider, 'Logs');
  const handler = provider.node.findChild('Handler');
  handler.addPropertyOverride('LoggingConfig', { LogGroup: group.logGroupName });
  const providerRole = provider.node.findChild('Role');
  providerRole.addPropertyDeletionOverride('ManagedPolicyArns');
  handler.addResourceDependency(new iam.CfnRolePolicy(provider, 'WriteLogs', {
    roleName: providerRole.ref,
    policyName: 'WriteLogs',
    policyDocument: new iam.PolicyDocument({
      statements: [allowLogs(group)],
    }),
  }));
};

const secretString = (passwordLength, more) => ({
  passwordLength, excludePunctuation: true, includeSpace: false, requireEachIncludedType: true, ...more,
});

class NetworkStack extends cdk.Stack {
  constructor(scope, id) {
    super(scope, id, { env, stackName: `${name}-network` });
    this.vpc = new ec2.Vpc(this, 'Network', {
      ipAddresses: ec2.IpAddresses.cidr('10.0.0.0/16'),
      availabilityZones: [0, 1].map((i) => cdk.Fn.select(i, cdk.Fn.getAzs(''))),
      natGateways: 1,
      subnetConfiguration: [
        { name: 'Public', subnetType: ec2.SubnetType.PUBLIC, mapPublicIpOnLaunch: false },
        { name: 'Private', subnetType: ec2.SubnetType.PRIVATE_WITH_EGRESS },
      ],
      gatewayEndpoints: { S3: { service: ec2.GatewayVpcEndpointAwsService.S3, subnets: [privateSubnets] } },
    });
    declareProviderLogs(this, 'Custom::VpcRestrictDefaultSGCustomResourceProvider');
  }
}

class DataStack extends cdk.Stack {
  constructor(scope, id, { vpc }) {
    super(scope, id, { env, stackName: `${name}-data` });
    this.repository = new ecr.Repository(this, 'Repository', {
      imageScanOnPush: true,
      lifecycleRules: [
        { tagPatternList: ['live'], maxImageCount: 1 },
        { tagPatternList: ['seed'], maxImageCount: 1 },
        { tagPatternList: ['sha-*'], maxImageCount: 20 },
        { tagStatus: ecr.TagStatus.UNTAGGED, maxImageAge: cdk.Duration.days(14) },
      ],
      removalPolicy,
      emptyOnDelete: true,
    });
    const seed = new cdk.CustomResource(this, 'SeedImage', {
      resourceType: 'Custom::SeedImage',
      serviceToken: lambdaFunction(this, 'SeedImageHandler', 'seedimage', 'bootstrap', 512, allowImages(this.repository)).functionArn,
      properties: {
        RepositoryName: this.repository.repositoryName,
        ContainerPort: '5000',
        Architecture: 'X86_64',
        ProgramVersion: cdk.FileSystem.fingerprint(path.resolve('dist/functions/x86_64/seedimage.zip')),
      },
    });
    this.bucket = bucket(this, 'Bucket');
    this.databaseGroup = new ec2.SecurityGroup(this, 'DatabaseSecurityGroup', { vpc, allowAllOutbound: false });
    const credentials = new secretsmanager.Secret(this, 'Credentials', {
      generateSecretString: secretString(32, { secretStringTemplate: '{"username":"admin"}', generateStringKey: 'password' }),
      removalPolicy,
    });
    const engine = rds.DatabaseInstanceEngine.mysql({ version: rds.MysqlEngineVersion.of('8.0', '8.0') });
    this.database = new rds.DatabaseInstance(this, 'Database', {
      engine,
      parameterGroup: new rds.ParameterGroup(this, 'Parameters', { engine, parameters: { require_secure_transport: '1' } }),
      instanceType: new ec2.InstanceType('t4g.micro'),
      databaseName: 'flaskdb',
      credentials: rds.Credentials.fromSecret(credentials, 'admin'),
      storageType: rds.StorageType.GP3,
      allocatedStorage: 20,
      storageEncrypted: true,
      vpc,
      vpcSubnets: privateSubnets,
      securityGroups: [this.databaseGroup],
      publiclyAccessible: false,
      backupRetention: cdk.Duration.days(7),
      removalPolicy,
    });
    this.database.node.addDependency(seed);
    cdk.Validations.of(this.database).acknowledge({ id: 'CloudFormation-Validate::E9006', reason: 'RDS accepts the major form.' });
    this.flaskSecret = new secretsmanager.Secret(this, 'FlaskSecret', { generateSecretString: secretString(64), removalPolicy });
    declareProviderLogs(this, 'Custom::S3AutoDeleteObjectsCustomResourceProvider');
    new cdk.CfnOutput(this, 'RdsEndpoint', { value: this.database.dbInstanceEndpointAddress });
    new cdk.CfnOutput(this, 'S3BucketName', { value: this.bucket.bucketName });
  }
}

class ServiceStack extends cdk.Stack {
  constructor(scope, id, props) {
    super(scope, id, { env, stackName: `${name}-service` });
    const { vpc, data } = props;
    const cluster = new ecs.Cluster(this, 'Cluster', {
      vpc,
      containerInsightsV2: ecs.ContainerInsights.DISABLED,
      executeCommandConfiguration: { logging: ecs.ExecuteCommandLogging.NONE },
    });
    cluster.node.defaultChild.capacityProviders = ['FARGATE'];
    const tasks = new ec2.SecurityGroup(this, 'TasksSecurityGroup', { vpc });
    const databaseAccess = new ec2.CfnSecurityGroupIngress(this, 'TasksToDatabase', {
      groupId: data.databaseGroup.securityGroupId,
      sourceSecurityGroupId: tasks.securityGroupId,
      ipProtocol: 'tcp',
      fromPort: 3306,
      toPort: 3306,
    });
    const environment = {
      DATABASE_HOST: data.database.dbInstanceEndpointAddress,
      DATABASE_DB_NAME: 'flaskdb',
    };
    const secrets = {
      DATABASE_USER: ecs.Secret.fromSecretsManager(data.database.secret, 'username'),
      DATABASE_PASSWORD: ecs.Secret.fromSecretsManager(data.database.secret, 'password'),
    };
    const schema = this.newSchemaInit({ ...props, cluster, tasks, databaseAccess, environment, secrets });
    this.cluster = cluster;
    this.web = this.newWeb({ ...props, cluster, tasks, environment, secrets });
    this.web.service.node.defaultChild.addResourceDependency(schema.node.defaultChild);
    new cdk.CfnOutput(this, 'AlbDnsName', { value: this.web.loadBalancer.loadBalancerDnsName });
    new cdk.CfnOutput(this, 'ApplicationUrl', { value: `http://${this.web.loadBalancer.loadBalancerDnsName}` });
  }

  newSchemaInit({ vpc, data, cluster, tasks, databaseAccess, environment, secrets }) {
    const logGroup_ = logGroup(this, 'SchemaLogs', `/ecs/${name}-schema`);
    const sql = new assets.Asset(this, 'Sql', { path: path.resolve('dist/schema') });
    const task = this.newTaskDefinition('SchemaTask', `${name}-schema`, { volumes: [{ name: 'schema' }] });
    task.addToTaskRolePolicy(allow(['s3:GetObject'], sql.bucket.arnForObjects(sql.s3ObjectKey)));
    const logging = ecs.LogDriver.awsLogs({ logGroup: logGroup_, streamPrefix: 'schema' });
    const fetch = task.addContainer('fetch', {
      image: ecs.ContainerImage.fromEcrRepository(data.repository, 'seed'),
      command: ['fetch'],
      essential: false,
      environment: { SCHEMA_BUCKET: sql.s3BucketName, SCHEMA_KEY: sql.s3ObjectKey, SCHEMA_DIR: '/schema' },
      logging,
    });
    const mysql = task.addContainer('mysql', {
      image: ecs.ContainerImage.fromRegistry('public.ecr.aws/docker/library/mysql:8.0'),
      command: ['sh', '-c', 'mysql < /schema/sql/init.sql'],
      environment: { ...environment, SCHEMA_DIR: '/schema' },
      secrets,
      stopTimeout: cdk.Duration.seconds(20),
      logging,
    });
    for (const container of [fetch, mysql]) {
      container.addMountPoints({ sourceVolume: 'schema', containerPath: '/schema', readOnly: false });
    }
    mysql.addContainerDependencies({ container: fetch, condition: ecs.ContainerDependencyCondition.SUCCESS });

    const conditions = { ArnEquals: { 'ecs:cluster': cluster.clusterArn } };
    const frameworkLogs = logGroup(this, 'ProviderLogs');
    const provider = new customresources.Provider(this, 'Provider', {
      onEventHandler: lambdaFunction(this, 'OnEvent', 'schemainit', 'onEvent', 128, [
        new iam.PolicyStatement({
          actions: ['ecs:RunTask'],
          resources: [this.formatArn({ service: 'ecs', resource: 'task-definition', resourceName: `${name}-schema:*` })],
          conditions,
        }),
        new iam.PolicyStatement({
          actions: ['iam:PassRole'],
          resources: [task.taskRole.roleArn, task.obtainExecutionRole().roleArn],
          conditions: { StringEquals: { 'iam:PassedToService': 'ecs-tasks.amazonaws.com' } },
        }),
      ]),
      isCompleteHandler: lambdaFunction(this, 'IsComplete', 'schemainit', 'isComplete', 128, [
        new iam.PolicyStatement({
          actions: ['ecs:DescribeTasks', 'ecs:StopTask'],
          resources: [this.formatArn({ service: 'ecs', resource: 'task', resourceName: `${cluster.clusterName}/*` })],
          conditions,
        }),
        allow(['logs:GetLogEvents'], logGroup_.logGroupArn),
      ]),
      queryInterval: cdk.Duration.seconds(5),
      totalTimeout: cdk.Duration.minutes(35),
      logGroup: frameworkLogs,
      frameworkOnEventRole: role(this, 'ProviderOnEventRole', 'lambda.amazonaws.com', [allowLogs(frameworkLogs)]),
      frameworkCompleteAndTimeoutRole: role(this, 'ProviderIsCompleteRole', 'lambda.amazonaws.com', [allowLogs(frameworkLogs)]),
      disableWaiterStateMachineLogging: true,
    });
    const resource = new cdk.CustomResource(this, 'SchemaInit', {
      resourceType: 'Custom::SchemaInit',
      serviceToken: provider.serviceToken,
      serviceTimeout: cdk.Duration.minutes(55),
      properties: {
        Cluster: cluster.clusterArn,
        TaskDefinition: task.taskDefinitionArn,
        Subnets: vpc.selectSubnets(privateSubnets).subnetIds,
        SecurityGroups: [tasks.securityGroupId],
        LogGroup: logGroup_.logGroupName,
        SchemaHash: sql.assetHash,
        DatabaseResourceId: data.database.instanceResourceId,
      },
    });
    resource.node.addDependency(task.taskRole, task.executionRole, databaseAccess);
    return resource;
  }

  newWeb({ data, cluster, tasks, environment, secrets }) {
    const logGroup_ = logGroup(this, 'Logs', `/ecs/${name}`);
    const taskDefinition = this.newTaskDefinition('TaskDefinition', name);
    taskDefinition.addToTaskRolePolicy(allow(['s3:GetObject', 's3:PutObject', 's3:DeleteObject'], data.bucket.arnForObjects('*')));
    taskDefinition.addContainer('app', {
      image: ecs.ContainerImage.fromEcrRepository(data.repository, 'live'),
      portMappings: [{ containerPort: 5000 }],
      environment: { ...environment, PHOTOS_BUCKET: data.bucket.bucketName },
      secrets: { ...secrets, FLASK_SECRET: ecs.Secret.fromSecretsManager(data.flaskSecret) },
      stopTimeout: cdk.Duration.seconds(20),
      logging: ecs.LogDriver.awsLogs({ logGroup: logGroup_, streamPrefix: 'app' }),
    });
    const service = new patterns.ApplicationLoadBalancedFargateService(this, 'Web', {
      cluster,
      taskDefinition,
      desiredCount: 1,
      enableExecuteCommand: true,
      propagateTags: ecs.PropagatedTagSource.SERVICE,
      capacityProviderStrategies: [{ capacityProvider: 'FARGATE', weight: 1 }],
      publicLoadBalancer: true,
      listenerPort: 80,
      securityGroups: [tasks],
      taskSubnets: privateSubnets,
      assignPublicIp: false,
      minHealthyPercent: 100,
      maxHealthyPercent: 200,
      circuitBreaker: { enable: true, rollback: true },
      healthCheckGracePeriod: cdk.Duration.seconds(60),
    });
    service.targetGroup.configureHealthCheck({
      path: '/',
      healthyHttpCodes: '200-399',
      interval: cdk.Duration.seconds(10),
      timeout: cdk.Duration.seconds(5),
      healthyThresholdCount: 2,
      unhealthyThresholdCount: 2,
    });
    service.targetGroup.setAttribute('deregistration_delay.timeout_seconds', '20');
    service.service.node.addDependency(taskDefinition.executionRole);
    return service;
  }

  newTaskDefinition(id, family, props) {
    return new ecs.FargateTaskDefinition(this, id, {
      family,
      cpu: 256,
      memoryLimitMiB: 512,
      runtimePlatform: { cpuArchitecture: ecs.CpuArchitecture.X86_64, operatingSystemFamily: ecs.OperatingSystemFamily.LINUX },
      ...props,
    });
  }
}

class PipelineStack extends cdk.Stack {
  constructor(scope, id, { data, cluster, web }) {
    super(scope, id, { env, stackName: `${name}-pipeline` });
    const release = this.newRelease(data, cluster, web);
    const artifacts = bucket(this, 'Artifacts', 30);
    const connection = new codeconnections.CfnConnection(this, 'Connection', { connectionName: name, providerType: 'GitHub' });
    const build = this.newBuild(data, artifacts);
    const source = new codepipeline.Artifact('Source');
    const image = new codepipeline.Artifact('Image');
    const fetch = new actions.CodeStarConnectionsSourceAction({
      actionName: 'Source', connectionArn: connection.attrConnectionArn, owner: 'my-org', repo: 'my-app', branch: 'main', output: source,
    });
    new codepipeline.Pipeline(this, 'Pipeline', {
      pipelineType: codepipeline.PipelineType.V2,
      executionMode: codepipeline.ExecutionMode.SUPERSEDED,
      artifactBucket: artifacts,
      crossAccountKeys: false,
      role: role(this, 'Role', 'codepipeline.amazonaws.com', [
        allow(['codeconnections:UseConnection', 'codestar-connections:UseConnection'], connection.attrConnectionArn),
        allow(['s3:GetBucketVersioning', 's3:GetBucketAcl', 's3:GetBucketLocation'], artifacts.bucketArn),
        allow(['s3:GetObject', 's3:GetObjectVersion', 's3:PutObject', 's3:PutObjectAcl'], artifacts.arnForObjects('*')),
        allow(['codebuild:BatchGetBuilds', 'codebuild:StartBuild', 'codebuild:StopBuild'], build.projectArn),
        allow(['ecs:DescribeServices', 'ecs:UpdateService'], web.service.serviceArn),
        allow(['ecs:RegisterTaskDefinition', 'ecs:TagResource'], this.formatArn({ service: 'ecs', resource: 'task-definition', resourceName: `${name}:*` })),
        allow(['ecs:DescribeTaskDefinition'], '*'),
        allow(['iam:PassRole'], web.taskDefinition.taskRole.roleArn, web.taskDefinition.executionRole.roleArn),
        allow(['lambda:InvokeFunction'], release.functionArn),
      ]).withoutPolicyUpdates(),
      usePipelineRoleForActions: true,
      triggers: [{
        providerType: codepipeline.ProviderType.CODE_STAR_SOURCE_CONNECTION,
        gitConfiguration: { sourceAction: fetch, pushFilter: [{ branchesIncludes: ['main'] }] },
      }],
      stages: [
        { stageName: 'Source', actions: [fetch] },
        { stageName: 'Build', actions: [new actions.CodeBuildAction({ actionName: 'Build', project: build, input: source, outputs: [image] })] },
        {
          stageName: 'Deploy',
          actions: [new actions.EcsDeployAction({
            actionName: 'Deploy', service: web.service, input: image, deploymentTimeout: cdk.Duration.minutes(12),
          }), new actions.LambdaInvokeAction({ actionName: 'Release', lambda: release, inputs: [image] })],
        },
      ],
    });
    declareProviderLogs(this, 'Custom::S3AutoDeleteObjectsCustomResourceProvider');
  }

  newRelease(data, cluster, web) {
    const { serviceArn, serviceName } = web.service;
    const arn = (resource, resourceName) => this.formatArn({ service: 'ecs', resource, resourceName });
    const release = lambdaFunction(this, 'Release', 'release', 'bootstrap', 128, [
      allow(['ecs:DescribeServices', 'ecs:ListServiceDeployments'], serviceArn),
      allow(['ecs:DescribeServiceDeployments'], arn('service-deployment', `${cluster.clusterName}/${serviceName}/*`)),
      allow(['ecs:DescribeServiceRevisions'], arn('service-revision', `${cluster.clusterName}/${serviceName}/*`)),
      allow(['ecs:DescribeTasks'], arn('task', `${cluster.clusterName}/*`)),
      allow(['ecr:BatchGetImage', 'ecr:ListImages', 'ecr:PutImage'], data.repository.repositoryArn),
      allow(['ecs:ListTasks', 'codepipeline:PutJobSuccessResult', 'codepipeline:PutJobFailureResult'], '*'),
    ], {
      CLUSTER: cluster.clusterArn,
      SERVICE: serviceName,
      REPOSITORY: data.repository.repositoryName,
      CONTAINER_NAME: 'app',
      DEPLOY_TIMEOUT_SECONDS: '720',
    });
    new events.Rule(this, 'DeploymentEnded', {
      eventPattern: {
        source: ['aws.ecs'],
        detailType: ['ECS Deployment State Change'],
        resources: [serviceArn],
        detail: { eventName: ['SERVICE_DEPLOYMENT_COMPLETED', 'SERVICE_DEPLOYMENT_FAILED'] },
      },
      targets: [new targets.LambdaFunction(release)],
    });
    return release;
  }

  newBuild(data, artifacts) {
    const logGroup_ = logGroup(this, 'BuildLogs');
    return new codebuild.PipelineProject(this, 'Build', {
      buildSpec: codebuild.BuildSpec.fromSourceFilename('buildspec.yml'),
      environment: { buildImage: codebuild.LinuxBuildImage.STANDARD_7_0, privileged: true },
      environmentVariables: {
        REPOSITORY_URI: { value: data.repository.repositoryUri },
        CONTAINER_NAME: { value: 'app' },
      },
      role: role(this, 'BuildRole', 'codebuild.amazonaws.com', [
        allowLogs(logGroup_),
        allow(['s3:GetBucketAcl', 's3:GetBucketLocation'], artifacts.bucketArn),
        allow(['s3:GetObject', 's3:GetObjectVersion', 's3:PutObject'], artifacts.arnForObjects('*')),
        ...allowImages(data.repository),
      ]).withoutPolicyUpdates(),
      timeout: cdk.Duration.minutes(30),
      grantReportGroupPermissions: false,
      logging: { cloudWatch: { logGroup: logGroup_ } },
    });
  }
}

const app = new cdk.App();
const { vpc } = new NetworkStack(app, 'Network');
const data = new DataStack(app, 'Data', { vpc });
const { cluster, web } = new ServiceStack(app, 'Service', { vpc, data });
new PipelineStack(app, 'Pipeline', { data, cluster, web });
cdk.Tags.of(app).add('project', 'flask-app');
cdk.Tags.of(app).add('environment', 'dev');
app.synth();
