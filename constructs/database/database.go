// Package database defines the RDS MySQL instance with its generated credentials.
package database

import (
	"fmt"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsec2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsecs"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsrds"
	"github.com/aws/aws-cdk-go/awscdk/v2/awssecretsmanager"
	"github.com/aws/constructs-go/constructs/v10"
	"github.com/aws/jsii-runtime-go"

	"flask-on-fargate/internal/appenv"
	"flask-on-fargate/internal/cdk"
	"flask-on-fargate/internal/nag"
)

// Props configures [New].
type Props struct {
	VPC           awsec2.IVpc // required; the instance lives in its private subnets
	Name          string      // required; the database inside the instance
	User          string      // required; the master user
	EngineVersion string      // required; the major version, 8.0 or 8.4
	InstanceClass string      // required; as RDS names it, db.t4g.micro
	StorageGiB    int         // required
	BackupDays    int         // required; days of automated backups

	DisableExtendedSupport bool // default: enrolled in RDS Extended Support, as RDS does itself; fixed at creation
	AllowMajorUpgrade      bool
	MultiAZ                bool
	AllowPlaintext         bool // default: connections without TLS are refused
	Retain                 bool // default: the instance, its backups and its credentials go with the stack
}

// Database is an encrypted MySQL instance in private subnets.
type Database struct {
	Instance      awsrds.DatabaseInstance
	Name          string                    // of the database inside the instance
	EngineVersion string                    // the major version
	Credentials   awssecretsmanager.ISecret // JSON with username, password, host, port, dbname
	SecurityGroup awsec2.SecurityGroup      // without any rule: the consumer adds its own
}

// Secrets are user and password as variables of a container.
func (d *Database) Secrets() *map[string]awsecs.Secret {
	return &map[string]awsecs.Secret{
		appenv.DatabaseUser:     awsecs.Secret_FromSecretsManager(d.Credentials, jsii.String("username")),
		appenv.DatabasePassword: awsecs.Secret_FromSecretsManager(d.Credentials, jsii.String("password")),
	}
}

// New defines a Database under scope.
func New(scope constructs.Construct, id string, props Props) *Database {
	if props.VPC == nil {
		panic("database.New: VPC is required")
	}
	this := constructs.NewConstruct(scope, jsii.String(id))
	securityGroup := awsec2.NewSecurityGroup(this, jsii.String("SecurityGroup"), &awsec2.SecurityGroupProps{
		Vpc:              props.VPC,
		Description:      jsii.String("Database: MySQL from the tasks of the service"),
		AllowAllOutbound: jsii.Bool(false),
	})
	credentials := newCredentials(this, props)
	engine := awsrds.DatabaseInstanceEngine_Mysql(&awsrds.MySqlInstanceEngineProps{
		Version: awsrds.MysqlEngineVersion_Of(jsii.String(props.EngineVersion), jsii.String(props.EngineVersion)),
	})
	instance := awsrds.NewDatabaseInstance(this, jsii.String("Instance"), &awsrds.DatabaseInstanceProps{
		Engine:                   engine,
		EngineLifecycleSupport:   lifecycleSupport(props),
		AllowMajorVersionUpgrade: jsii.Bool(props.AllowMajorUpgrade),
		AutoMinorVersionUpgrade:  jsii.Bool(true),
		ParameterGroup:           newParameterGroup(this, engine, props),
		InstanceType:             awsec2.NewInstanceType(jsii.String(props.InstanceClass[len("db."):])),
		MultiAz:                  jsii.Bool(props.MultiAZ),

		DatabaseName: jsii.String(props.Name),
		Credentials:  awsrds.Credentials_FromSecret(credentials, jsii.String(props.User)),

		StorageType:      awsrds.StorageType_GP3,
		AllocatedStorage: jsii.Number(props.StorageGiB),
		StorageEncrypted: jsii.Bool(true),

		Vpc:                props.VPC,
		VpcSubnets:         &awsec2.SubnetSelection{SubnetType: awsec2.SubnetType_PRIVATE_WITH_EGRESS},
		SecurityGroups:     &[]awsec2.ISecurityGroup{securityGroup},
		PubliclyAccessible: jsii.Bool(false),

		BackupRetention:        cdk.Days(props.BackupDays),
		CopyTagsToSnapshot:     jsii.Bool(true),
		DeleteAutomatedBackups: jsii.Bool(!props.Retain),
		DeletionProtection:     jsii.Bool(props.Retain),
		RemovalPolicy:          cdk.SnapshotPolicy(props.Retain),
	})
	awscdk.Validations_Of(instance).Acknowledge(&awscdk.Acknowledgment{
		Id: jsii.String("CloudFormation-Validate::E9006"),
		Reason: jsii.String("RDS accepts the major form and picks its default minor version. A pinned minor version " +
			"fails once AWS retires it, or after an automatic minor upgrade."),
	})
	resource := instance.Node().DefaultChild().(awscdk.CfnResource)
	// cfn-lint's name of E9006, accepted for the same reason.
	resource.AddMetadata(jsii.String("cfn-lint"), map[string]any{"config": map[string]any{"ignore_checks": []string{"E3691"}}})
	nag.Accept(resource, acceptedFindings(props)...)
	return &Database{
		Instance:      instance,
		Name:          props.Name,
		EngineVersion: props.EngineVersion,
		Credentials:   instance.Secret(),
		SecurityGroup: securityGroup,
	}
}

// newCredentials generates the master password. Secrets Manager makes a new password when any of these generator
// settings changes, so they are all spelled out and must stay as they are.
func newCredentials(scope constructs.Construct, props Props) awssecretsmanager.Secret {
	credentials := awssecretsmanager.NewSecret(scope, jsii.String("Credentials"), &awssecretsmanager.SecretProps{
		Description: jsii.String("Master user of the database"),
		GenerateSecretString: &awssecretsmanager.SecretStringGenerator{
			SecretStringTemplate:    jsii.String(fmt.Sprintf(`{"username":%q}`, props.User)),
			GenerateStringKey:       jsii.String("password"),
			PasswordLength:          jsii.Number(32),
			ExcludePunctuation:      jsii.Bool(true), // survives every connection string and shell without quoting
			IncludeSpace:            jsii.Bool(false),
			RequireEachIncludedType: jsii.Bool(true),
		},
		RemovalPolicy: cdk.RemovalPolicy(props.Retain), // the final snapshot needs its password,
	})
	nag.Accept(credentials, nag.Finding{Rule: "AwsSolutions-SMG4", Reason: "Tasks read the password when they start only: a rotation " +
		"would cut the running ones off from the database. It is generated, and only the tasks' execution roles may read it."})
	return credentials
}

// acceptedFindings are those of the instance.
func acceptedFindings(props Props) []nag.Finding {
	findings := []nag.Finding{{Rule: "AwsSolutions-RDS11", Reason: "Another port hides nothing: the instance is in private subnets, " +
		"and its security group lets in the tasks only, from which the port can be read."}}
	if !props.MultiAZ {
		findings = append(findings, nag.Finding{Rule: "AwsSolutions-RDS3", Reason: "database.multiAz is false in this environment's " +
			"configuration: a standby doubles the price of the instance."})
	}
	if !props.Retain {
		findings = append(findings, nag.Finding{Rule: "AwsSolutions-RDS10", Reason: "retain is false in this environment's " +
			"configuration: it holds nothing that must stay, and cdk destroy has to remove it."})
	}
	return findings
}

// newParameterGroup is spelled out for every version: its family can only be set at creation, so that a major upgrade
// brings a new group, and switching TLS is a change of a parameter, not of the group.
func newParameterGroup(scope constructs.Construct, engine awsrds.IInstanceEngine, props Props) awsrds.ParameterGroup {
	requireTLS := "1" // "ON" is Aurora's form
	if props.AllowPlaintext {
		requireTLS = "0"
	}
	return awsrds.NewParameterGroup(scope, jsii.String("Parameters"), &awsrds.ParameterGroupProps{
		Engine:      engine,
		Description: jsii.String("Parameters of the database"),
		Parameters:  &map[string]*string{"require_secure_transport": jsii.String(requireTLS)},
	})
}

func lifecycleSupport(props Props) awsrds.EngineLifecycleSupport {
	if props.DisableExtendedSupport {
		return awsrds.EngineLifecycleSupport_OPEN_SOURCE_RDS_EXTENDED_SUPPORT_DISABLED
	}
	return awsrds.EngineLifecycleSupport_OPEN_SOURCE_RDS_EXTENDED_SUPPORT
}
