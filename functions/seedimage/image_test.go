package main

import (
	"archive/tar"
	"bufio"
	"bytes"
	"debug/elf"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"flask-on-fargate/internal/imagetag"
)

func TestTheDigestFollowsContentOnly(t *testing.T) {
	digest := func(program string, port int) string {
		dir := t.TempDir()
		for _, arch := range architectures {
			path := filepath.Join(dir, "seed-"+arch)
			if err := os.WriteFile(path, []byte(program+arch), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		index, err := newPlaceholder(dir, port)
		if err != nil {
			t.Fatal(err)
		}
		hash, err := index.Digest()
		if err != nil {
			t.Fatal(err)
		}
		return hash.String()
	}
	first := digest("v1", 5000)
	if again := digest("v1", 5000); again != first {
		t.Errorf("the same program and port gave %s and %s", first, again)
	}
	if other := digest("v2", 5000); other == first {
		t.Error("another program gave the same digest")
	}
	if other := digest("v1", 5001); other == first {
		t.Error("another port gave the same digest")
	}
}

// TestTheRealProgram pushes the program as it is deployed, pulls it, and runs what it pulled for this machine.
func TestTheRealProgram(t *testing.T) {
	f := newFakeECR(t)
	h := f.handler(t, "")
	h.programDir = t.TempDir()
	for _, arch := range architectures {
		build := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", filepath.Join(h.programDir, "seed-"+arch), "./seed")
		build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch)
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("build for %s: %v\n%s", arch, err, out)
		}
	}
	port := freePort(t)
	if _, _, err := h.handle(t.Context(), createEvent("ContainerPort", port)); err != nil {
		t.Fatal(err)
	}
	for arch, machine := range map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64} {
		t.Run("is a static binary for "+arch, func(t *testing.T) {
			_, header, program := pull(t, f, arch)
			if header.Name != "seed" || header.Mode != 0o755 || header.ModTime.Unix() != 0 {
				t.Errorf("the image's file is %s, mode %o, of %s", header.Name, header.Mode, header.ModTime)
			}
			file, err := elf.NewFile(bytes.NewReader(program))
			if err != nil {
				t.Fatal(err)
			}
			if file.Machine != machine || file.Section(".interp") != nil || file.Section(".dynamic") != nil {
				t.Errorf("machine %s, sections .interp %v and .dynamic %v; want %s and neither", file.Machine, file.Section(".interp"), file.Section(".dynamic"), machine)
			}
		})
	}
	if runtime.GOOS == "linux" {
		t.Run("answers at the configured port until it is stopped", func(t *testing.T) {
			config, _, program := pull(t, f, runtime.GOARCH)
			runProgram(t, config.Config, program, "http://127.0.0.1:"+port+"/any/path")
		})
	}
}

func freePort(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return strconv.Itoa(listener.Addr().(*net.TCPAddr).Port)
}

// pull reads the one file of live's image for an architecture.
func pull(t *testing.T, f *fakeECR, arch string) (*v1.ConfigFile, *tar.Header, []byte) {
	t.Helper()
	image, err := remote.Image(f.tag(t, imagetag.Live), asTester, remote.WithPlatform(v1.Platform{OS: "linux", Architecture: arch}))
	if err != nil {
		t.Fatal(err)
	}
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	files := mutate.Extract(image)
	defer files.Close()
	r := tar.NewReader(files)
	header, err := r.Next()
	if err != nil {
		t.Fatal(err)
	}
	program, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Next(); err != io.EOF {
		t.Errorf("the image has more than one file: %v", err)
	}
	return config, header, program
}

// runProgram starts a program as its image says, but on loopback only, requests url, and stops it as ECS does.
func runProgram(t *testing.T, config v1.Config, program []byte, url string) {
	path := filepath.Join(t.TempDir(), strings.TrimPrefix(config.Entrypoint[0], "/"))
	if err := os.WriteFile(path, program, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), path, config.Cmd...)
	cmd.Env = append(config.Env, "SEED_BIND_ADDR=127.0.0.1")
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(stderr).ReadString('\n')
	if err != nil {
		t.Fatalf("the program ended before it listened: %v", err)
	}
	client := &http.Client{Timeout: 5 * time.Second}
	response, err := client.Get(url)
	if err != nil {
		t.Fatalf("%v, after %q", err, line)
	}
	body, err := io.ReadAll(response.Body)
	response.Body.Close()
	if err != nil || response.StatusCode != http.StatusOK || !bytes.Contains(body, []byte("The environment is up")) {
		t.Errorf("%s: %v\n%s", response.Status, err, body)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("stopped with %v, want exit code 0", err)
	}
}
