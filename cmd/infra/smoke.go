package main

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

	"github.com/spf13/cobra"

	"flask-on-fargate/config"
	"flask-on-fargate/internal/folders"
	"flask-on-fargate/internal/plaintext"
)

const smokeHelp = `Request URL until the application answers well.

With --env the command asks what the load balancer asks: the path
service.healthCheckPath of config/ENV.yaml must answer with one of
service.healthCheckCodes. Only scheme and host are taken from URL.
Without --env it requests URL as it is, and 2xx and 3xx are good answers.

A redirect is an answer, and is not followed. A changed answer is printed at
once, the same answer every half minute.

It exits with 0 after a good answer, with 1 if there was none by the end of the
time-out (the last status and the head of the body are printed), and with 2 when
it was called wrongly.`

// The pace of a smoke test.
const (
	smokeInterval = 5 * time.Second  // between two requests
	smokePatience = 10 * time.Second // for one answer
	smokeProgress = 30 * time.Second // between two lines that say the same
	smokeBody     = 1000             // bytes of a body that are shown
)

func newSmoke(w world) *cobra.Command {
	var env string
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:                   "smoke [--env ENV] [--timeout DURATION] URL",
		DisableFlagsInUseLine: true,
		Short:                 "Request the application's URL until it answers",
		Long:                  smokeHelp,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return fmt.Errorf("%d URLs given, %q: name one, as in http://example.com/", len(args), args)
			}
			return checkURL(args[0])
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if timeout <= 0 {
				return fmt.Errorf("--timeout is %s: want more than nothing, as in 5m", timeout)
			}
			s := anyPage(args[0])
			if cmd.Flags().Changed("env") {
				var err error
				if s, err = healthCheck(args[0], env); err != nil {
					return err
				}
			}
			return s.run(cmd.Context(), w, cmd.OutOrStdout(), timeout)
		},
	}
	cmd.Flags().StringVar(&env, "env", "", "environment whose health check is asked")
	cmd.Flags().DurationVar(&timeout, "timeout", 5*time.Minute, "give up after this time, as in 90s or 10m")
	return cmd
}

func checkURL(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return fmt.Errorf("%q is no URL of a website: want http://<host>/<path> or https://…", text)
	}
	return nil
}

// smokeTest is what is requested, and which statuses are good.
type smokeTest struct {
	address string
	good    func(status int) bool
	wanted  string // the good statuses in words
}

func anyPage(address string) smokeTest {
	return smokeTest{address, func(status int) bool { return status >= 200 && status < 400 }, "2xx or 3xx"}
}

// healthCheck is the load balancer's question, at the address of the load balancer.
func healthCheck(address, env string) (smokeTest, error) {
	e, err := config.Load(folders.Config, env)
	if err != nil {
		return smokeTest{}, err
	}
	u, err := url.Parse(address)
	if err != nil {
		return smokeTest{}, err
	}
	s := smokeTest{
		address: u.Scheme + "://" + u.Host + e.Service.HealthCheckPath,
		good:    e.Service.Healthy,
		wanted:  fmt.Sprintf("%s (service.healthCheckPath and service.healthCheckCodes of %s/%s.yaml)", e.Service.HealthCheckCodes, folders.Config, env),
	}
	return s, checkURL(s.address)
}

// run requests the address until it answers well. The last request begins at the time-out, or lasts beyond it.
func (s smokeTest) run(ctx context.Context, w world, out io.Writer, timeout time.Duration) error {
	client := &http.Client{
		Timeout:       smokePatience,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	start := w.Now()
	var last answer
	var said time.Time
	for tries := 1; ; tries++ {
		now := get(ctx, client, s.address)
		took := w.Now().Sub(start)
		if now.answered && s.good(now.status) {
			fmt.Fprintf(out, "%6s  %s: %s answers\n", took.Round(time.Second), now.summary, s.address)
			return nil
		}
		if now.summary != last.summary || w.Now().Sub(said) >= smokeProgress {
			fmt.Fprintf(out, "%6s  %s\n", took.Round(time.Second), now.summary)
			said = w.Now()
		}
		last = now
		if took >= timeout {
			return stop("%s has not answered with %s within %s, in %s; the last answer: %s%s",
				s.address, s.wanted, timeout, plaintext.Count(tries, "request"), last.summary, last.quoteBody())
		}
		if err := w.Wait(ctx, min(smokeInterval, timeout-took)); err != nil {
			return err
		}
	}
}

// answer is what came of one request.
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
			return answer{summary: fmt.Sprintf("no answer within %s", smokePatience)}
		} else if wrapped != nil {
			err = wrapped.Err
		}
		return answer{summary: "no answer: " + err.Error()}
	}
	defer response.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(response.Body, smokeBody)) // the status is the answer; the body only helps
	return answer{
		answered: true,
		status:   response.StatusCode,
		summary:  response.Status,
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
