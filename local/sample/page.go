package main

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"
)

// checkTime bounds what one answer waits for. The load balancer's health check, which asks for the page too, gives up
// after 5 seconds.
const checkTime = 2 * time.Second

// page is the answer to `/`: a line for each thing that the service gives its application. What fails is said on its
// line; the status is 200 all the same, so that a database that is away does not end the tasks.
type page struct {
	version, host, secret string
	database              *database
	bucket                *bucket
}

func newPage(ctx context.Context, getenv func(string) string) (*page, error) {
	host, err := os.Hostname()
	if err != nil {
		return nil, err
	}
	p := &page{version: cmp.Or(getenv("SAMPLE_VERSION"), "unknown"), host: host, secret: "FLASK_SECRET is set"}
	if getenv("FLASK_SECRET") == "" {
		p.secret = "FLASK_SECRET is not set"
	}
	if p.database, err = newDatabase(getenv); err != nil {
		return nil, err
	}
	if p.bucket, err = newBucket(ctx, getenv); err != nil {
		return nil, err
	}
	return p, nil
}

func (p *page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), checkTime)
	defer cancel()
	var database, bucket string
	var checks sync.WaitGroup
	checks.Go(func() { database = said(p.database.check(ctx)) })
	checks.Go(func() { bucket = said(p.bucket.check(ctx)) })
	checks.Wait()

	var text bytes.Buffer
	text.WriteString("Sample application of flask-on-fargate\n\n")
	fmt.Fprintf(&text, "version:  %s\nhost:     %s\ndatabase: %s\nbucket:   %s\nsecret:   %s\n", p.version, p.host, database, bucket, p.secret)
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.Write(text.Bytes())
}

// said is a check's result on one line.
func said(found string, err error) string {
	if err != nil {
		return "failed: " + strings.Join(strings.Fields(err.Error()), " ")
	}
	return found
}
