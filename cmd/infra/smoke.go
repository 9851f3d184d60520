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
)

const smokeHelp = `Request URL until it answers with a status of 2xx or 3xx. A redirect is an answer,
and is not followed. What is new about the answers is printed, and every half
minute that nothing is.

It exits with 0 when the URL has answered so, with 1 when it has not by the end
of the time-out (the last status and the head of the body are printed), and with
2 when it was called wrongly.`

// The pace of a smoke test.
const (
	smokeInterval = 5 * time.Second  // between two requests
	smokePatience = 10 * time.Second // for one answer
	smokeProgress = 30 * time.Second // between two lines that say the same
	smokeBody     = 1000             // bytes of a body that are shown
)

func newSmoke(w world) *cobra.Command {
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:                   "smoke [--timeout DURATION] URL",
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
			return smoke(cmd.Context(), w, cmd.OutOrStdout(), args[0], timeout)
		},
	}
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

// smoke requests address until it answers well, or until the time is over.
func smoke(ctx context.Context, w world, out io.Writer, address string, timeout time.Duration) error {
	client := &http.Client{
		Timeout:       smokePatience,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	start := w.now()
	var last answer
	var said time.Time
	for tries := 1; ; tries++ {
		now := get(ctx, client, address)
		took := w.now().Sub(start).Round(time.Second)
		if now.good {
			fmt.Fprintf(out, "%6s  %s: %s answers\n", took, now.summary, address)
			return nil
		}
		if now.summary != last.summary || w.now().Sub(said) >= smokeProgress {
			fmt.Fprintf(out, "%6s  %s\n", took, now.summary)
			said = w.now()
		}
		last = now
		if took+smokeInterval > timeout {
			return stop("%s has not answered with 2xx or 3xx within %s, in %s; the last answer: %s%s",
				address, timeout, count(tries, "request"), last.summary, last.quoteBody())
		}
		if err := w.wait(ctx, smokeInterval); err != nil {
			return err
		}
	}
}

// answer is what came of one request.
type answer struct {
	answered bool
	good     bool
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
		good:     response.StatusCode >= 200 && response.StatusCode < 400,
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
