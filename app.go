// The CDK application. `cdk synth`, `diff`, `deploy` and `destroy` run it through the command in cdk.json; it reads
// config/<env>.yaml and defines the four stacks of that environment. Choose the environment with `-c env=NAME`.
package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/constructs-go/constructs/v10"
	"github.com/aws/jsii-runtime-go"

	"flask-on-fargate/config"
	"flask-on-fargate/stacks"
)

// configDir holds one file per environment. It is relative to cdk.json, where the CDK CLI starts the application.
const configDir = "config"

func main() {
	err := synth()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	closeKernel()
	if err != nil {
		os.Exit(1)
	}
}

// lostRace is what jsii-runtime-go prints on most runs: two of its goroutines wait for the same process, and one of them
// comes too late.
const lostRace = "Runtime process exited abnormally: waitid: no child processes"

// closeKernel ends the library's Node.js process and passes on what it still has to say, but for [lostRace].
func closeKernel() {
	terminal := os.Stderr
	read, write, err := os.Pipe()
	if err != nil {
		jsii.Close()
		return
	}
	os.Stderr = write
	said := make(chan []byte)
	go func() {
		text, _ := io.ReadAll(read)
		said <- text
	}()
	jsii.Close()
	write.Close()
	terminal.Write(bytes.ReplaceAll(<-said, []byte(lostRace), nil))
}

// synth writes the assembly of the environment that the context names. A wrong configuration is reported before the
// first file is written.
func synth() (err error) {
	// The library reports what it finds, validation included, by a panic: the user needs its message, not our stack.
	defer func() {
		if problem := recover(); problem != nil {
			err = fmt.Errorf("synth: %v", problem)
		}
	}()
	app := awscdk.NewApp(appProps())
	name, ok := app.Node().TryGetContext(jsii.String("env")).(string)
	if !ok {
		return errors.New("the context has no env: run this application through the CDK CLI, in the folder of cdk.json, for instance `npx cdk synth -c env=dev`")
	}
	env, err := config.Load(configDir, name)
	if err != nil {
		return err
	}
	stacks.NewEnvironment(constructs.NewConstruct(app, jsii.String(env.Name)), env)
	app.Synth(nil)
	return nil
}

// disableCreationStackTraces is the context key that keeps stack traces out of the assembly's metadata.
const disableCreationStackTraces = "aws:cdk:disable-creation-stack-traces"

// appProps makes two synths of the same input equal to the byte: a stack trace names a random folder. The key cannot
// stand in cdk.json, where the CLI reserves the prefix aws:.
func appProps() *awscdk.AppProps {
	return &awscdk.AppProps{
		StackTraces:        jsii.Bool(false),
		AnalyticsReporting: jsii.Bool(false),
		Context:            &map[string]any{disableCreationStackTraces: true},
	}
}
