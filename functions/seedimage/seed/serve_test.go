package main

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"maps"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// environment is a getenv of fixed variables.
func environment(variables map[string]string) func(string) string {
	return func(name string) string { return variables[name] }
}

// startServe runs the program in the role web on a free port of loopback, with a command and more variables. It returns the
// address, and a function that stops the program and returns its exit code.
func startServe(t *testing.T, command []string, more map[string]string) (address string, stop func() int) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address = listener.Addr().String()
	listener.Close()
	_, port, _ := net.SplitHostPort(address)
	// BIND_ADDR is the application's, not ours.
	variables := map[string]string{"PORT": port, "APP_ROLE": "web", "SEED_BIND_ADDR": "127.0.0.1", "BIND_ADDR": "0.0.0.0:5000"}
	maps.Copy(variables, more)

	ctx, cancel := context.WithCancel(t.Context())
	stderr, log := io.Pipe()
	code := make(chan int, 1)
	go func() {
		code <- run(ctx, command, environment(variables), log)
		log.Close()
	}()
	line, err := bufio.NewReader(stderr).ReadString('\n')
	if err != nil || !strings.Contains(line, address) {
		t.Fatalf("%q, %v; want the address %s", line, err, address)
	}
	go io.Copy(io.Discard, stderr)
	return address, func() int {
		cancel()
		return <-code
	}
}

func TestServeAnswersEveryPathAndMethod(t *testing.T) {
	address, stop := startServe(t, []string{"serve"}, map[string]string{"APP_ROLE": ""})
	for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"} {
		for _, path := range []string{"/", "/health", "/a/../b//c", "/%2e%2e/", "/favicon.ico?x=1"} {
			request, err := http.NewRequest(method, "http://"+address+path, strings.NewReader("body"))
			if err != nil {
				t.Fatal(err)
			}
			request.Header.Set("Range", "bytes=0-1")
			response, err := http.DefaultTransport.RoundTrip(request)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(response.Body)
			response.Body.Close()
			if err != nil || response.StatusCode != http.StatusOK {
				t.Errorf("%s %s: %s, %v", method, path, response.Status, err)
			}
			if want := method != "HEAD"; bytes.Equal(body, page) != want || response.ContentLength != int64(len(page)) {
				t.Errorf("%s %s: %d bytes of %d", method, path, len(body), response.ContentLength)
			}
			if got := response.Header.Get("Cache-Control"); got != "no-store" {
				t.Errorf("%s %s: Cache-Control %q", method, path, got)
			}
			if got := response.Header.Get("Content-Type"); got != "text/html; charset=utf-8" {
				t.Errorf("%s %s: Content-Type %q", method, path, got)
			}
		}
	}
	if code := stop(); code != 0 {
		t.Errorf("stopped with exit code %d, want 0", code)
	}
}

func TestServe(t *testing.T) {
	tests := map[string]struct {
		command []string
		status  int
		body    bool
	}{
		"answers a redirection as the health check wants it":        {[]string{"serve"}, 302, true},
		"answers a status without a body":                           {[]string{"serve"}, 204, false},
		"answers in place of an application with a command":         {[]string{"gunicorn", "--bind", "0.0.0.0:8000", "app:app"}, 200, true},
		"answers in place of a command that begins with a dash":     {[]string{"--workers", "2"}, 200, true},
		"answers in place of an application whose command is fetch": {[]string{"fetch"}, 200, true},
		"answers in place of an application without a command":      {nil, 200, true},
	}
	for behaviour, test := range tests {
		t.Run(behaviour, func(t *testing.T) {
			address, stop := startServe(t, test.command, map[string]string{"PLACEHOLDER_STATUS": strconv.Itoa(test.status)})
			request, err := http.NewRequest(http.MethodGet, "http://"+address+"/accounts/login", nil)
			if err != nil {
				t.Fatal(err)
			}
			response, err := http.DefaultTransport.RoundTrip(request)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(response.Body)
			response.Body.Close()
			if err != nil || response.StatusCode != test.status || bytes.Equal(body, page) != test.body {
				t.Errorf("%s with %d bytes, %v; want %d, with the page: %t", response.Status, len(body), err, test.status, test.body)
			}
			if code := stop(); code != 0 {
				t.Errorf("stopped with exit code %d, want 0", code)
			}
		})
	}
}

func TestPlaceholder(t *testing.T) {
	t.Run("waits in the place of a worker until SIGTERM", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		stderr, log := io.Pipe()
		code := make(chan int, 1)
		go func() {
			code <- run(ctx, []string{"celery", "worker"}, environment(map[string]string{"APP_ROLE": "worker"}), log)
			log.Close()
		}()
		line, err := bufio.NewReader(stderr).ReadString('\n')
		if err != nil || !strings.Contains(line, "No application has been released yet") {
			t.Errorf("%q, %v", line, err)
		}
		select {
		case got := <-code:
			t.Errorf("ended with exit code %d before it was stopped", got)
		default:
		}
		cancel()
		if got := <-code; got != 0 {
			t.Errorf("stopped with exit code %d, want 0", got)
		}
	})
	t.Run("ends in the place of a task", func(t *testing.T) {
		var stderr bytes.Buffer
		code := run(t.Context(), []string{"flask", "report"}, environment(map[string]string{"APP_ROLE": "task"}), &stderr)
		if code != 0 || !strings.Contains(stderr.String(), "No application has been released yet") {
			t.Errorf("exit code %d, %q", code, stderr.String())
		}
	})
}

func TestThePageIsSelfContained(t *testing.T) {
	for _, forbidden := range []string{"http:", "https:", "//", "<script", "<img", "<link", "@import", "url(", "arn:", "amazonaws"} {
		if bytes.Contains(page, []byte(forbidden)) {
			t.Errorf("the page holds %q", forbidden)
		}
	}
	for _, link := range regexp.MustCompile(`(?:href|src)="([^"]*)"`).FindAllSubmatch(page, -1) {
		if len(link[1]) > 0 && (link[1][0] == '/' || bytes.Contains(link[1], []byte(":"))) {
			t.Errorf("the page links to %q", link[1])
		}
	}
	for _, wanted := range []string{"The environment is up", "placeholder", "handshake", "Push a commit to the connected repository", "prefers-color-scheme: dark"} {
		if !bytes.Contains(page, []byte(wanted)) {
			t.Errorf("the page does not say %q", wanted)
		}
	}
}

func TestWrongUseIsToldInOneLine(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	tests := map[string]struct {
		args []string
		env  map[string]string
		code int
		want string
	}{
		"no command":          {nil, nil, 2, "command [] in the role \"\" is unknown\nusage: seed COMMAND"},
		"unknown command":     {[]string{"fetchh"}, nil, 2, "command [\"fetchh\"] in the role \"\" is unknown\nusage: seed COMMAND"},
		"unknown role":        {[]string{"serve"}, map[string]string{"APP_ROLE": "wbe"}, 2, "command [\"serve\"] in the role \"wbe\" is unknown\nusage: seed COMMAND"},
		"port not number":     {[]string{"serve"}, map[string]string{"PORT": "http"}, 1, "serve: PORT is \"http\": want a TCP port, 1 to 65535\n"},
		"port out of range":   {[]string{"serve"}, map[string]string{"PORT": "65536"}, 1, "serve: PORT is \"65536\": want a TCP port, 1 to 65535\n"},
		"status out of range": {[]string{"serve"}, map[string]string{"PLACEHOLDER_STATUS": "199"}, 1, "serve: PLACEHOLDER_STATUS is \"199\": want an HTTP status, 200 to 499\n"},
		"bind a name":         {[]string{"serve"}, map[string]string{"SEED_BIND_ADDR": "localhost"}, 1, "serve: SEED_BIND_ADDR is \"localhost\": want an IP address"},
		"port taken": {[]string{"serve"}, map[string]string{"SEED_BIND_ADDR": "127.0.0.1", "PORT": strconv.Itoa(taken.Addr().(*net.TCPAddr).Port)},
			1, "serve: listen tcp " + taken.Addr().String() + ": bind: address already in use\n"},
		"no bucket": {[]string{"fetch"}, map[string]string{"SCHEMA_KEY": "k", "SCHEMA_DIR": "d"}, 1,
			"fetch: SCHEMA_BUCKET is not set; fetch needs SCHEMA_BUCKET, SCHEMA_KEY and SCHEMA_DIR\n"},
	}
	for behaviour, test := range tests {
		t.Run(behaviour, func(t *testing.T) {
			var stderr bytes.Buffer
			code := run(t.Context(), test.args, environment(test.env), &stderr)
			if code != test.code || !strings.HasPrefix(stderr.String(), test.want) {
				t.Errorf("exit code %d, %q; want %d, %q", code, stderr.String(), test.code, test.want)
			}
		})
	}
}
