package main

import (
	"cmp"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"flask-on-fargate/internal/appenv"
)

//go:embed page.html
var page []byte

// drainTime is how long requests in flight may take after a SIGTERM. The container's stop time-out is 20 seconds.
const drainTime = 15 * time.Second

// serve answers every request with the page until ctx is done, then lets requests in flight end.
func serve(ctx context.Context, getenv func(string) string, log io.Writer) error {
	port := cmp.Or(getenv(appenv.Port), "5000")
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
		return fmt.Errorf("%s is %q: want a TCP port, 1 to 65535", appenv.Port, port)
	}
	status, err := strconv.Atoi(cmp.Or(getenv(appenv.PlaceholderStatus), "200"))
	if err != nil || status < 200 || status > 499 {
		return fmt.Errorf("%s is %q: want an HTTP status, 200 to 499", appenv.PlaceholderStatus, getenv(appenv.PlaceholderStatus))
	}
	// Not BIND_ADDR, which may be a variable of the application's.
	bindAddr := getenv("SEED_BIND_ADDR")
	if _, err := netip.ParseAddr(bindAddr); bindAddr != "" && err != nil {
		return fmt.Errorf("SEED_BIND_ADDR is %q: want an IP address, or nothing for all interfaces", bindAddr)
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", net.JoinHostPort(bindAddr, port))
	if err != nil {
		return err
	}

	server := &http.Server{
		Handler:           writePage(status),
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      30 * time.Second,
		// Above the load balancer's 60 seconds, so that it is not this side that closes a connection that was just chosen:
		// https://docs.aws.amazon.com/elasticloadbalancing/latest/application/application-load-balancers.html#connection-idle-timeout
		IdleTimeout: 75 * time.Second,
	}
	fmt.Fprintf(log, "placeholder listening on %s\n", listener.Addr())
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

// writePage answers with a status, and with the page if the status allows a body.
func writePage(status int) http.HandlerFunc {
	body := page
	if status == http.StatusNoContent || status == http.StatusResetContent || status == http.StatusNotModified {
		body = nil
	}
	return func(w http.ResponseWriter, _ *http.Request) {
		header := w.Header()
		header.Set("Content-Type", "text/html; charset=utf-8")
		if body != nil {
			header.Set("Content-Length", strconv.Itoa(len(body)))
		}
		header.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
		header.Set("X-Content-Type-Options", "nosniff")
		// The application that follows at the same address must be seen at once.
		header.Set("Cache-Control", "no-store")
		w.WriteHeader(status)
		w.Write(body)
	}
}
