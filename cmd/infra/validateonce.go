package main

import (
	"github.com/spf13/cobra"

	"flask-on-fargate/internal/validateonce"
)

func newValidateOnce() *cobra.Command {
	cmd := &cobra.Command{
		Use:                   "validate-once COMMAND [ARG...]",
		Short:                 "Run the application; validate its templates only if they have not passed before",
		Args:                  cobra.MinimumNArgs(1),
		DisableFlagsInUseLine: true,
		RunE: func(_ *cobra.Command, args []string) error {
			code, err := validateonce.Run(args)
			if err == nil && code != 0 {
				return exitCode(code)
			}
			return err
		},
	}
	cmd.Flags().SetInterspersed(false)
	return cmd
}
