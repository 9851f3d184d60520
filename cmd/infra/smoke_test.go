package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// smokeWorld is a world whose clock moves by waiting only.
func smokeWorld() world {
	clock := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	return world{
		now: func() time.Time { return clock },
		wait: func(_ context.Context, d time.Duration) error {
			clock = clock.Add(d)
			return nil
		},
	}
}

// answers is a website that gives these answers, one after the other, and the last one for ever.
func answers(t *testing.T, handlers ...http.HandlerFunc) string {
	t.Helper()
	tries := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		handlers[min(tries, len(handlers)-1)](w, r)
		tries++
	}))
	t.Cleanup(server.Close)
	return server.URL
}

func status(code int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(code)
		fmt.Fprint(w, body)
	}
}

func runSmoke(args ...string) (code int, stdout, stderr string) {
	var out, errors bytes.Buffer
	code = runIn(smokeWorld(), append([]string{"smoke"}, args...), strings.NewReader(""), &out, &errors)
	return code, out.String(), errors.String()
}

func TestSmokeSucceedsOnTheFirstGoodAnswer(t *testing.T) {
	for name, test := range map[string]struct {
		answer http.HandlerFunc
		want   string
	}{
		"200": {status(200, "hello"), "    0s  200 OK: URL answers\n"},
		"204": {status(204, ""), "    0s  204 No Content: URL answers\n"},
		"a redirect, which is not followed": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://never.invalid/", http.StatusMovedPermanently)
		}, "    0s  301 Moved Permanently: URL answers\n"},
	} {
		t.Run(name, func(t *testing.T) {
			url := answers(t, test.answer)
			code, stdout, stderr := runSmoke(url)
			if code != 0 || stderr != "" {
				t.Errorf("exit code %d, stderr %q", code, stderr)
			}
			if diff := cmp.Diff(test.want, strings.ReplaceAll(stdout, url, "URL")); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestSmokeShowsWhatIsNewAndThatItStillTries(t *testing.T) {
	bad := status(503, "starting")
	handlers := []http.HandlerFunc{status(502, ""), bad, bad, bad, bad, bad, bad, bad, status(200, "")}
	url := answers(t, handlers...)
	code, stdout, stderr := runSmoke(url)
	want := "    0s  502 Bad Gateway\n" +
		"    5s  503 Service Unavailable\n" +
		"   35s  503 Service Unavailable\n" +
		"   40s  200 OK: URL answers\n"
	if code != 0 || stderr != "" {
		t.Errorf("exit code %d, stderr %q", code, stderr)
	}
	if diff := cmp.Diff(want, strings.ReplaceAll(stdout, url, "URL")); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestSmokeFailsWithTheStatusAndTheHeadOfTheBody(t *testing.T) {
	for name, test := range map[string]struct {
		answer http.HandlerFunc
		want   string
	}{
		"with a body": {status(500, "Traceback\n\x1b[31m  KeyError: 'DATABASE_HOST'\r\n"),
			"500 Internal Server Error. Its body begins:\n    Traceback\n    [31m  KeyError: 'DATABASE_HOST'\n"},
		"without":   {status(404, ""), "404 Not Found, without a body\n"},
		"long body": {status(500, strings.Repeat("x", 5000)), "500 Internal Server Error. Its body begins:\n    " + strings.Repeat("x", 1000) + "\n"},
	} {
		t.Run(name, func(t *testing.T) {
			url := answers(t, test.answer)
			code, _, stderr := runSmoke("--timeout", "1m", url)
			want := "infra smoke: URL has not answered with 2xx or 3xx within 1m0s, in 13 requests; the last answer: " + test.want
			if code != 1 {
				t.Errorf("exit code %d, want 1", code)
			}
			if diff := cmp.Diff(want, strings.ReplaceAll(stderr, url, "URL")); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestSmokeFailsIfNobodyAnswers(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	url := server.URL
	server.Close()
	code, stdout, stderr := runSmoke("--timeout", "20s", url)
	if code != 1 || !strings.Contains(stdout, "no answer: dial tcp") || !strings.Contains(stderr, "in 5 requests; the last answer: no answer: dial tcp") || strings.Contains(stderr, "body") {
		t.Errorf("exit code %d\n%s\n%s", code, stdout, stderr)
	}
}

func TestSmokeRefuses(t *testing.T) {
	for name, test := range map[string]struct {
		args []string
		want string
	}{
		"no URL":           {nil, "0 URLs given, []: name one"},
		"an unset output":  {[]string{""}, `"" is no URL of a website`},
		"no scheme":        {[]string{"example.com"}, `"example.com" is no URL of a website`},
		"another scheme":   {[]string{"ftp://example.com"}, `"ftp://example.com" is no URL of a website`},
		"time-out of zero": {[]string{"--timeout", "0s", "http://example.com"}, "--timeout is 0s: want more than nothing"},
	} {
		t.Run(name, func(t *testing.T) {
			if code, _, stderr := runSmoke(test.args...); code != 2 || !strings.Contains(stderr, test.want) {
				t.Errorf("exit code %d, stderr %q, want 2 and %q", code, stderr, test.want)
			}
		})
	}
}
