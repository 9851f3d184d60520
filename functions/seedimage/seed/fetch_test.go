package main

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

type entry struct {
	name, content string
	mode          fs.FileMode
}

func zipOf(t *testing.T, entries ...entry) []byte {
	t.Helper()
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	for _, e := range entries {
		header := &zip.FileHeader{Name: e.name, Method: zip.Deflate}
		header.SetMode(e.mode)
		file, err := w.CreateHeader(header)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(file, e.content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// fetchFrom runs `seed fetch` against an S3 that s3 plays, and returns the exit code and what the program said.
func fetchFrom(t *testing.T, dir string, s3 http.HandlerFunc) (int, string) {
	t.Helper()
	server := httptest.NewServer(s3)
	t.Cleanup(server.Close)
	atEndpoint(t, server.URL)
	var stderr bytes.Buffer
	code := run(t.Context(), []string{"fetch"}, environment(map[string]string{
		"SCHEMA_BUCKET": "assets.example", "SCHEMA_KEY": "a/b c.zip", "SCHEMA_DIR": dir,
	}), &stderr)
	return code, stderr.String()
}

// atEndpoint makes url the S3 of the test, whatever this machine is configured for.
func atEndpoint(t *testing.T, url string) {
	t.Helper()
	for variable, value := range map[string]string{
		"AWS_ENDPOINT_URL": url, "AWS_REGION": "eu-central-1", "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret",
		"AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull,
	} {
		t.Setenv(variable, value)
	}
}

func list(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		name, _ := filepath.Rel(dir, path)
		files[filepath.ToSlash(name)] = string(content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestFetchUnpacksTheObject(t *testing.T) {
	archive := zipOf(t,
		entry{"init.sql", "CREATE TABLE a (b INT);", 0o600},
		entry{"migrations/", "", fs.ModeDir | 0o700},
		entry{"migrations/0002.sql", "SELECT 2;", 0o755},
		entry{"no/entry/for/its/directory.sql", "SELECT 3;", 0o644},
	)
	dir := filepath.Join(t.TempDir(), "not", "yet", "there")
	var path string
	code, said := fetchFrom(t, dir, func(w http.ResponseWriter, r *http.Request) {
		path = r.URL.Path
		w.Write(archive)
	})
	if code != 0 || said != "fetch: unpacked 3 files of s3://assets.example/a/b c.zip into "+dir+"\n" {
		t.Errorf("exit code %d, %q", code, said)
	}
	if path != "/assets.example/a/b c.zip" {
		t.Errorf("requested %s, want the bucket in the path", path)
	}
	got := list(t, dir)
	if len(got) != 3 || got["init.sql"] != "CREATE TABLE a (b INT);" || got["migrations/0002.sql"] != "SELECT 2;" || got["no/entry/for/its/directory.sql"] != "SELECT 3;" {
		t.Errorf("got %v", got)
	}
	for name := range got {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode() != 0o644 {
			t.Errorf("%s: %v, %v; want mode 0644, for mysql's user", name, info, err)
		}
	}
}

func TestFetchAgainReplacesItsFilesOnly(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{"init.sql": "a longer text from before", "other": "kept"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	archive := zipOf(t, entry{"init.sql", "new", 0o644})
	if code, said := fetchFrom(t, dir, func(w http.ResponseWriter, _ *http.Request) { w.Write(archive) }); code != 0 {
		t.Fatal(said)
	}
	if got := list(t, dir); len(got) != 2 || got["init.sql"] != "new" || got["other"] != "kept" {
		t.Errorf("got %v", got)
	}
}

func TestMain(m *testing.M) {
	maxBackoff = time.Millisecond
	os.Exit(m.Run())
}

func TestFetchRetriesWhatPasses(t *testing.T) {
	archive := zipOf(t, entry{"init.sql", "", 0o644})
	for fault, answer := range map[string]struct {
		status int
		body   string
	}{
		"S3 is busy":                           {http.StatusServiceUnavailable, ""},
		"the role is not known everywhere yet": {http.StatusForbidden, "<Error><Code>AccessDenied</Code></Error>"},
	} {
		t.Run(fault, func(t *testing.T) {
			attempts := 0
			code, said := fetchFrom(t, t.TempDir(), func(w http.ResponseWriter, _ *http.Request) {
				if attempts++; attempts < 5 {
					w.WriteHeader(answer.status)
					io.WriteString(w, answer.body)
					return
				}
				w.Write(archive)
			})
			if code != 0 || attempts != 5 {
				t.Errorf("exit code %d after %d attempts, %s", code, attempts, said)
			}
		})
	}
}

// breakingOff answers with all headers of an object and a part of its body.
func breakingOff(w http.ResponseWriter, body []byte, part int) {
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.Write(body[:part])
	w.(http.Flusher).Flush()
	panic(http.ErrAbortHandler)
}

// TestFetchBeginsAgainWhenTheBodyBreaks has a first part that is longer than all of the object the second time: nothing of it may stay.
func TestFetchBeginsAgainWhenTheBodyBreaks(t *testing.T) {
	archive := zipOf(t, entry{"init.sql", "SELECT 1;", 0o644})
	dir, attempts := t.TempDir(), 0
	code, said := fetchFrom(t, dir, func(w http.ResponseWriter, _ *http.Request) {
		switch attempts++; attempts {
		case 1:
			breakingOff(w, make([]byte, 10_000), 9_000)
		case 2:
			breakingOff(w, archive, len(archive)-1)
		default:
			w.Write(archive)
		}
	})
	if code != 0 || attempts != 3 {
		t.Errorf("exit code %d after %d attempts, %s", code, attempts, said)
	}
	if got := list(t, dir); len(got) != 1 || got["init.sql"] != "SELECT 1;" {
		t.Errorf("got %v", got)
	}
}

func TestFetchGivesUpOnABodyThatAlwaysBreaks(t *testing.T) {
	attempts := 0
	code, said := fetchFrom(t, t.TempDir(), func(w http.ResponseWriter, _ *http.Request) {
		attempts++
		breakingOff(w, make([]byte, 100), 50)
	})
	if want := "fetch: download s3://assets.example/a/b c.zip: the download broke off after 50 bytes (unexpected EOF) in each of 8 attempts\n"; code != 1 || attempts != 8 || said != want {
		t.Errorf("exit code %d after %d attempts: %s\nwant %s", code, attempts, said, want)
	}
}

// TestFetchDoesNotRetryAFullDisk, which another download fills again.
func TestFetchDoesNotRetryAFullDisk(t *testing.T) {
	attempts := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		attempts++
		w.Write(make([]byte, 100))
	}))
	defer server.Close()
	atEndpoint(t, server.URL)
	full, err := os.OpenFile("/dev/full", os.O_RDWR, 0)
	if err != nil {
		t.Skip(err)
	}
	defer full.Close()
	if _, err := download(t.Context(), source{"b", "k"}, full, 100); !errors.Is(err, syscall.ENOSPC) || attempts != 1 {
		t.Errorf("%d attempts, %v", attempts, err)
	}
}

func TestFetchFailures(t *testing.T) {
	tests := map[string]struct {
		s3   http.HandlerFunc
		want string
	}{
		"object refused": {
			func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(http.StatusForbidden)
				io.WriteString(w, "<Error><Code>AccessDenied</Code><Message>Access\nDenied</Message></Error>")
			},
			"AccessDenied: Access Denied; the task role needs s3:GetObject",
		},
		"not a zip file": {
			func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "SELECT 1;") },
			"zip: not a valid zip file",
		},
		"object too large": {
			func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Length", "104857601") },
			"the object has more than the 104857600 bytes that are allowed",
		},
	}
	for behaviour, test := range tests {
		t.Run(behaviour, func(t *testing.T) {
			dir := t.TempDir()
			code, said := fetchFrom(t, dir, test.s3)
			if code != 1 || !strings.HasPrefix(said, "fetch: ") || !strings.Contains(said, test.want) || !strings.Contains(said, "s3://assets.example/a/b c.zip") {
				t.Errorf("exit code %d, %q; want %q", code, said, test.want)
			}
			if strings.Count(said, "\n") != 1 {
				t.Errorf("%q is not one line", said)
			}
			if left := list(t, dir); len(left) != 0 {
				t.Errorf("left %v", left)
			}
		})
	}
}

func TestDownloadStopsAtItsLimitWithoutAContentLength(t *testing.T) {
	attempts := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		attempts++
		w.(http.Flusher).Flush()
		io.WriteString(w, strings.Repeat("x", 1000))
	}))
	defer server.Close()
	atEndpoint(t, server.URL)
	got, err := os.Create(filepath.Join(t.TempDir(), "zip"))
	if err != nil {
		t.Fatal(err)
	}
	defer got.Close()
	_, err = download(t.Context(), source{"b", "k"}, got, 100)
	if info, _ := got.Stat(); err == nil || !strings.Contains(err.Error(), "more than the 100 bytes") || info.Size() > 101 || attempts != 1 {
		t.Errorf("%d bytes in %d attempts, %v", info.Size(), attempts, err)
	}
}

func TestFetchEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
	}))
	defer server.Close()
	atEndpoint(t, server.URL)
	if err := fetch(ctx, source{"b", "k"}, t.TempDir(), io.Discard); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestUnpackRefuses(t *testing.T) {
	small := limits{unpacked: 100, files: 3}
	tests := map[string]struct {
		archive []byte
		want    string
	}{
		"a path to the parent":         {zipOf(t, entry{"../outside.sql", "x", 0o644}), `entry "../outside.sql": its path leaves the directory`},
		"a path through the parent":    {zipOf(t, entry{"a/../../outside.sql", "x", 0o644}), "leaves the directory"},
		"an absolute path":             {zipOf(t, entry{"/outside.sql", "x", 0o644}), "leaves the directory"},
		"a backslash":                  {zipOf(t, entry{`..\outside.sql`, "x", 0o644}), "leaves the directory"},
		"a symbolic link":              {zipOf(t, entry{"link", "/etc", fs.ModeSymlink | 0o777}), "only files and directories"},
		"a device":                     {zipOf(t, entry{"device", "", fs.ModeDevice | 0o777}), "only files and directories"},
		"a link that is already there": {zipOf(t, entry{"there/outside.sql", "x", 0o644}), "path escapes from parent"},
		"too many entries":             {zipOf(t, entry{"a", "", 0o644}, entry{"b", "", 0o644}, entry{"c", "", 0o644}, entry{"d", "", 0o644}), "has 4 entries, allowed are 3"},
		"a file that is too large":     {zipOf(t, entry{"a", strings.Repeat("x", 101), 0o644}), "more than the 100 bytes"},
		"files that are too large":     {zipOf(t, entry{"a", strings.Repeat("x", 60), 0o644}, entry{"b", strings.Repeat("x", 60), 0o644}), `entry "b": the files have more`},
	}
	for behaviour, test := range tests {
		t.Run(behaviour, func(t *testing.T) {
			outside := t.TempDir()
			dir := filepath.Join(outside, "schema")
			if err := errors.Join(os.Mkdir(dir, 0o755), os.Symlink(outside, filepath.Join(dir, "there"))); err != nil {
				t.Fatal(err)
			}
			root, err := os.OpenRoot(dir)
			if err != nil {
				t.Fatal(err)
			}
			defer root.Close()
			_, err = unpack(bytes.NewReader(test.archive), int64(len(test.archive)), root, small)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
			if _, err := os.Stat(filepath.Join(outside, "outside.sql")); err == nil {
				t.Error("wrote outside of the directory")
			}
		})
	}
}

func TestUnpackTakesExactlyItsLimit(t *testing.T) {
	root, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	archive := zipOf(t, entry{"a", strings.Repeat("x", 60), 0o644}, entry{"b", strings.Repeat("x", 40), 0o644})
	if files, err := unpack(bytes.NewReader(archive), int64(len(archive)), root, limits{unpacked: 100, files: 2}); err != nil || files != 2 {
		t.Errorf("%d files, %v", files, err)
	}
}
