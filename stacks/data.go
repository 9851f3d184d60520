package stacks

import (
	"fmt"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsec2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsecr"
	"github.com/aws/aws-cdk-go/awscdk/v2/awsrds"
	"github.com/aws/aws-cdk-go/awscdk/v2/awss3"
	"github.com/aws/aws-cdk-go/awscdk/v2/awssecretsmanager"
	"github.com/aws/constructs-go/constructs/v10"
	"github.com/aws/jsii-runtime-go"

	"flask-on-fargate/config"
	"flask-on-fargate/constructs/bucket"
	"flask-on-fargate/constructs/database"
	"flask-on-fargate/constructs/repository"
	"flask-on-fargate/constructs/seedimage"
	"flask-on-fargate/internal/cdk"
	"flask-on-fargate/internal/nag"
)

// DataStackProps configures [NewDataStack].
type DataStackProps struct {
	VPC awsec2.IVpc // required
}

// DataStack holds what outlives a release: the image repository, the bucket, the secrets and the database.
type DataStack struct {
	Stack       awscdk.Stack
	Repository  awsecr.IRepository
	Bucket      awss3.IBucket
	FlaskSecret awssecretsmanager.ISecret
	Database    *database.Database
}

// NewDataStack defines the stack <project>-<env>-data under scope.
func NewDataStack(scope constructs.Construct, env config.Environment, props DataStackProps) *DataStack {
	stack := newDataHoldingStack(scope, "Data", env, "data", "Image repository, bucket, secrets and database")
	repo := repository.New(stack, "Repository", repository.Props{Retain: env.Retain})
	seed := seedimage.New(stack, "SeedImage", seedimage.Props{
		Repository:       repo,
		ContainerPort:    env.Service.ContainerPort,
		Architecture:     env.Architecture,
		LogRetentionDays: env.LogRetentionDays,
	})
	photos := bucket.New(stack, "Bucket", bucket.Props{Retain: env.Retain})
	db := database.New(stack, "Database", database.Props{
		VPC:                    props.VPC,
		Name:                   env.Database.Name,
		User:                   env.Database.User,
		EngineVersion:          env.Database.EngineVersion,
		DisableExtendedSupport: !env.Database.ExtendedSupport,
		AllowMajorUpgrade:      env.Database.AllowMajorUpgrade,
		InstanceClass:          env.Database.InstanceClass,
		StorageGiB:             env.Database.StorageGiB,
		BackupDays:             env.Database.BackupRetentionDays,
		MultiAZ:                env.Database.MultiAZ,
		AllowPlaintext:         !env.Database.RequireTLS,
		Retain:                 env.Retain,
	})
	// What can fail comes first: a failed first deploy then has no database to wait for, twice.
	db.Instance.Node().AddDependency(seed)
	announceDatabaseEvents(stack, db, env)
	data := &DataStack{Stack: stack, Repository: repo, Bucket: photos, FlaskSecret: newFlaskSecret(stack, env), Database: db}
	declareProviderLogs(stack, bucketEmptier)

	output(stack, "RdsEndpoint", "Host name of the database, as in DATABASE_HOST", db.Instance.DbInstanceEndpointAddress())
	output(stack, "S3BucketName", "Name of the application's bucket, as in PHOTOS_BUCKET", photos.BucketName())
	output(stack, "RepositoryUri", "Image repository of the application", repo.RepositoryUri())
	return data
}

// newFlaskSecret generates the key with which Flask signs its sessions. A change of any of these settings makes a new key
// and so logs every user out: they must stay as they are.
func newFlaskSecret(stack awscdk.Stack, env config.Environment) awssecretsmanager.ISecret {
	secret := awssecretsmanager.NewSecret(stack, jsii.String("FlaskSecret"), &awssecretsmanager.SecretProps{
		Description: jsii.String("FLASK_SECRET of the application"),
		GenerateSecretString: &awssecretsmanager.SecretStringGenerator{
			PasswordLength:          jsii.Number(64),
			ExcludePunctuation:      jsii.Bool(true),
			IncludeSpace:            jsii.Bool(false),
			RequireEachIncludedType: jsii.Bool(true),
		},
		RemovalPolicy: cdk.RemovalPolicy(env.Retain),
	})
	nag.Accept(secret, nag.Finding{Rule: "AwsSolutions-SMG4", Reason: "A new key ends every session of the application's users, and tasks " +
		"read it when they start only. It is generated, and only the application's execution role may read it."})
	return secret
}

// announceDatabaseEvents sends what an operator must know of the database to the environment's topic, if it has one.
func announceDatabaseEvents(stack awscdk.Stack, db *database.Database, env config.Environment) {
	if env.NotificationTopicArn == "" {
		return
	}
	awsrds.NewCfnEventSubscription(stack, jsii.String("DatabaseEvents"), &awsrds.CfnEventSubscriptionProps{
		SnsTopicArn:     jsii.String(env.NotificationTopicArn),
		SourceType:      jsii.String("db-instance"),
		SourceIds:       &[]any{db.Instance.InstanceIdentifier()},
		EventCategories: jsii.Strings("availability", "failover", "failure", "low storage", "recovery"),
	})
}

// addWarnings says at synth what costs money without being asked for.
func addWarnings(data *DataStack, env config.Environment) {
	cost := env.Database.ExtendedSupportMonthlyUSD()
	if cost == 0 {
		return
	}
	awscdk.Annotations_Of(data.Database.Instance).AddWarningV2(jsii.String("flask-on-fargate:extendedSupport"), jsii.String(fmt.Sprintf(
		"MySQL %s left RDS standard support on 2026-07-31. RDS bills Extended Support for it: about %.0f USD a month for %s. "+
			"For a new environment set database.engineVersion to \"8.4\" in config/%s.yaml.",
		env.Database.EngineVersion, cost, env.Database.InstanceClass, env.Name)))
}
