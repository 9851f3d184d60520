// Command image makes and pushes container images without Docker, for the local target: there a container is a process
// of this machine.
//
// It exits with 0 when all is well, with 1 when an image cannot run on this machine, and with 2 when something else
// failed or it was called wrongly. (`go run` exits with 1 for each.)
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"github.com/spf13/cobra"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run executes the command line args and returns the exit code of the process.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := &cobra.Command{
		Use:           "image",
		Short:         "Make and push container images without Docker, for the local target",
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.CompletionOptions.DisableDefaultCmd = true
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return fmt.Errorf("%w; `%s --help` lists the flags", err, cmd.CommandPath())
	})
	root.AddCommand(newSample(), newPush())
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)

	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return 0
	}
	fmt.Fprintf(stderr, "%s: %v\n", cmd.CommandPath(), err)
	if errors.As(err, new(unfit)) {
		return 1
	}
	return 2
}

func newSample() *cobra.Command {
	var o sampleOptions
	cmd := &cobra.Command{
		Use:   "sample --out PATH",
		Short: "Compile the sample application and write an image of it",
		Long: `Compile the sample application, local/sample, and write an image of it for linux/amd64 and
linux/arm64, as an OCI image layout: an archive if PATH ends in .tar, else a folder. What is there
already is replaced, if it is such an image. The same source and options give the same bytes.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.out == "" {
				return errors.New("--out is missing; name an archive, image.tar, or a folder")
			}
			return writeSample(cmd.Context(), o, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	cmd.Flags().StringVar(&o.out, "out", "", "the archive, named *.tar, or the folder to write")
	cmd.Flags().StringVar(&o.version, "version", "1", "what its page gives as version")
	cmd.Flags().StringVar(&o.exit, "exit", "", "an image that exits at once with this code, 0 to 255")
	cmd.Flags().StringVar(&o.arch, "arch", "", "only amd64 or arm64; default both")
	return cmd
}

func newPush() *cobra.Command {
	var o pushOptions
	cmd := &cobra.Command{
		Use:   "push --registry URL --repository NAME --tag TAG PATH",
		Short: "Push an image to the local target's registry, if it can run on this machine",
		Long: `Push an image, with all its platforms, to the local target's registry, and print its digest.
PATH is an OCI image layout, as a folder or an archive (.tar, .tar.gz), or an archive of
` + "`docker save`" + `.

Before that, check that the image can run as a plain process of this machine: that it has a
platform of this processor, and that its program is in the image, with the interpreter that the
program names. Without root a container has no root directory of its own: then only a static
program can run.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return fmt.Errorf("%d paths given, %q: name one archive or folder", len(args), args)
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			o.path, o.arch = args[0], runtime.GOARCH
			return push(cmd.Context(), o, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	cmd.Flags().StringVar(&o.registry, "registry", "", "http://HOST:PORT")
	cmd.Flags().StringVar(&o.repository, "repository", "", "the repository's name")
	cmd.Flags().StringVar(&o.tag, "tag", "", "the image's tag")
	cmd.Flags().BoolVar(&o.staticOnly, "static-only", false, "let only a static program pass, as is needed without root")
	for _, name := range []string{"registry", "repository", "tag"} {
		cobra.CheckErr(cmd.MarkFlagRequired(name))
	}
	return cmd
}
