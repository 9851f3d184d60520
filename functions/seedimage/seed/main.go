// Command seed is the program of the image that a repository holds before an application was released to it.
//
// It stands in for the application, whatever the application's command is: in the role web it answers every request with a
// page that says what to do next. With the command fetch it downloads the schema's files from S3 and unpacks them, for the
// container that applies them.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	// The image has no other file than this program, so no certificates of authorities either.
	_ "golang.org/x/crypto/x509roots/fallback"

	"flask-on-fargate/internal/appenv"
)

const usage = `usage: seed [-port PORT] [-status STATUS] [--] COMMAND

The image's entry point sets -port and -status from the configuration. A task definition decides the rest:

fetch             download a zip file from S3 and unpack it
                    SCHEMA_BUCKET, SCHEMA_KEY  the object
                    SCHEMA_DIR                 the directory to unpack it into
any other words   stand in for the application in the role APP_ROLE, whatever its command is
                    web     (the default) answer every path with the placeholder's page
                    worker  wait for SIGTERM
                    task    say that no application is released yet, and end
                    BIND_ADDR  IP address to listen on, default all interfaces; for running several on one machine
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Getenv, os.Stderr))
}

// run returns the process's exit code: 1 for a failure, told in one line, and 2 for a wrong command line.
func run(ctx context.Context, args []string, getenv func(string) string, stderr io.Writer) int {
	var page endpoint
	flags := flag.NewFlagSet("seed", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() { fmt.Fprint(stderr, usage) }
	flags.IntVar(&page.port, "port", 5000, "")
	flags.IntVar(&page.status, "status", http.StatusOK, "")
	if flags.Parse(args) != nil {
		return 2
	}
	if flags.NArg() == 0 {
		flags.Usage()
		return 2
	}
	what, err := start(ctx, flags.Args(), page, getenv, stderr)
	if err != nil {
		fmt.Fprintf(stderr, "%s: %s\n", what, strings.Join(strings.Fields(err.Error()), " "))
		return 1
	}
	return 0
}

// start does what the command and the role ask for, and names it.
func start(ctx context.Context, command []string, page endpoint, getenv func(string) string, stderr io.Writer) (what string, err error) {
	role := getenv(appenv.Role)
	// The schema task has no role. An application's command may happen to be fetch, too.
	if role == "" && slices.Equal(command, []string{"fetch"}) {
		return "fetch", fetch(ctx, source{getenv("SCHEMA_BUCKET"), getenv("SCHEMA_KEY")}, getenv("SCHEMA_DIR"), stderr)
	}
	switch role {
	case "", appenv.Web:
		return "serve", serve(ctx, getenv("BIND_ADDR"), page, stderr)
	case appenv.Worker:
		fmt.Fprintln(stderr, "No application is released yet: this placeholder waits in the place of the worker.")
		<-ctx.Done()
		return role, nil
	case appenv.Task:
		fmt.Fprintln(stderr, "No application is released yet: this placeholder did nothing in the place of the task.")
		return role, nil
	}
	return "seed", fmt.Errorf("APP_ROLE is %q: want %s, %s or %s", role, appenv.Web, appenv.Worker, appenv.Task)
}
