// Command schemainit is the code of the two functions behind Custom::SchemaInit, the gate that applies the SQL files
// before the application's service is created or updated.
//
// Both functions are deployed from one archive and are called by the Provider framework of the CDK. The function's
// handler name, which Lambda passes on as _HANDLER, says which one runs: "onEvent" starts the schema task and fixes its
// deadline, "isComplete" is polled until the task has ended.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
)

func main() {
	log := slog.New(slog.NewJSONHandler(os.Stdout, &slog.HandlerOptions{ReplaceAttr: lambdacontext.ReplaceAttr}))
	lambda.Start(newHandler(context.Background(), os.Getenv("_HANDLER"), log))
}

// newHandler returns the handler called name. A mistake of the deployment becomes the answer to every event: if the
// process ended instead, CloudFormation would only show "Runtime exited with error".
func newHandler(ctx context.Context, name string, log *slog.Logger) any {
	cfg, err := config.LoadDefaultConfig(ctx, config.WithRetryer(newRetryer))
	if err != nil {
		return refuse(log, fmt.Errorf("load the AWS configuration of the function: %w; check its environment variables", err))
	}
	client := ecs.NewFromConfig(cfg, ecs.WithAPIOptions(capacityAsError))
	switch name {
	case "onEvent":
		return invoke(log, starter{ecs: client, log: log}.onEvent)
	case "isComplete":
		return invoke(log, waiter{ecs: client, logs: cloudwatchlogs.NewFromConfig(cfg), log: log}.isComplete)
	default:
		return refuse(log, fmt.Errorf("the function's handler is %q, allowed are \"onEvent\" and \"isComplete\": set it as Handler of the function", name))
	}
}

func refuse(log *slog.Logger, err error) any {
	return invoke(log, func(context.Context, event) (completion, error) { return completion{}, err })
}
