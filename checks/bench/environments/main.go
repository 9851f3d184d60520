//go:build bench

// Command environments defines as many copies of the environment dev as its argument says, in one application.
package main

import (
	"fmt"
	"log"
	"os"
	"strconv"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/constructs-go/constructs/v10"
	"github.com/aws/jsii-runtime-go"

	"flask-on-fargate/config"
	"flask-on-fargate/stacks"
)

func main() {
	defer jsii.Close()
	if len(os.Args) != 2 {
		log.Fatalf("environments: got %d arguments, want one: how many environments to define", len(os.Args)-1)
	}
	count, err := strconv.Atoi(os.Args[1])
	if err != nil {
		log.Fatalf("environments: the argument %q is not the number of environments to define", os.Args[1])
	}
	env, err := config.Load("config", "dev")
	if err != nil {
		log.Fatal(err)
	}
	app := awscdk.NewApp(&awscdk.AppProps{ // as app.go's
		StackTraces:        jsii.Bool(false),
		AnalyticsReporting: jsii.Bool(false),
		Context:            &map[string]any{"aws:cdk:disable-creation-stack-traces": true},
	})
	for i := range count {
		env.Name = fmt.Sprintf("dev%d", i+1)
		stacks.NewEnvironment(constructs.NewConstruct(app, jsii.String(env.Name)), env)
	}
	app.Synth(nil)
}
