// Command seed is the program of the image that a repository holds before an application was released to it.
//
// It stands in for the application until the first release: as a website it answers every request with a page that says what
// to do next. And it fetches the schema's files from S3 for the container that applies them.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	// The image has no other file than this program, so no certificates of authorities either.
	_ "golang.org/x/crypto/x509roots/fallback"

	"flask-on-fargate/internal/appenv"
)

const usage = `usage: seed COMMAND...

In a role, APP_ROLE, the program stands in for the application, whatever COMMAND is:
  web     answer every path with the placeholder's page
            PORT                TCP port
            PLACEHOLDER_STATUS  HTTP status of the answer, default 200
            SEED_BIND_ADDR      IP address to listen on, default all interfaces
  worker  wait for SIGTERM
  task    say that no application is released yet, and end

Without a role COMMAND is one of
  serve   as in the role web
  fetch   download a zip file from S3 and unpack it
            SCHEMA_BUCKET, SCHEMA_KEY  the object
            SCHEMA_DIR                 the directory to unpack it into
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Getenv, os.Stderr))
}

// run returns the process's exit code: 1 for a failure, told in one line, and 2 for a wrong command line.
func run(ctx context.Context, args []string, getenv func(string) string, stderr io.Writer) int {
	var err error
	what := getenv(appenv.Role)
	if what == "" && len(args) == 1 {
		what = args[0]
	}
	switch what {
	case appenv.Web, "serve":
		err = serve(ctx, getenv, stderr)
	case appenv.Worker:
		fmt.Fprintln(stderr, "No application has been released yet. This placeholder does nothing until it is stopped.")
		<-ctx.Done()
	case appenv.Task:
		fmt.Fprintln(stderr, "No application has been released yet. This placeholder did nothing.")
	case "fetch":
		err = fetch(ctx, source{getenv("SCHEMA_BUCKET"), getenv("SCHEMA_KEY")}, getenv("SCHEMA_DIR"), stderr)
	default:
		fmt.Fprintf(stderr, "command %q in the role %q is unknown\n%s", args, getenv(appenv.Role), usage)
		return 2
	}
	if err != nil {
		fmt.Fprintf(stderr, "%s: %s\n", what, strings.Join(strings.Fields(err.Error()), " "))
		return 1
	}
	return 0
}
