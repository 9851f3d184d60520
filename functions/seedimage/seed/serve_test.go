package main

import (
	"bufio"
	"bytes"
	"context"
	"io"
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

// startServe runs `seed serve` on a free port of loopback. It returns the address, and a function that stops the
// program and returns its exit code.
func startServe(t *testing.T) (address string, stop func() int) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address = listener.Addr().String()
	listener.Close()
	_, port, _ := net.SplitHostPort(address)

	ctx, cancel := context.WithCancel(t.Context())
	stderr, log := io.Pipe()
	code := make(chan int, 1)
	go func() {
		code <- run(ctx, []string{"serve"}, environment(map[string]string{"PORT": port, "BIND_ADDR": "127.0.0.1"}), log)
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
	address, stop := startServe(t)
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
		"no command":        {nil, nil, 2, "usage: seed serve|fetch"},
		"unknown command":   {[]string{"sreve"}, nil, 2, "unknown command \"sreve\"\nusage: seed serve|fetch"},
		"an argument":       {[]string{"serve", "80"}, nil, 2, "usage: seed serve|fetch"},
		"port not number":   {[]string{"serve"}, map[string]string{"PORT": "http"}, 1, "serve: PORT is \"http\": want a TCP port, 1 to 65535\n"},
		"port out of range": {[]string{"serve"}, map[string]string{"PORT": "65536"}, 1, "serve: PORT is \"65536\": want a TCP port, 1 to 65535\n"},
		"bind a name":       {[]string{"serve"}, map[string]string{"BIND_ADDR": "localhost"}, 1, "serve: BIND_ADDR is \"localhost\": want an IP address"},
		"port taken": {[]string{"serve"}, map[string]string{"BIND_ADDR": "127.0.0.1", "PORT": strconv.Itoa(taken.Addr().(*net.TCPAddr).Port)},
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
