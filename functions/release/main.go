// Command release is the Lambda function that keeps the tag live of the application's repository on the image of the last
// deployment that ECS completed, whoever started it, so that whatever CloudFormation deploys later runs that image.
//
// It is called by the Release action of the pipeline, which runs beside the ECS deploy action and ends as the deployment
// did, and by EventBridge: for each deployment of the service that completed or failed, and for each execution of the
// pipeline that failed.
package main

import (
	"context"
	"log/slog"
	"os"

	"flask-on-fargate/internal/clock"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/codepipeline"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/sns"
)

func main() {
	log := slog.New(slog.NewJSONHandler(os.Stdout, &slog.HandlerOptions{ReplaceAttr: lambdacontext.ReplaceAttr}))
	cfg, err := config.LoadDefaultConfig(context.Background(), config.WithRetryer(newRetryer))
	if err != nil {
		log.Error("cannot load the AWS configuration", "error", err)
		os.Exit(1)
	}
	// A mistake in the environment is the answer to every event: a process that ends would leave a job unanswered.
	settings, err := readSettings(os.Getenv)
	h := &handler{
		settings:      settings,
		misconfigured: err,
		ecs:           ecs.NewFromConfig(cfg),
		ecr:           ecr.NewFromConfig(cfg),
		pipeline:      codepipeline.NewFromConfig(cfg),
		sns:           sns.NewFromConfig(cfg),
		artifacts:     artifactsOf(cfg),
		clock:         clock.System,
		log:           log,
	}
	lambda.Start(h.handle)
}
