// Command seed is the program of the image that a repository holds before an application was released to it.
//
//	seed serve    answer every request with a page that says what to do next
//	seed fetch    download the schema's files from S3 and unpack them, for the container that applies them
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
)

const usage = `usage: seed serve|fetch

serve   answer 200 with the placeholder's page on every path
          PORT       TCP port, default 5000
          BIND_ADDR  IP address to listen on, default all interfaces; for running several on one machine
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
	if len(args) != 1 {
		fmt.Fprint(stderr, usage)
		return 2
	}
	var err error
	switch args[0] {
	case "serve":
		err = serve(ctx, getenv("BIND_ADDR"), getenv("PORT"), stderr)
	case "fetch":
		err = fetch(ctx, source{getenv("SCHEMA_BUCKET"), getenv("SCHEMA_KEY")}, getenv("SCHEMA_DIR"), stderr)
	default:
		fmt.Fprintf(stderr, "unknown command %q\n%s", args[0], usage)
		return 2
	}
	if err != nil {
		fmt.Fprintf(stderr, "%s: %s\n", args[0], strings.Join(strings.Fields(err.Error()), " "))
		return 1
	}
	return 0
}
