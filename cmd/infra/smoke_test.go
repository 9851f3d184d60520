package main

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"flask-on-fargate/internal/clock"

	"github.com/google/go-cmp/cmp"
)

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
	return runSmokeAt(&time.Time{}, args...)
}

// runSmokeAt begins at now, which only waiting moves.
func runSmokeAt(now *time.Time, args ...string) (code int, stdout, stderr string) {
	var out, errors bytes.Buffer
	code = runIn(world{Clock: clock.Manual(now)}, append([]string{"smoke"}, args...), strings.NewReader(""), &out, &errors)
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
		}, "    0s  301 Moved Permanently to http://never.invalid/: URL answers\n"},
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

// TestSmokeJudgesAsTheLoadBalancerDoes has applications whose path / says nothing about their health.
func TestSmokeJudgesAsTheLoadBalancerDoes(t *testing.T) {
	api := func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.RequestURI() {
		case "/api/health":
			fmt.Fprint(w, "ok")
		case "/api/health?deep=1":
			w.WriteHeader(http.StatusUnauthorized)
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	}
	for name, test := range map[string]struct {
		service        string
		code           int
		stdout, stderr string
	}{
		"an API that has no page":      {"{healthCheckPath: /api/health}", 0, "    0s  200 OK: URL/api/health answers\n", ""},
		"a path with a query":          {`{healthCheckPath: "/api/health?deep=1", healthCheckCodes: "401"}`, 0, "    0s  401 Unauthorized: URL/api/health?deep=1 answers\n", ""},
		"a status that is not healthy": {`{healthCheckPath: /api/health, healthCheckCodes: "204,300-399"}`, 1, "    0s  200 OK\n", "infra smoke: URL/api/health has not answered with 204,300-399 (service.healthCheckPath and service.healthCheckCodes of config/dev.yaml) within 4s, in 2 requests; the last answer: 200 OK. Its body begins:\n    ok\n"},
		"nothing configured":           {"{}", 1, "    0s  404 Not Found\n", "infra smoke: URL/ has not answered with 200 (service.healthCheckPath and service.healthCheckCodes of config/dev.yaml) within 4s, in 2 requests; the last answer: 404 Not Found, without a body\n"},
	} {
		t.Run(name, func(t *testing.T) {
			newFakeAWS(t).configure(t, "dev", "service: "+test.service+"\n")
			url := answers(t, api)
			code, stdout, stderr := runSmoke("--env", "dev", "--timeout", "4s", url+"/what/follows/is/not?used")
			if code != test.code {
				t.Errorf("exit code %d, want %d", code, test.code)
			}
			if diff := cmp.Diff(test.stdout+test.stderr, strings.ReplaceAll(stdout+stderr, url, "URL")); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// TestSmokeWaitsItsWholeTimeOut has answers that take time themselves.
func TestSmokeWaitsItsWholeTimeOut(t *testing.T) {
	for timeout, want := range map[string]string{"7s": "7s", "11s": "11s", "8s": "8s", "10400ms": "10s"} {
		t.Run(timeout, func(t *testing.T) {
			now := time.Time{}
			limit, err := time.ParseDuration(timeout)
			if err != nil {
				t.Fatal(err)
			}
			begun, last := now, time.Duration(-1)
			url := answers(t, func(w http.ResponseWriter, _ *http.Request) {
				if last = now.Sub(begun); last >= limit {
					return
				}
				now = now.Add(700 * time.Millisecond)
				w.WriteHeader(http.StatusServiceUnavailable)
			})
			code, stdout, stderr := runSmokeAt(&now, "--timeout", timeout, url)
			if code != 0 || last != limit || !strings.Contains(stdout, want+"  200 OK: ") {
				t.Errorf("exit code %d, the last request at %s\n%s%s", code, last, stdout, stderr)
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
	newFakeAWS(t).configure(t, "dev", "service: {healthCheckPath: /100%}\n")
	for name, test := range map[string]struct {
		args []string
		want string
	}{
		"a path that is none": {[]string{"--env", "dev", "http://example.com"}, `service.healthCheckPath: "/100%" is no path of a URL`},
		"no URL":              {nil, "0 URLs given, []: name one"},
		"an unset output":     {[]string{""}, `"" is no URL of a website`},
		"no scheme":           {[]string{"example.com"}, `"example.com" is no URL of a website`},
		"another scheme":      {[]string{"ftp://example.com"}, `"ftp://example.com" is no URL of a website`},
		"no such file":        {[]string{"--env", "stage", "http://example.com"}, `there is no environment "stage"`},
		"an unset name":       {[]string{"--env", "", "http://example.com"}, `"" cannot name an environment`},
		"time-out of zero":    {[]string{"--timeout", "0s", "http://example.com"}, "--timeout is 0s: want more than nothing"},
	} {
		t.Run(name, func(t *testing.T) {
			if code, _, stderr := runSmoke(test.args...); code != 2 || !strings.Contains(stderr, test.want) {
				t.Errorf("exit code %d, stderr %q, want 2 and %q", code, stderr, test.want)
			}
		})
	}
}
