// Command seedimage is the Lambda handler of the custom resource Custom::SeedImage: it keeps an ECR repository from
// ever being empty, so that a service can start before its application was released for the first time.
//
// The function's zip holds, beside bootstrap, the program of the image that it pushes: seed-amd64 and seed-arm64,
// built from the package seed.
package main

import (
	"context"
	"log/slog"
	"os"

	"github.com/aws/aws-lambda-go/cfn"
	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
)

func main() {
	log := slog.New(slog.NewJSONHandler(os.Stdout, nil))
	cfg, err := config.LoadDefaultConfig(context.Background())
	if err != nil {
		log.Error("cannot load the AWS configuration", "error", err)
		os.Exit(1)
	}
	h := &handler{
		ecr:        ecr.NewFromConfig(cfg, func(o *ecr.Options) { o.Retryer = newRetryer(defaultBackoff) }),
		programDir: os.Getenv("LAMBDA_TASK_ROOT"),
		backoff:    defaultBackoff,
		log:        log,
	}
	lambda.Start(cfn.LambdaWrap(h.handle))
}
