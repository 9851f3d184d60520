package main

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// The test binary is the program itself when this variable is set, so that tests see real processes.
const asSample = "SAMPLE_TEST_AS_SAMPLE"

func TestMain(m *testing.M) {
	if os.Getenv(asSample) != "" {
		main()
	}
	os.Exit(m.Run())
}

// sample returns the program with only the variables env.
func sample(t *testing.T, env ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self)
	cmd.Env = append([]string{asSample + "=1"}, env...)
	return cmd
}

func freePort(t *testing.T, host string) string {
	t.Helper()
	listener, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return strconv.Itoa(listener.Addr().(*net.TCPAddr).Port)
}

// start runs the program until it listens, at an address of loopback that is not the usual one.
func start(t *testing.T, env ...string) (cmd *exec.Cmd, url string) {
	t.Helper()
	port := freePort(t, "127.0.0.2")
	cmd = sample(t, append([]string{"BIND_ADDR=127.0.0.2", "PORT=" + port}, env...)...)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(stderr).ReadString('\n')
	if want := "sample: listening on 127.0.0.2:" + port + "\n"; line != want {
		t.Fatalf("it says %q, %v; want %q", line, err, want)
	}
	return cmd, "http://127.0.0.2:" + port
}

func get(t *testing.T, url string) (status int, body string) {
	t.Helper()
	response, err := http.Get(url)
	if err != nil {
		t.Error(err)
		return 0, ""
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Error(err)
	}
	return response.StatusCode, string(text)
}

// fakeS3 keeps one object, in buckets of path style only.
type fakeS3 struct {
	*httptest.Server
	before func() // each request

	mu     sync.Mutex
	object []byte
	puts   int
}

func newFakeS3(t *testing.T) *fakeS3 {
	f := &fakeS3{before: func() {}}
	f.Server = httptest.NewServer(f)
	t.Cleanup(f.Close)
	return f
}

func (f *fakeS3) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.before()
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case r.URL.Path != "/photos/sample.txt":
		w.WriteHeader(http.StatusNotFound)
	case r.Method == http.MethodPut:
		f.object, _ = io.ReadAll(r.Body)
		f.puts++
	default:
		w.Write(f.object)
	}
}

func (f *fakeS3) env() []string {
	return []string{"PHOTOS_BUCKET=photos", "AWS_ENDPOINT_URL=" + f.URL, "AWS_REGION=eu-central-1", "AWS_ACCESS_KEY_ID=test", "AWS_SECRET_ACCESS_KEY=test"}
}

func TestThePageSaysWhatIsReached(t *testing.T) {
	s3 := newFakeS3(t)
	_, url := start(t, append(s3.env(), "SAMPLE_VERSION=two words", "FLASK_SECRET=never shown")...)
	for range 3 {
		status, body := get(t, url+"/")
		if status != http.StatusOK {
			t.Errorf("status %d", status)
		}
		for _, want := range []string{
			"\nversion:  two words\n", "\ndatabase: DATABASE_HOST is not set\n", "\nbucket:   photos, put and got sample.txt\n", "\nsecret:   FLASK_SECRET is set\n",
		} {
			if !strings.Contains(body, want) {
				t.Errorf("the page lacks %q:\n%s", want, body)
			}
		}
		if strings.Contains(body, "never shown") {
			t.Errorf("the page shows the secret:\n%s", body)
		}
	}
	if s3.puts != 1 {
		t.Errorf("the object was put %d times, want once: in a versioned bucket each is a version", s3.puts)
	}
}

func TestWhatFailsIsOnThePageAndTheStatusIs200(t *testing.T) {
	s3 := newFakeS3(t)
	// Nothing listens there, unless a MySQL server of this machine is open to all of loopback; that one refuses the user.
	_, url := start(t, append(s3.env(), "PHOTOS_BUCKET=other", "DATABASE_HOST=127.0.0.3", "DATABASE_USER=nobody", "DATABASE_DB_NAME=flaskdb")...)
	status, body := get(t, url+"/")
	if status != http.StatusOK {
		t.Errorf("status %d, want 200", status)
	}
	for _, want := range []string{
		"\nversion:  unknown\n", "\ndatabase: failed: flaskdb on 127.0.0.3:3306: ", "\nbucket:   failed: put s3://other/sample.txt: ", "\nsecret:   FLASK_SECRET is not set\n",
	} {
		if !strings.Contains(body, want) {
			t.Errorf("the page lacks %q:\n%s", want, body)
		}
	}
	if lines := strings.Count(body, "\n"); lines != 7 {
		t.Errorf("%d lines, want 7: each failure on one\n%s", lines, body)
	}
}

func TestThePageWaitsAFewSecondsAtMost(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0") // takes connections and never answers
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	_, url := start(t, "PHOTOS_BUCKET=photos", "AWS_ENDPOINT_URL=http://"+silent.Addr().String(), "AWS_REGION=eu-central-1", "AWS_ACCESS_KEY_ID=test", "AWS_SECRET_ACCESS_KEY=test")
	begin := time.Now()
	status, body := get(t, url+"/")
	if took := time.Since(begin); status != http.StatusOK || took > checkTime+time.Second {
		t.Errorf("status %d after %s\n%s", status, took, body)
	}
}

func TestHealthzTouchesNothing(t *testing.T) {
	s3 := newFakeS3(t)
	s3.before = func() { t.Error("the bucket was asked") }
	_, url := start(t, s3.env()...)
	if status, body := get(t, url+"/healthz"); status != http.StatusOK || body != "ok\n" {
		t.Errorf("%d %q", status, body)
	}
	if status, _ := get(t, url+"/other"); status != http.StatusNotFound {
		t.Errorf("/other answers %d, want 404", status)
	}
}

func TestTermFinishesOpenRequests(t *testing.T) {
	asked, answer := make(chan struct{}), make(chan struct{})
	s3 := newFakeS3(t)
	s3.before = sync.OnceFunc(func() { close(asked); <-answer })
	cmd, url := start(t, s3.env()...)
	var open sync.WaitGroup
	open.Go(func() {
		if status, body := get(t, url+"/"); status != http.StatusOK || !strings.Contains(body, "put and got") {
			t.Errorf("the open request got %d %q", status, body)
		}
	})
	<-asked
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	// Only when it takes no new connection has it seen the signal.
	for {
		connection, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
		if err != nil {
			break
		}
		connection.Close()
		time.Sleep(5 * time.Millisecond)
	}
	close(answer)
	open.Wait()
	if err := cmd.Wait(); err != nil {
		t.Errorf("it ended with %v, want exit code 0", err)
	}
}

func TestItStopsWithOneLine(t *testing.T) {
	noCertificate := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(noCertificate, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		env  []string
		code int
		want string
	}{
		"SAMPLE_EXIT":              {[]string{"SAMPLE_EXIT=7"}, 7, "sample: SAMPLE_EXIT asks for exit code 7 at once\n"},
		"SAMPLE_EXIT of success":   {[]string{"SAMPLE_EXIT=0"}, 0, "sample: SAMPLE_EXIT asks for exit code 0 at once\n"},
		"SAMPLE_EXIT that is none": {[]string{"SAMPLE_EXIT=256"}, 1, "sample: SAMPLE_EXIT is \"256\": want an exit code, 0 to 255\n"},
		"PORT that is none":        {[]string{"PORT=http"}, 1, "sample: PORT is \"http\": want a TCP port, 1 to 65535\n"},
		"BIND_ADDR that is none":   {[]string{"BIND_ADDR=localhost"}, 1, "sample: BIND_ADDR is \"localhost\": want an IP address, or nothing for all addresses\n"},
		"BIND_ADDR of another":     {[]string{"BIND_ADDR=192.0.2.1"}, 1, "sample: listen tcp 192.0.2.1:5000: bind: cannot assign requested address\n"},
		"DATABASE_CA that is not there": {[]string{"DATABASE_HOST=127.0.0.3", "DATABASE_CA=/no/such"}, 1,
			"sample: DATABASE_CA: open /no/such: no such file or directory; want a file of PEM certificates\n"},
		"DATABASE_CA without certificate": {[]string{"DATABASE_HOST=127.0.0.3", "DATABASE_CA=" + noCertificate}, 1,
			"sample: DATABASE_CA is \"" + noCertificate + "\", which holds no PEM certificate\n"},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := sample(t, test.env...)
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			_ = cmd.Run()
			if code := cmd.ProcessState.ExitCode(); code != test.code || stderr.String() != test.want {
				t.Errorf("exit code %d, %q; want %d, %q", code, &stderr, test.code, test.want)
			}
		})
	}
}
