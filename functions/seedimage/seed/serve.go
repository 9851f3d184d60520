package main

import (
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
)

//go:embed page.html
var page []byte

// drainTime is how long requests in flight may take after a SIGTERM. The container's stop time-out is 20 seconds.
const drainTime = 15 * time.Second

// endpoint is where and how the page is served.
type endpoint struct {
	port   int
	status int // of HTTP
}

// serve answers every request with the page until ctx is done, then lets requests in flight end.
func serve(ctx context.Context, bindAddr string, e endpoint, log io.Writer) error {
	if e.port < 1 || e.port > 65535 {
		return fmt.Errorf("-port is %d: want a TCP port, 1 to 65535", e.port)
	}
	if e.status < 200 || e.status > 499 {
		return fmt.Errorf("-status is %d: want an HTTP status, 200 to 499", e.status)
	}
	if _, err := netip.ParseAddr(bindAddr); bindAddr != "" && err != nil {
		return fmt.Errorf("BIND_ADDR is %q: want an IP address, or nothing for all interfaces", bindAddr)
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", net.JoinHostPort(bindAddr, strconv.Itoa(e.port)))
	if err != nil {
		return err
	}

	server := &http.Server{
		Handler:           http.HandlerFunc(e.writePage),
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

func (e endpoint) writePage(w http.ResponseWriter, _ *http.Request) {
	header := w.Header()
	header.Set("Content-Type", "text/html; charset=utf-8")
	if e.status != http.StatusNoContent && e.status != http.StatusNotModified { // which have no body
		header.Set("Content-Length", strconv.Itoa(len(page)))
	}
	header.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
	header.Set("X-Content-Type-Options", "nosniff")
	// The application that follows at the same address must be seen at once.
	header.Set("Cache-Control", "no-store")
	w.WriteHeader(e.status)
	w.Write(page)
}
