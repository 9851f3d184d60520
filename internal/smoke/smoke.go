// Package smoke requests the URL of the application until it answers well.
package smoke

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode"

	"flask-on-fargate/config"
	"flask-on-fargate/internal/clock"
	"flask-on-fargate/internal/folders"
	"flask-on-fargate/internal/plaintext"
	"flask-on-fargate/internal/stop"
)

// The pace of a smoke test.
const (
	interval    = 5 * time.Second  // between two requests
	patience    = 10 * time.Second // for one answer
	pause       = 30 * time.Second // between two lines that say the same
	maxBody     = 1000             // bytes of a body that are shown
	maxLocation = 200              // characters of a redirect's address that are shown
)

// CheckURL returns an error if a text cannot be the address of a website.
func CheckURL(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return fmt.Errorf("%q is no URL of a website: want http://<host>/<path> or https://…", text)
	}
	return nil
}

// Test is what is requested, and which statuses are good.
type Test struct {
	address string
	good    func(status int) bool
	wanted  string // the good statuses in words
}

// AnyPage requests an address as it is.
func AnyPage(address string) Test {
	return Test{address, func(status int) bool { return status >= 200 && status < 400 }, "2xx or 3xx"}
}

// HealthCheck asks what the load balancer of an environment asks, at the host of an address.
func HealthCheck(address, env string) (Test, error) {
	e, err := config.Load(folders.Config, env)
	if err != nil {
		return Test{}, err
	}
	u, err := url.Parse(address)
	if err != nil {
		return Test{}, err
	}
	t := Test{
		address: u.Scheme + "://" + u.Host + e.Service.HealthCheckPath,
		good:    e.Service.Healthy,
		wanted:  fmt.Sprintf("%s (service.healthCheckPath and service.healthCheckCodes of %s/%s.yaml)", e.Service.HealthCheckCodes, folders.Config, env),
	}
	return t, CheckURL(t.address)
}

// Run requests the address until it answers well, and prints the answers to out. The last request may start at the time-out, so
// that Run can take longer.
func (t Test) Run(ctx context.Context, c clock.Clock, out io.Writer, timeout time.Duration) error {
	client := &http.Client{
		Timeout:       patience,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	start := c.Now()
	var last answer
	var said time.Time
	for tries := 1; ; tries++ {
		now := get(ctx, client, t.address)
		took := c.Now().Sub(start)
		if now.answered && t.good(now.status) {
			fmt.Fprintf(out, "%6s  %s: %s answers\n", took.Round(time.Second), now.summary, t.address)
			return nil
		}
		if now.summary != last.summary || c.Now().Sub(said) >= pause {
			fmt.Fprintf(out, "%6s  %s\n", took.Round(time.Second), now.summary)
			said = c.Now()
		}
		last = now
		if took >= timeout {
			return stop.Errorf("%s has not answered with %s within %s, in %s; the last answer: %s%s",
				t.address, t.wanted, timeout, plaintext.Count(tries, "request"), last.summary, last.quoteBody())
		}
		if err := c.Wait(ctx, min(interval, timeout-took)); err != nil {
			return err
		}
	}
}

// answer is the result of one request.
type answer struct {
	answered bool
	status   int
	summary  string // the status, or why there is none
	body     []byte // the head of it
}

func get(ctx context.Context, client *http.Client, address string) answer {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return answer{summary: err.Error()}
	}
	request.Header.Set("User-Agent", "infra-smoke")
	response, err := client.Do(request)
	if err != nil {
		var wrapped *url.Error // which repeats method and URL
		if errors.As(err, &wrapped) && wrapped.Timeout() {
			return answer{summary: fmt.Sprintf("no answer within %s", patience)}
		} else if wrapped != nil {
			err = wrapped.Err
		}
		return answer{summary: "no answer: " + err.Error()}
	}
	defer response.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(response.Body, maxBody)) // the status is the answer; the body only helps
	summary := response.Status
	if to := response.Header.Get("Location"); to != "" {
		summary += " to " + plaintext.Cut(plaintext.OneLine(to), maxLocation)
	}
	return answer{
		answered: true,
		status:   response.StatusCode,
		summary:  summary,
		body:     body,
	}
}

// quoteBody shows the body as an indented block of plain text.
func (a answer) quoteBody() string {
	text := strings.Map(func(c rune) rune {
		if c != '\n' && c != '\t' && !unicode.IsPrint(c) {
			return -1
		}
		return c
	}, string(bytes.TrimSpace(a.body)))
	switch {
	case !a.answered:
		return ""
	case text == "":
		return ", without a body"
	}
	return ". Its body begins:\n    " + strings.ReplaceAll(text, "\n", "\n    ")
}
