// Command infra does what the CDK CLI lacks for this project. It reads cloud assemblies, the directories that
// `cdk synth` writes, runs the application, and releases images; it never imports the CDK library, so it starts in
// milliseconds.
//
// It exits with 0 when all is well, with 1 when it stopped something or a check failed, and with 2 when it could
// not tell or was called wrongly. `infra validate-once` exits as the command that it runs does.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"flask-on-fargate/internal/account"
	"flask-on-fargate/internal/change"
	"flask-on-fargate/internal/clock"
	"flask-on-fargate/internal/stop"

	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/mattn/go-isatty"
	"github.com/spf13/cobra"
)

// exitCode is the error of a command whose exit code says everything: run prints nothing for it.
type exitCode int

func (c exitCode) Error() string { return fmt.Sprintf("exit code %d", int(c)) }

// world is what a command needs of AWS, of this computer and of the person in front. Tests replace it.
type world struct {
	connect account.Connector
	assume  func(ctx context.Context, region, roleARN string) (change.StackReader, error) // with the default credentials
	asks    bool                                                                          // there is a person who can be asked
	backoff remote.Backoff                                                                // of requests to registries
	compare change.Comparer
	clock.Clock
}

// realWorld is the real one.
func realWorld() world {
	return world{
		connect: account.Connect,
		assume:  account.AssumeRole,
		asks:    isatty.IsTerminal(os.Stdin.Fd()),
		backoff: remote.Backoff{Duration: time.Second, Factor: 2, Jitter: 0.1, Steps: 5},
		compare: (&change.Program{Dir: change.ProgramDir}).Compare,
		Clock:   clock.System,
	}
}

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// run executes the command line args and returns the exit code of the process.
func run(args []string, stdout, stderr io.Writer) int {
	return runIn(realWorld(), args, os.Stdin, stdout, stderr)
}

func runIn(w world, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	root := &cobra.Command{
		Use:                   "infra COMMAND",
		DisableFlagsInUseLine: true,
		Short:                 "What the CDK CLI lacks for this project",
		SilenceErrors:         true,
		SilenceUsage:          true,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return fmt.Errorf("%q is no command; `infra --help` lists them", args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.CompletionOptions.DisableDefaultCmd = true
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return fmt.Errorf("%w; `%s --help` lists the flags", err, cmd.CommandPath())
	})
	root.AddCommand(newSummary(), newValidateOnce(), newRelease(w), newPromote(w), newSmoke(w), newGuard(w), newReview(w))
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)

	cmd, err := root.ExecuteC()
	var (
		code exitCode
		why  stop.Error
	)
	switch {
	case err == nil:
		return 0
	case errors.As(err, &code):
		return int(code)
	}
	fmt.Fprintf(stderr, "%s: %v\n", cmd.CommandPath(), err)
	if errors.As(err, &why) {
		return 1
	}
	return 2
}

// interruptible returns a context that ends with an interruption of this process, so that what it made can be removed.
func interruptible(ctx context.Context) (context.Context, context.CancelFunc) {
	return signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
}

// flagsOnly refuses arguments. The hint names the flag that was probably meant.
func flagsOnly(hint string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) > 0 {
			return fmt.Errorf("%q given, but the command takes flags only: %s", args, hint)
		}
		return nil
	}
}
