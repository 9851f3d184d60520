// Command sample is an application to release to the local target, or to any other environment: a page that says which
// version answers, and whether it reaches what the service gives it.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	// The image has no other file than this program, so no certificates of authorities either.
	_ "golang.org/x/crypto/x509roots/fallback"
)

// drainTime is how long requests in flight may take after a SIGTERM. The container's stop time-out is 20 seconds.
const drainTime = 10 * time.Second

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	os.Exit(run(ctx, os.Getenv, os.Stderr))
}

// run returns the process's exit code: 1 for a failure, told in one line, or what SAMPLE_EXIT says.
func run(ctx context.Context, getenv func(string) string, stderr io.Writer) int {
	if text := getenv("SAMPLE_EXIT"); text != "" {
		code, err := strconv.ParseUint(text, 10, 8)
		if err != nil {
			fmt.Fprintf(stderr, "sample: SAMPLE_EXIT is %q: want an exit code, 0 to 255\n", text)
			return 1
		}
		fmt.Fprintf(stderr, "sample: SAMPLE_EXIT asks for exit code %d at once\n", code)
		return int(code)
	}
	page, err := newPage(ctx, getenv)
	if err == nil {
		err = serve(ctx, getenv("BIND_ADDR"), getenv("PORT"), page, stderr)
	}
	if err != nil {
		fmt.Fprintf(stderr, "sample: %v\n", err)
		return 1
	}
	return 0
}

// serve answers requests until ctx is done, then lets requests in flight end.
func serve(ctx context.Context, bindAddr, port string, page http.Handler, log io.Writer) error {
	port = cmp.Or(port, "5000")
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
		return fmt.Errorf("PORT is %q: want a TCP port, 1 to 65535", port)
	}
	if _, err := netip.ParseAddr(bindAddr); bindAddr != "" && err != nil {
		return fmt.Errorf("BIND_ADDR is %q: want an IP address, or nothing for all addresses", bindAddr)
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", net.JoinHostPort(bindAddr, port))
	if err != nil {
		return err
	}

	mux := http.NewServeMux()
	mux.Handle("/{$}", page)
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok\n") })
	server := &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: 10 * time.Second,
		WriteTimeout:      30 * time.Second,
		// Above the load balancer's 60 seconds, so that it is not this side that closes a connection that was just chosen.
		IdleTimeout: 75 * time.Second,
	}
	fmt.Fprintf(log, "sample: listening on %s\n", listener.Addr())
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTime)
	defer cancel()
	if err := server.Shutdown(drain); err != nil {
		return errors.Join(fmt.Errorf("requests were still in flight after %s", drainTime), server.Close())
	}
	return nil
}
