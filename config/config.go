// Package config is the typed configuration of one environment: the content of config/<name>.yaml.
//
// The structs below are the one source. Their defaults are in [Default]; the JSON Schema (schema.json, for editors and for
// [Load] itself) and the reference (docs/configuration.md) are generated from them by `go generate ./config`. The comment of a
// field goes into both, and its paragraph "Allowed:" is also what [Load] says of a value that the schema refuses. What a
// schema cannot say is in the validate methods.
package config

import (
	"strconv"
	"strings"

	"flask-on-fargate/internal/platform"
)

//go:generate go test -count=1 -run ^TestGenerated -update .

// Environment is one environment. Its name is the name of its file; every other field is a key of the file.
type Environment struct {
	// Name is the file's name without its extension.
	Name string `yaml:"-"`

	// Project names the stacks (<project>-<env>-network, …), the log group and the connection. A change makes a new environment
	// beside the old one.
	//
	// Allowed: 2 to 20 lowercase letters, digits and single hyphens, the first a letter, the last no hyphen.
	Project string `yaml:"project" jsonschema:"required,minLength=2,maxLength=20,pattern=^[a-z][a-z0-9]*(-[a-z0-9]+)*$"`
	// Account is the AWS account to deploy to. Without it the account of the credentials is used.
	//
	// Allowed: the 12 digits of an AWS account id, without hyphens; remove the key to use the account of the credentials.
	Account string `yaml:"account,omitempty" jsonschema:"pattern=^[0-9]{12}$"`
	// Region is the AWS region to deploy to.
	//
	// Allowed: a region of AWS's standard partition, as in us-east-1 or eu-central-1. GovCloud (us-gov-…), China (cn-…) and the
	// isolated regions are other partitions, with other ARNs and without public ECR, where the schema task's image comes from.
	Region string `yaml:"region" jsonschema:"required,pattern=^(af|ap|ca|eu|il|me|mx|sa|us)-(north|south|east|west|central|northeast|northwest|southeast|southwest)-[1-9]$"`
	// Architecture is the processor of the tasks and functions, and so the one that the application's image is built for. To change it after a release, first release an
	// image for both: docs/releases.md has the steps.
	//
	// Allowed: X86_64 or ARM64.
	Architecture platform.Architecture `yaml:"architecture" jsonschema:"enum=X86_64,enum=ARM64"`
	// LogRetentionDays is how long the logs of tasks, functions and builds are kept.
	//
	// Allowed: 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288 or 3653: CloudWatch
	// Logs knows no other.
	LogRetentionDays int `yaml:"logRetentionDays" jsonschema:"enum=1,enum=3,enum=5,enum=7,enum=14,enum=30,enum=60,enum=90,enum=120,enum=150,enum=180,enum=365,enum=400,enum=545,enum=731,enum=1096,enum=1827,enum=2192,enum=2557,enum=2922,enum=3288,enum=3653"`
	// Retain keeps the data when the environment is destroyed: deletion and termination protection, a final snapshot, and
	// the bucket, the image repository and both secrets stay. With false, everything goes with `cdk destroy`. A change from
	// false to true keeps all objects and images. The events of the data stack may then show one failed call of the function
	// that empties the bucket; nothing is deleted.
	//
	// Allowed: true or false.
	Retain bool `yaml:"retain"`
	// Tags are added to every resource, next to `project` and `environment`.
	//
	// Allowed: at most 48 tags, keys of 1 to 128 and values of 1 to 256 characters: letters, digits, spaces and _ . : / = + - @.
	// No key begins with aws: and none is `project` or `environment`.
	Tags map[string]string `yaml:"tags,omitempty"`
	// NotificationTopicArn is an SNS topic in the environment's region to which failures of the database, of releases and of
	// runs of the pipeline are announced.
	//
	// Allowed: the ARN of a standard (not FIFO) topic, arn:aws:sns:<region>:<account>:<name>.
	NotificationTopicArn string `yaml:"notificationTopicArn,omitempty" jsonschema:"pattern=^arn:aws:sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_-]+$"`
	// NotificationKeyArn is the KMS key that encrypts the topic, if it is encrypted. Releases and the pipeline may then use
	// the key. RDS needs a statement in the key's own policy, which allows events.rds.amazonaws.com kms:GenerateDataKey* and
	// kms:Decrypt. RDS cannot announce to a topic under AWS's own key, alias/aws/sns, whose policy cannot be changed.
	//
	// Allowed: the ARN of a KMS key, arn:aws:kms:<region>:<account>:key/<id>, together with `notificationTopicArn`.
	NotificationKeyArn string `yaml:"notificationKeyArn,omitempty" jsonschema:"pattern=^arn:aws:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+$"`
	// BootstrapKmsKeyArn is the key that encrypts the bootstrap bucket, if the account was bootstrapped with a key of its own
	// (`cdk bootstrap --bootstrap-kms-key-id`). The schema task must decrypt the SQL files there.
	//
	// Allowed: the ARN of a KMS key, arn:aws:kms:<region>:<account>:key/<id>.
	BootstrapKmsKeyArn string `yaml:"bootstrapKmsKeyArn,omitempty" jsonschema:"pattern=^arn:aws:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+$"`

	// Network is the VPC: two availability zones, a public and a private subnet in each.
	Network Network `yaml:"network"`
	// Database is the RDS MySQL instance.
	Database Database `yaml:"database" jsonschema:"required"`
	// Service is the application on ECS Fargate behind its load balancer.
	Service Service `yaml:"service"`
	// Pipeline releases the application.
	Pipeline Pipeline `yaml:"pipeline"`
	// Guard lets changes pass that `bin/infra guard` stops.
	Guard Guard `yaml:"guard"`
}

// FullName is <project>-<env>. It begins the names of the stacks and of whatever else has a name of its own.
func (e Environment) FullName() string {
	return e.Project + "-" + e.Name
}

// Network configures the VPC: two availability zones, a public and a private subnet in each.
type Network struct {
	// CIDR is the VPC's address range. A change replaces the VPC and everything in it.
	//
	// Allowed: the network address of an IPv4 range, /16 to /25, inside 10.0.0.0/8, 172.16.0.0/12 or 192.168.0.0/16 and outside
	// 172.17.0.0/16. It is split into four equal subnets; the private ones must hold the tasks of a deployment and the database.
	CIDR string `yaml:"cidr"`
	// AvailabilityZones pins the two zones by name. Without it AWS chooses, in an order that it does not promise to keep. A
	// change replaces subnets, and what is in them.
	//
	// Allowed: exactly two different zones of the region, as in [us-east-1a, us-east-1b].
	AvailabilityZones []string `yaml:"availabilityZones,omitempty" jsonschema:"minItems=2,maxItems=2,uniqueItems=true"`
	// NatGateways is the number of NAT gateways; 2 is one in each zone. Each costs about 33 USD a month and traffic.
	//
	// Allowed: 1 or 2. Without one nothing starts: the tasks are in private subnets, and public ECR has no VPC endpoint.
	NatGateways int `yaml:"natGateways" jsonschema:"minimum=1,maximum=2"`
}

// Database configures the RDS MySQL instance.
type Database struct {
	// Name is the name of the database inside the instance (DATABASE_DB_NAME). A change replaces the instance.
	//
	// Allowed: 1 to 64 letters, digits and underscores, the first a letter; no reserved word and no system schema of MySQL.
	Name string `yaml:"name" jsonschema:"required,minLength=1,maxLength=64,pattern=^[A-Za-z][A-Za-z0-9_]*$"`
	// User is the master user (DATABASE_USER). A change replaces the instance.
	//
	// Allowed: 1 to 16 letters, digits and underscores, the first a letter; no reserved word of MySQL, and not rdsadmin.
	User string `yaml:"user" jsonschema:"required,minLength=1,maxLength=16,pattern=^[A-Za-z][A-Za-z0-9_]*$"`
	// EngineVersion is MySQL's major version. RDS bills Extended Support for 8.0 since its standard support ended on
	// 2026-07-31. A change on an existing instance needs `allowMajorUpgrade`.
	//
	// Allowed: "8.0" or "8.4", the major form only: a full version as in 8.0.36 fails once AWS retires it, or once RDS has
	// upgraded the instance by itself.
	EngineVersion string `yaml:"engineVersion" jsonschema:"enum=8.0,enum=8.4"`
	// ExtendedSupport enrols the instance in RDS Extended Support, as RDS itself does by default. It is fixed when the
	// instance is created.
	//
	// Allowed: true or false; false with engineVersion "8.4" only.
	ExtendedSupport bool `yaml:"extendedSupport"`
	// AllowMajorUpgrade permits a change of `engineVersion` on an existing instance. Set it for that one deploy.
	//
	// Allowed: true or false.
	AllowMajorUpgrade bool `yaml:"allowMajorUpgrade"`
	// InstanceClass is the RDS instance class.
	//
	// Allowed: db.<family>.<size> of a family that runs MySQL 8.0 and 8.4 on RDS, as in db.t4g.micro, db.m7g.large or
	// db.r6i.2xlarge: t3, t4g, z1d, m5 and r5 or newer, x2 or newer. Aurora's db.serverless and the retired t2, m4 and r4 are not.
	InstanceClass string `yaml:"instanceClass" jsonschema:"pattern=^db\\.(t(3|4g)\\.(micro|small|medium|large|xlarge|2xlarge)|(z1d|[mr]([5-9]|[1-9][0-9])[a-z]*|x([2-9]|[1-9][0-9])[a-z]*)\\.(large|xlarge|([2-9]|[1-4][0-9])xlarge))$"`
	// StorageGiB is the size of the gp3 volume in GiB. It can grow, never shrink.
	//
	// Allowed: 20 to 65536.
	StorageGiB int `yaml:"storageGiB" jsonschema:"minimum=20,maximum=65536"`
	// BackupRetentionDays is how many days of automated backups are kept for point-in-time restore.
	//
	// Allowed: 1 to 35. With 0 RDS keeps no backups, and nothing could be restored.
	BackupRetentionDays int `yaml:"backupRetentionDays" jsonschema:"minimum=1,maximum=35"`
	// MultiAZ keeps a standby instance in the other zone, at twice the price.
	//
	// Allowed: true or false.
	MultiAZ bool `yaml:"multiAz"`
	// RequireTLS refuses connections without TLS. Relax it only for a client that cannot do TLS.
	//
	// Allowed: true or false.
	RequireTLS bool `yaml:"requireTls"`
}

// Service configures the application's tasks.
type Service struct {
	// CPU is the task's CPU in units of 1/1024 vCPU. Fargate accepts certain pairs of CPU and memory only.
	//
	// Allowed: 256, 512, 1024, 2048, 4096, 8192 or 16384.
	CPU int `yaml:"cpu" jsonschema:"enum=256,enum=512,enum=1024,enum=2048,enum=4096,enum=8192,enum=16384"`
	// Memory is the task's memory in MiB.
	//
	// Allowed: with cpu 256: 512, 1024 or 2048; with 512: 1024 to 4096; with 1024: 2048 to 8192; with 2048: 4096 to 16384; with
	// 4096: 8192 to 30720, all in steps of 1024; with 8192: 16384 to 61440 in steps of 4096; with 16384: 32768 to 122880 in
	// steps of 8192.
	Memory int `yaml:"memory" jsonschema:"minimum=512,maximum=122880"`
	// Command is the command that the application's container runs, in place of the image's own (its CMD). The image's
	// ENTRYPOINT stays: to change the ENTRYPOINT, build another image. Nothing secret belongs here.
	//
	// Allowed: a list of words of at most 4096 characters. No shell reads them; for one, write [sh, -c, "exec gunicorn -b :$PORT
	// app:app"]. Together with `environment` and `secrets` at most 61440 bytes as JSON.
	Command []string `yaml:"command,omitempty" jsonschema:"minItems=1"`
	// TaskPolicyArns are managed IAM policies for the application, for whatever it uses beside its own bucket: SES, SQS,
	// another bucket. They are added to the role of the application's tasks.
	//
	// Allowed: up to 10 different ARNs of policies of the environment's account or of AWS, arn:aws:iam::<account>:policy/<name>
	// or arn:aws:iam::aws:policy/<name>. 10 is IAM's quota of managed policies in a role.
	TaskPolicyArns []string `yaml:"taskPolicyArns,omitempty" jsonschema:"minItems=1,maxItems=10,uniqueItems=true"`
	// DesiredCount is the number of tasks.
	//
	// Allowed: 1 to 5000, ECS's quota of tasks in a service. To stop the application for a while use
	// `aws ecs update-service --desired-count 0`; the next deploy of the service starts it again.
	DesiredCount int `yaml:"desiredCount" jsonschema:"minimum=1,maximum=5000"`
	// ContainerPort is the TCP port that the application listens on. The application finds it in the variable PORT. A change
	// starts new tasks, which get the new PORT; an application that does not read PORT must listen on the new port already.
	//
	// Allowed: 1 to 65535.
	ContainerPort int `yaml:"containerPort" jsonschema:"minimum=1,maximum=65535"`
	// HealthCheckPath is what the load balancer requests of each task.
	//
	// Allowed: a path that begins with /, with a query if need be, at most 1024 characters of a URI: no spaces and no #fragment.
	HealthCheckPath string `yaml:"healthCheckPath" jsonschema:"maxLength=1024,pattern=^/[A-Za-z0-9._~:/?\\[\\]@!$&'()*+\\,;=%-]*$"`
	// HealthCheckCodes are the HTTP status codes of a healthy answer: one, a list or a range, as in "200,301" or "200-399".
	// The placeholder, which runs until the first release, answers with 200 if that is one of them, else with the first.
	//
	// Allowed: codes from 200 to 499, separated by commas, and ranges of them, the lower code first.
	HealthCheckCodes string `yaml:"healthCheckCodes" jsonschema:"pattern=^[2-4][0-9][0-9](-[2-4][0-9][0-9])?(\\,[2-4][0-9][0-9](-[2-4][0-9][0-9])?)*$"`
	// HealthCheckGraceSeconds is how long a new task may take to start before failed health checks count.
	//
	// Allowed: 0 to 900. The pipeline waits at most 60 minutes for a deployment, and within them three tasks must have failed
	// before ECS rolls it back.
	HealthCheckGraceSeconds int `yaml:"healthCheckGraceSeconds" jsonschema:"minimum=0,maximum=900"`
	// Environment holds further environment variables of the application. Nothing secret belongs here. A number or a boolean
	// reaches the application as it is written in the file.
	//
	// Allowed: names of letters, digits and underscores, the first no digit, that neither the stacks nor ECS set; a value
	// for each, "" for an empty one; at most 61440 bytes as JSON, together with `command` and `secrets`.
	Environment map[string]string `yaml:"environment,omitempty"`
	// Secrets maps further environment variables of the application to Secrets Manager secrets: the full ARN, followed by
	// `:key::` to take one key of a JSON secret. A secret of another account needs a resource policy there. The tasks read a value when
	// they start: `aws ecs update-service --force-new-deployment` gives a changed one to those that run, see docs/releases.md.
	//
	// Allowed: names as in `environment`, and not in both; the full ARN of a secret in the environment's region,
	// arn:aws:secretsmanager:<region>:<account>:secret:<name>-<6 characters>, or that and :<json key>:<version stage>:<version id>,
	// each of which may be empty. Quote the value then: YAML reads a trailing colon as a key. At most 61440 bytes as JSON, together
	// with `command` and `environment`.
	Secrets map[string]string `yaml:"secrets,omitempty"`
}

// Pipeline configures the release pipeline: a push to the application's repository is built and deployed.
type Pipeline struct {
	// Repository is the application's repository on GitHub. Without it there is no pipeline: release with `bin/infra release`.
	//
	// Allowed: <owner>/<name>, as in my-org/my-app.
	Repository string `yaml:"repository,omitempty" jsonschema:"pattern=^[A-Za-z0-9][A-Za-z0-9-]*/[A-Za-z0-9._-]+$"`
	// Branch is the branch whose pushes are released.
	//
	// Allowed: the name of a branch, at most 255 characters, without spaces and wildcards.
	Branch string `yaml:"branch" jsonschema:"minLength=1,maxLength=255,pattern=^[A-Za-z0-9._/-]+$"`
	// Paths limits the pushes that start the pipeline to those that change one of these files, where one repository holds
	// more than the application.
	//
	// Allowed: 1 to 8 different glob patterns of at most 255 characters, as in app/**.
	Paths []string `yaml:"paths,omitempty" jsonschema:"minItems=1,maxItems=8,uniqueItems=true"`
	// ConnectionArn is an existing CodeConnections connection to GitHub. Without it the project makes one, whose handshake is to be
	// completed in the console once.
	//
	// Allowed: the ARN of a connection, arn:aws:codeconnections:<region>:<account>:connection/<id>.
	ConnectionArn string `yaml:"connectionArn,omitempty" jsonschema:"pattern=^arn:aws:(codeconnections|codestar-connections):[a-z0-9-]+:[0-9]{12}:connection/[a-f0-9-]+$"`
	// Approval asks for a person's approval between build and deployment. This project's buildspec.yml tags each image with
	// its commit, so the image that was approved is the one that is deployed. If your buildspec deploys a tag that moves, such as
	// latest, the newest image is deployed, even if you approved an older one.
	//
	// Allowed: true or false.
	Approval bool `yaml:"approval"`
}

// Guard configures `bin/infra guard`, which stops a deployment that would lose data.
type Guard struct {
	// Allow lists the changes that pass, each for this one time: the guard prints the entry to paste. Remove it once it is deployed.
	//
	// Allowed: a list of entries with logicalId, property, hash and reason.
	Allow []Allowance `yaml:"allow,omitempty"`
}

// Allowance lets one change of one property of one resource pass.
type Allowance struct {
	// LogicalID is the resource's logical id in its template.
	//
	// Allowed: 1 to 255 letters and digits, as the guard prints it.
	LogicalID string `yaml:"logicalId" jsonschema:"required,minLength=1,maxLength=255,pattern=^[A-Za-z0-9]+$"`
	// Property is the property or the attribute that changes.
	//
	// Allowed: its name as the guard prints it; Resource where the whole resource goes.
	Property string `yaml:"property" jsonschema:"required,pattern=^[A-Za-z0-9]+$"`
	// Hash is the digest of logical id, property, old and new value, so that the entry is valid for that change only.
	//
	// Allowed: the 16 digits from 0 to 9 and a to f that the guard prints.
	Hash string `yaml:"hash" jsonschema:"required,pattern=^[0-9a-f]{16}$"`
	// Reason says why the change is meant, for whoever reads the history later.
	//
	// Allowed: 10 to 500 characters.
	Reason string `yaml:"reason" jsonschema:"required,minLength=10,maxLength=500"`
}

// Default returns the defaults of every key that has one. Project, Region, Database.Name and Database.User have none.
func Default() Environment {
	return Environment{
		Architecture:     platform.X86_64,
		LogRetentionDays: 30,
		Retain:           true,
		Network: Network{
			CIDR:        "10.0.0.0/16",
			NatGateways: 1,
		},
		Database: Database{
			EngineVersion:       "8.0",
			ExtendedSupport:     true,
			InstanceClass:       "db.t4g.micro",
			StorageGiB:          20,
			BackupRetentionDays: 7,
			RequireTLS:          true,
		},
		Service: Service{
			CPU:                     256,
			Memory:                  512,
			DesiredCount:            1,
			ContainerPort:           5000,
			HealthCheckPath:         "/",
			HealthCheckCodes:        "200",
			HealthCheckGraceSeconds: 60,
		},
		Pipeline: Pipeline{
			Branch: "main",
		},
	}
}

// VCPUs returns the number of vCPUs of a valid InstanceClass: 2 up to large, 4 for xlarge, 4 × n for <n>xlarge.
// https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/Concepts.DBInstanceClass.Summary.html
func (d Database) VCPUs() int {
	size := d.InstanceClass[strings.LastIndexByte(d.InstanceClass, '.')+1:]
	times, isXlarge := strings.CutSuffix(size, "xlarge")
	if !isXlarge {
		return 2
	}
	if n, err := strconv.Atoi(times); err == nil {
		return 4 * n
	}
	return 4
}

// ExtendedSupportMonthlyUSD returns about what RDS Extended Support costs in a month of 730 hours: 0.10 USD per vCPU and hour
// with MySQL 8.0 (the price of the first two years, in us-east-1), twice with MultiAZ, and 0 with 8.4.
// https://aws.amazon.com/rds/mysql/pricing/#Amazon_RDS_Extended_Support_costs
func (d Database) ExtendedSupportMonthlyUSD() float64 {
	const usdPerVCPUHour, hours = 0.10, 730
	if d.EngineVersion != "8.0" {
		return 0
	}
	instances := 1
	if d.MultiAZ {
		instances = 2
	}
	return usdPerVCPUHour * hours * float64(d.VCPUs()*instances)
}
