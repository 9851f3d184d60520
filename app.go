// The CDK application. `cdk synth`, `diff`, `deploy` and `destroy` run it through the command in cdk.json; it reads
// config/<env>.yaml and defines the four stacks of that environment. Choose the environment with `-c env=NAME`. With
// `-c delivery=true` it reads config/delivery.yaml and defines the pipeline that deploys its environments, and their stacks.
package main

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/aws/constructs-go/constructs/v10"
	"github.com/aws/jsii-runtime-go"

	"flask-on-fargate/config"
	"flask-on-fargate/internal/toolchain"
	"flask-on-fargate/stacks"
)

// The delivery pipeline builds with the versions that these two files pin.
var (
	//go:embed go.mod
	goMod []byte
	//go:embed package.json
	packageJSON []byte
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
	_, _ = terminal.Write(bytes.ReplaceAll(<-said, []byte(lostRace), nil))
}

// synth writes the assembly that the context asks for. A wrong configuration is reported before the
// first file is written.
func synth() (err error) {
	// The library reports what it finds, validation included, by a panic: the user needs its message, not our stack.
	defer func() {
		if problem := recover(); problem != nil {
			err = fmt.Errorf("synth: %v", problem)
		}
	}()
	app := awscdk.NewApp(appProps())
	delivery, err := wantsDelivery(app.Node().TryGetContext(jsii.String("delivery")))
	switch {
	case err != nil:
		return err
	case delivery:
		err = defineDelivery(app)
	default:
		err = defineEnvironment(app)
	}
	if err != nil {
		return err
	}
	app.Synth(nil)
	return nil
}

// wantsDelivery reads the context key delivery: the CLI passes what follows -c as text, cdk.json may hold a boolean.
func wantsDelivery(value any) (bool, error) {
	switch value {
	case nil, false, "false":
		return false, nil
	case true, "true":
		return true, nil
	}
	return false, fmt.Errorf("the context key delivery is %q: -c delivery=true is the pipeline that deploys the environments (docs/delivery.md); without it, -c env=NAME is one environment", fmt.Sprint(value))
}

func defineDelivery(app awscdk.App) error {
	versions, err := toolchain.Read(goMod, packageJSON)
	if err != nil {
		return err
	}
	delivery, err := config.LoadDelivery(configDir)
	if err != nil {
		return err
	}
	stacks.NewDelivery(app, delivery, versions)
	return nil
}

func defineEnvironment(app awscdk.App) error {
	name, ok := app.Node().TryGetContext(jsii.String("env")).(string)
	if !ok {
		return errors.New("the context has no env: run this application through the CDK CLI, in the folder of cdk.json, for instance `npx cdk synth -c env=dev`")
	}
	env, err := config.Load(configDir, name)
	if err != nil {
		return err
	}
	stacks.NewEnvironment(constructs.NewConstruct(app, jsii.String(env.Name)), env)
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
