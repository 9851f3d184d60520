package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"flask-on-fargate/internal/smoke"
)

const smokeHelp = `Request URL until the application answers well.

With --env the command asks what the load balancer asks: the path
service.healthCheckPath of config/ENV.yaml must answer with one of
service.healthCheckCodes. Only scheme and host are taken from URL.
Without --env it requests URL as it is, and 2xx and 3xx are good answers.

A redirect is an answer, and is not followed. A changed answer is printed at
once, the same answer every half minute.

It exits with 0 after a good answer, with 1 if there was none by the end of the
time-out (the last status and the head of the body are printed), and with 2 when
it was called wrongly.`

func newSmoke(w world) *cobra.Command {
	var env string
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:                   "smoke [--env ENV] [--timeout DURATION] URL",
		DisableFlagsInUseLine: true,
		Short:                 "Request the application's URL until it answers",
		Long:                  smokeHelp,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return fmt.Errorf("%d URLs given, %q: name one, as in http://example.com/", len(args), args)
			}
			return smoke.CheckURL(args[0])
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if timeout <= 0 {
				return fmt.Errorf("--timeout is %s: want more than nothing, as in 5m", timeout)
			}
			test := smoke.AnyPage(args[0])
			if cmd.Flags().Changed("env") {
				var err error
				if test, err = smoke.HealthCheck(args[0], env); err != nil {
					return err
				}
			}
			return test.Run(cmd.Context(), w.Clock, cmd.OutOrStdout(), timeout)
		},
	}
	cmd.Flags().StringVar(&env, "env", "", "environment whose health check is asked")
	cmd.Flags().DurationVar(&timeout, "timeout", 5*time.Minute, "give up after this time, as in 90s or 10m")
	return cmd
}
