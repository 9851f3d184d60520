package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"debug/elf"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

const repositoryUnderTest = "flask-local/app"

// command runs the program in this process.
func command(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, messages bytes.Buffer
	code = run(t.Context(), args, &out, &messages)
	return code, out.String(), messages.String()
}

// newRegistry starts a registry that asks for the credentials of ECR's user, as the emulator's does.
func newRegistry(t *testing.T) (url string) {
	inner := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, _, _ := r.BasicAuth(); user != "AWS" {
			w.Header().Set("WWW-Authenticate", `Basic realm="local"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		inner.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

type asAWS struct{}

func (asAWS) RoundTrip(r *http.Request) (*http.Response, error) {
	r.Header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte("AWS:any")))
	return http.DefaultTransport.RoundTrip(r)
}

func pulled(t *testing.T, url, tag string) *remote.Descriptor {
	t.Helper()
	ref, err := name.NewTag(strings.TrimPrefix(url, "http://") + "/" + repositoryUnderTest + ":" + tag)
	if err != nil {
		t.Fatal(err)
	}
	descriptor, err := remote.Get(ref, remote.WithTransport(asAWS{}))
	if err != nil {
		t.Fatal(err)
	}
	return descriptor
}

// file is a file of an image under test: a regular one, or a link.
type file struct {
	name, content string
	mode          int64 // default 0755
	link          string
	hard          bool
}

// program is an executable for this machine, as far as the check reads it: its header, and the loader that it names.
func program(arch, loader string) string {
	header := elf.Header64{
		Type: uint16(elf.ET_EXEC), Machine: uint16(machines[arch]), Version: uint32(elf.EV_CURRENT),
		Phoff: 64, Ehsize: 64, Phentsize: 56,
	}
	copy(header.Ident[:], elf.ELFMAG)
	header.Ident[elf.EI_CLASS], header.Ident[elf.EI_DATA], header.Ident[elf.EI_VERSION] = byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)
	var out bytes.Buffer
	if loader == "" {
		binary.Write(&out, binary.LittleEndian, header)
		return out.String()
	}
	header.Phnum = 1
	size := uint64(len(loader) + 1)
	binary.Write(&out, binary.LittleEndian, header)
	binary.Write(&out, binary.LittleEndian, elf.Prog64{Type: uint32(elf.PT_INTERP), Off: 64 + 56, Filesz: size, Memsz: size})
	return out.String() + loader + "\x00"
}

// imageOf has a layer for each list of files.
func imageOf(t *testing.T, arch string, config v1.Config, layers ...[]file) v1.Image {
	t.Helper()
	image, err := mutate.ConfigFile(empty.Image, &v1.ConfigFile{OS: "linux", Architecture: arch, Config: config, RootFS: v1.RootFS{Type: "layers"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, files := range layers {
		var out bytes.Buffer
		w := tar.NewWriter(&out)
		for _, f := range files {
			header := &tar.Header{Name: f.name, Mode: 0o755, Size: int64(len(f.content)), Linkname: f.link}
			switch {
			case f.hard:
				header.Typeflag = tar.TypeLink
			case f.link != "":
				header.Typeflag = tar.TypeSymlink
			case f.mode != 0:
				header.Mode = f.mode
			}
			if err := w.WriteHeader(header); err != nil {
				t.Fatal(err)
			}
			io.WriteString(w, f.content)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(out.Bytes())), nil })
		if err != nil {
			t.Fatal(err)
		}
		if image, err = mutate.AppendLayers(image, layer); err != nil {
			t.Fatal(err)
		}
	}
	return image
}

// good is an image that can run on a machine of an architecture.
func good(t *testing.T, arch string) v1.Image {
	return imageOf(t, arch, v1.Config{Entrypoint: []string{"/app"}}, []file{{name: "app", content: program(arch, "")}})
}

func stated(image mutate.Appendable, os, arch string) mutate.IndexAddendum {
	return mutate.IndexAddendum{Add: image, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: os, Architecture: arch}}}
}

// goodIndex has two platforms and an attestation.
func goodIndex(t *testing.T) v1.ImageIndex {
	attestation, err := mutate.ConfigFile(empty.Image, &v1.ConfigFile{OS: "unknown", Architecture: "unknown", RootFS: v1.RootFS{Type: "layers"}})
	if err != nil {
		t.Fatal(err)
	}
	return mutate.AppendManifests(empty.Index,
		stated(good(t, "amd64"), "linux", "amd64"), stated(good(t, "arm64"), "linux", "arm64"), stated(attestation, "unknown", "unknown"))
}

func otherArch() string {
	if runtime.GOARCH == "amd64" {
		return "arm64"
	}
	return "amd64"
}

func digestOf(t *testing.T, c content) string {
	t.Helper()
	digest, err := c.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return digest.String()
}

// layoutOf writes a layout whose index.json names what is given.
func layoutOf(t *testing.T, entries ...mutate.IndexAddendum) (folder string) {
	t.Helper()
	folder = filepath.Join(t.TempDir(), "layout")
	if _, err := layout.Write(folder, mutate.AppendManifests(empty.Index, entries...)); err != nil {
		t.Fatal(err)
	}
	return folder
}

// archiveOf packs a folder as `tar -C FOLDER -c .` does.
func archiveOf(t *testing.T, folder string, compressed bool) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "image.tar")
	out, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	var stream io.WriteCloser = out
	if compressed {
		stream = gzip.NewWriter(out)
		defer stream.Close()
	}
	w := tar.NewWriter(stream)
	if err := w.AddFS(os.DirFS(folder)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// dockerSaved is an archive as `docker save` wrote it before version 25.
func dockerSaved(t *testing.T, images ...v1.Image) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "saved.tar")
	named := map[name.Tag]v1.Image{}
	for i, image := range images {
		tag, err := name.NewTag(fmt.Sprintf("app:%d", i))
		if err != nil {
			t.Fatal(err)
		}
		named[tag] = image
	}
	if err := tarball.MultiWriteToFile(path, named); err != nil {
		t.Fatal(err)
	}
	return path
}

func gzipped(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	w.Write(content)
	w.Close()
	if err := os.WriteFile(path+".gz", out.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path + ".gz"
}

func TestPush(t *testing.T) {
	index, image := goodIndex(t), good(t, runtime.GOARCH)
	tagged := func(tag string) mutate.IndexAddendum {
		return mutate.IndexAddendum{Add: image, Descriptor: v1.Descriptor{Annotations: map[string]string{"org.opencontainers.image.ref.name": tag}}}
	}
	// An image keeps its digest, but for the manifest that an archive of `docker save` has none of.
	for name, test := range map[string]struct {
		path   func(*testing.T) string
		digest string
	}{
		"folder with an index":            {func(t *testing.T) string { return layoutOf(t, mutate.IndexAddendum{Add: index}) }, digestOf(t, index)},
		"folder with an image":            {func(t *testing.T) string { return layoutOf(t, mutate.IndexAddendum{Add: image}) }, digestOf(t, image)},
		"folder with an image's two tags": {func(t *testing.T) string { return layoutOf(t, tagged("1"), tagged("2")) }, digestOf(t, image)},
		"folder whose index.json is the index": {func(t *testing.T) string {
			folder := filepath.Join(t.TempDir(), "layout")
			if _, err := layout.Write(folder, index); err != nil {
				t.Fatal(err)
			}
			return folder
		}, digestOf(t, index)},
		"archive":            {func(t *testing.T) string { return archiveOf(t, layoutOf(t, mutate.IndexAddendum{Add: index}), false) }, digestOf(t, index)},
		"compressed archive": {func(t *testing.T) string { return archiveOf(t, layoutOf(t, mutate.IndexAddendum{Add: index}), true) }, digestOf(t, index)},
		"docker save":        {func(t *testing.T) string { return dockerSaved(t, image) }, ""},
		"docker save | gzip": {func(t *testing.T) string { return gzipped(t, dockerSaved(t, image)) }, ""},
		"docker save of both formats": {func(t *testing.T) string {
			folder := layoutOf(t, mutate.IndexAddendum{Add: index})
			if err := os.WriteFile(filepath.Join(folder, "manifest.json"), []byte("[]"), 0o600); err != nil {
				t.Fatal(err)
			}
			return archiveOf(t, folder, false)
		}, digestOf(t, index)},
	} {
		t.Run(name, func(t *testing.T) {
			url := newRegistry(t)
			code, stdout, stderr := command(t, "push", "--registry", url, "--repository", repositoryUnderTest, "--tag", "sha-1", test.path(t))
			if code != 0 {
				t.Fatalf("exit code %d: %s", code, stderr)
			}
			found := pulled(t, url, "sha-1")
			if stdout != found.Digest.String()+"\n" || (test.digest != "" && stdout != test.digest+"\n") {
				t.Errorf("it prints %q, want %q alone, which the tag names, and %q", stdout, found.Digest, test.digest)
			}
			if found.MediaType.IsIndex() {
				pushed, err := found.ImageIndex()
				if err != nil {
					t.Fatal(err)
				}
				if err := validate.Index(pushed); err != nil {
					t.Error(err)
				}
				if manifest, _ := pushed.IndexManifest(); len(manifest.Manifests) != 3 {
					t.Errorf("the index has %d images, want 3", len(manifest.Manifests))
				}
				return
			}
			pushed, err := found.Image()
			if err != nil {
				t.Fatal(err)
			}
			if err := validate.Image(pushed); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestPushRefusesWhatIsNoImage(t *testing.T) {
	one := func(t *testing.T) string { return layoutOf(t, mutate.IndexAddendum{Add: good(t, runtime.GOARCH)}) }
	for behaviour, test := range map[string]struct {
		path func(*testing.T) string
		args []string
		want string
	}{
		"nothing there":   {func(*testing.T) string { return "no/such/image.tar" }, nil, "stat no/such/image.tar: no such file or directory; want an OCI image layout"},
		"neither of both": {func(*testing.T) string { return os.DevNull }, nil, "/dev/null: neither a folder nor a file; want"},
		"another folder":  {func(t *testing.T) string { return t.TempDir() }, nil, "the folder holds no index.json; want"},
		"another archive": {func(t *testing.T) string { return archiveOf(t, filepath.Dir(one(t)), false) }, nil, "no index.json and no manifest.json at its top level; want"},
		"no archive":      {func(*testing.T) string { return "image_test.go" }, nil, "image_test.go: not a whole tar archive: archive/tar: invalid tar header; want"},
		"no gzip":         {func(t *testing.T) string { return written(t, "\x1f\x8bno") }, nil, "unexpected EOF"},
		"layout of two": {func(t *testing.T) string {
			return layoutOf(t, mutate.IndexAddendum{Add: good(t, "amd64")}, mutate.IndexAddendum{Add: good(t, "arm64")})
		}, nil, "index.json names 2 images; want"},
		"layout of none":   {func(t *testing.T) string { return layoutOf(t) }, nil, "index.json names 0 images; want"},
		"docker save of 2": {func(t *testing.T) string { return dockerSaved(t, good(t, "amd64"), good(t, "arm64")) }, nil, "manifest.json names 2 images; want"},
		"a layer is missing": {func(t *testing.T) string {
			folder := layoutOf(t, mutate.IndexAddendum{Add: goodIndex(t)})
			layers, err := good(t, otherArch()).Layers()
			if err != nil {
				t.Fatal(err)
			}
			digest, _ := layers[0].Digest()
			if err := os.Remove(filepath.Join(folder, "blobs", "sha256", digest.Hex)); err != nil {
				t.Fatal(err)
			}
			return folder
		}, nil, "the image lacks a part that it names: write one platform of it, `docker save --platform linux/" + runtime.GOARCH + "`"},
		"an image's configuration is missing": {func(t *testing.T) string {
			folder := layoutOf(t, mutate.IndexAddendum{Add: good(t, runtime.GOARCH)})
			configuration, _ := good(t, runtime.GOARCH).ConfigName()
			if err := os.Remove(filepath.Join(folder, "blobs", "sha256", configuration.Hex)); err != nil {
				t.Fatal(err)
			}
			return folder
		}, nil, "the image lacks a part that it names"},
		"registry by https":    {one, []string{"--registry", "https://127.0.0.1:1"}, `--registry is "https://127.0.0.1:1": want http://HOST:PORT`},
		"registry with a path": {one, []string{"--registry", "http://127.0.0.1:1/v2"}, `--registry is "http://127.0.0.1:1/v2": want http://HOST:PORT`},
		"repository":           {one, []string{"--repository", "Flask"}, `--repository "Flask", --tag "sha-1": `},
		"tag":                  {one, []string{"--tag", "a b"}, `--tag "a b": `},
		"two paths":            {one, []string{"other.tar"}, "2 paths given"},
	} {
		t.Run(behaviour, func(t *testing.T) {
			args := append([]string{"push", "--registry", newRegistry(t), "--repository", repositoryUnderTest, "--tag", "sha-1"}, test.args...)
			code, stdout, stderr := command(t, append(args, test.path(t))...)
			if code != 2 || stdout != "" || !strings.Contains(stderr, test.want) {
				t.Errorf("exit code %d, %q\n%s\nwant 2, nothing, %s", code, stdout, stderr, test.want)
			}
		})
	}
}

func written(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// An archive's names must not lead out of the folder that it is unpacked to.
func TestAnArchiveIsUnpackedIntoItsFolderOnly(t *testing.T) {
	path := filepath.Join(t.TempDir(), "image.tar")
	out, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	w := tar.NewWriter(out)
	for _, n := range []string{"index.json", "blobs/../../escaped", "/blobs/absolute", "../blobs/above"} {
		if err := writeFile(w, n, 0o600, []byte("{}")); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	parent := t.TempDir()
	work := filepath.Join(parent, "work")
	if err := os.Mkdir(work, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := unpackLayout(func() (io.ReadCloser, error) { return openTar(path) }, work); err != nil {
		t.Fatal(err)
	}
	for folder, want := range map[string]string{parent: "work", work: "index.json"} {
		entries, err := os.ReadDir(folder)
		if err != nil || len(entries) != 1 || entries[0].Name() != want {
			t.Errorf("%s holds %v, %v; want %s alone", folder, entries, err, want)
		}
	}
}

func TestWhatCanRun(t *testing.T) {
	const here, loader = "amd64", "/lib64/ld.so"
	static, dynamic := program(here, ""), program(here, loader)
	entrypoint := func(words ...string) v1.Config { return v1.Config{Entrypoint: words} }
	other := func(content string) []file { return []file{{name: "app", content: content}} }
	const notStatic = "without root a container has no root directory of its own. Start the local target as root, or release a static program"

	for behaviour, test := range map[string]struct {
		image  v1.Image
		want   string // "" if it can run
		static string // the same, with --static-only
	}{
		"static program":                    {imageOf(t, here, entrypoint("/app"), other(static)), "", ""},
		"command without entrypoint":        {imageOf(t, here, v1.Config{Cmd: []string{"/app", "serve"}}, other(static)), "", ""},
		"program in the default PATH":       {imageOf(t, here, entrypoint("app"), []file{{name: "usr/local/bin/app", content: static}}), "", ""},
		"program in the image's PATH":       {imageOf(t, here, v1.Config{Entrypoint: []string{"app"}, Env: []string{"PATH=/x:/opt/venv/bin"}}, []file{{name: "opt/venv/bin/app", content: static}}), "", ""},
		"program in the working directory":  {imageOf(t, here, v1.Config{Entrypoint: []string{"./app"}, WorkingDir: "/srv"}, []file{{name: "srv/app", content: static}}), "", ""},
		"program behind an absolute link":   {imageOf(t, here, entrypoint("/bin/app"), []file{{name: "bin", link: "/usr/bin"}, {name: "usr/bin/app", link: "/opt/app"}, {name: "opt/app", content: static}}), "", ""},
		"program behind a relative link":    {imageOf(t, here, entrypoint("/bin/app"), []file{{name: "bin", link: "usr/bin"}, {name: "usr/bin/app", link: "../../opt/app"}, {name: "opt/app", content: static}}), "", ""},
		"program behind a hard link":        {imageOf(t, here, entrypoint("/app"), []file{{name: "opt/app", content: static}, {name: "app", link: "opt/app", hard: true}}), "", ""},
		"program replaced by a later layer": {imageOf(t, here, entrypoint("/app"), other("no program"), other(static)), "", ""},
		"dynamic program with its loader": {
			imageOf(t, here, entrypoint("/app"), []file{{name: "app", content: dynamic}, {name: "lib64", link: "usr/lib64"}, {name: "usr/lib64/ld.so", content: static}}),
			"", "/app needs the dynamic loader /lib64/ld.so, which would be looked for on this machine: " + notStatic,
		},
		"script with its interpreter": {
			imageOf(t, here, entrypoint("/app"), []file{{name: "app", content: "#! /bin/sh -e\nexit\n"}, {name: "bin/sh", link: "busybox"}, {name: "bin/busybox", content: static}}),
			"", "/app is a script of /bin/sh, which would be looked for on this machine: " + notStatic,
		},
		"script of a script": {
			imageOf(t, here, entrypoint("/app"), []file{{name: "app", content: "#!/run\n"}, {name: "run", content: "#!/static"}, {name: "static", content: static}}),
			"", "/app is a script of /run, which",
		},
		"no command":             {imageOf(t, here, v1.Config{}, other(static)), "it has neither an entrypoint nor a command", "it has neither"},
		"no program":             {imageOf(t, here, entrypoint("/srv/app"), other(static)), "its program /srv/app is not in the image: there is no /srv", "there is no /srv"},
		"program not in PATH":    {imageOf(t, here, entrypoint("flask"), other(static)), "its program flask is in no folder of the image's PATH, /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "its program flask"},
		"program is a folder":    {imageOf(t, here, entrypoint("/srv"), []file{{name: "srv/app", content: static}}), "its program /srv is not in the image: /srv is no regular file", "no regular file"},
		"program was removed":    {imageOf(t, here, entrypoint("/app"), other(static), []file{{name: ".wh.app"}}), "its program /app is not in the image: there is no /app", "there is no /app"},
		"program behind a ring":  {imageOf(t, here, entrypoint("/a"), []file{{name: "a", link: "b"}, {name: "b", link: "a"}}), "its program /a is not in the image: more than 40 links", "more than 40 links"},
		"mode":                   {imageOf(t, here, entrypoint("/app"), []file{{name: "app", content: static, mode: 0o644}}), "/app may not be executed, its mode is 0644: set it by `chmod +x` before the image is built", "its mode is 0644"},
		"neither program":        {imageOf(t, here, entrypoint("/app"), other("print(1)\n")), "/app is neither a program of Linux nor a script that begins with #!: ", "neither a program"},
		"processor of a program": {imageOf(t, here, entrypoint("/app"), other(program("arm64", ""))), "/app is a program for EM_AARCH64, but this machine is linux/amd64 (EM_X86_64): the image's platform is not what it says", "EM_AARCH64"},
		"loader is missing":      {imageOf(t, here, entrypoint("/app"), other(dynamic)), "/app needs the dynamic loader /lib64/ld.so, which is not in the image: there is no /lib64", "/app needs the dynamic loader"},
		"interpreter is missing": {imageOf(t, here, entrypoint("/app"), other("#!/bin/sh\n")), "its program is a script, /app, whose interpreter /bin/sh is not in the image: there is no /bin", "/app is a script"},
		"interpreter is no program": {
			imageOf(t, here, entrypoint("/app"), []file{{name: "app", content: "#!/bin/sh\n"}, {name: "bin/sh", content: "text"}}), "/bin/sh is neither a program of Linux", "/app is a script",
		},
		"script without interpreter": {imageOf(t, here, entrypoint("/app"), other("#!\n")), "/app is a script that names no interpreter after #!", "names no interpreter"},
		"script of itself":           {imageOf(t, here, entrypoint("/app"), other("#!/app\n")), "its program is a script whose interpreters are scripts, more of them than Linux follows", "/app is a script"},
		"other platform":             {good(t, "arm64"), "it is for linux/arm64, but this machine runs linux/amd64: build it for linux/amd64, too", "it is for linux/arm64"},
	} {
		t.Run(behaviour, func(t *testing.T) {
			platforms, err := platformsOf(test.image)
			if err != nil {
				t.Fatal(err)
			}
			for staticOnly, want := range map[bool]string{false: test.want, true: test.static} {
				err := checkRuns(platforms, here, staticOnly)
				if want == "" && err != nil {
					t.Errorf("static only %t: %v", staticOnly, err)
				}
				if want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
					t.Errorf("static only %t: got\n%v\nwant\n%s", staticOnly, err, want)
				}
			}
		})
	}
}

func TestAnImageThatCannotRunIsNotPushed(t *testing.T) {
	for behaviour, path := range map[string]string{
		"index": layoutOf(t, mutate.IndexAddendum{Add: mutate.AppendManifests(empty.Index, stated(good(t, otherArch()), "linux", otherArch()))}),
		"image": layoutOf(t, mutate.IndexAddendum{Add: good(t, otherArch())}),
	} {
		t.Run(behaviour, func(t *testing.T) {
			url := newRegistry(t)
			args := []string{"push", "--registry", url, "--repository", repositoryUnderTest, "--tag", "sha-1", path}
			code, stdout, stderr := command(t, args...)
			want := fmt.Sprintf("image push: %s: this image cannot run here as a plain process: it is for linux/%s, but this machine runs linux/%s: "+
				"build it for linux/%[3]s, too; docs/local.md says which images do, and how podman runs another one beside it\n", path, otherArch(), runtime.GOARCH)
			if code != 1 || stdout != "" || stderr != want {
				t.Errorf("exit code %d, %q\n%s\nwant 1, nothing\n%s", code, stdout, stderr, want)
			}
		})
	}
}

func TestARepositoryThatIsNotThere(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v2/" {
			w.WriteHeader(http.StatusNotFound)
			io.WriteString(w, `{"errors":[{"code":"NAME_UNKNOWN","message":"repository name not known to registry"}]}`)
		}
	}))
	defer server.Close()
	path := layoutOf(t, mutate.IndexAddendum{Add: good(t, runtime.GOARCH)})
	code, _, stderr := command(t, "push", "--registry", server.URL, "--repository", repositoryUnderTest, "--tag", "sha-1", path)
	if code != 2 || !strings.Contains(stderr, "; the data stack makes the repository: deploy it first\n") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
}

// TestTheSample writes the real sample as an archive and a folder, pushes both, and runs what was pushed.
func TestTheSample(t *testing.T) {
	dir := t.TempDir()
	archive, folder := filepath.Join(dir, "sample.tar"), filepath.Join(dir, "new", "sample")
	var digests [2]string
	var writing sync.WaitGroup
	for i, out := range []string{archive, folder} {
		writing.Go(func() {
			code, stdout, stderr := command(t, "sample", "--out", out, "--version", "two words", "--exit", "7")
			if code != 0 {
				t.Errorf("%s: exit code %d: %s", out, code, stderr)
			}
			digests[i] = stdout
		})
	}
	writing.Wait()
	if digests[0] != digests[1] {
		t.Errorf("two builds gave %q", digests)
	}
	url := newRegistry(t)
	for _, path := range []string{archive, folder} {
		code, stdout, stderr := command(t, "push", "--registry", url, "--repository", repositoryUnderTest, "--tag", filepath.Base(path), "--static-only", path)
		if code != 0 || stdout != digests[0] {
			t.Errorf("push %s: exit code %d, %q, want %q\n%s", path, code, stdout, digests[0], stderr)
		}
	}

	index, err := pulled(t, url, "sample.tar").ImageIndex()
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Index(index); err != nil {
		t.Error(err)
	}
	platforms, err := platformsOf(index)
	if err != nil {
		t.Fatal(err)
	}
	if got := names(platforms); got != "linux/amd64, linux/arm64" {
		t.Errorf("platforms %s", got)
	}
	for _, p := range platforms {
		if err := checkRuns(platforms, p.Architecture, true); err != nil {
			t.Errorf("%s: %v", p, err)
		}
	}
	i := slices.IndexFunc(platforms, func(p platformImage) bool { return p.Architecture == runtime.GOARCH })
	config, err := platforms[i].ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	files, err := readFiles(platforms[i].Image)
	if err != nil {
		t.Fatal(err)
	}
	content, err := files.read("/sample")
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "program")
	if err := os.WriteFile(program, content, 0o700); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), program)
	cmd.Env = config.Config.Env
	out, _ := cmd.CombinedOutput()
	if want := "sample: SAMPLE_EXIT asks for exit code 7 at once\n"; string(out) != want || cmd.ProcessState.ExitCode() != 7 {
		t.Errorf("it ended with %d, %q; want 7, %q", cmd.ProcessState.ExitCode(), out, want)
	}
}

func TestTheSampleImageIsTheSameEachTime(t *testing.T) {
	written := func(version string) []byte {
		image, err := newSampleImage([]byte("program"), "amd64", sampleOptions{version: version})
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), "image.tar")
		if err := write(path, mutate.AppendManifests(empty.Index, stated(image, "linux", "amd64"))); err != nil {
			t.Fatal(err)
		}
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return content
	}
	if !bytes.Equal(written("1"), written("1")) {
		t.Error("the same program and version gave other bytes")
	}
	if bytes.Equal(written("1"), written("2")) {
		t.Error("another version gave the same bytes")
	}
}

func TestSampleRefuses(t *testing.T) {
	full := t.TempDir()
	if err := os.WriteFile(filepath.Join(full, "precious"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(t.TempDir(), "folder.tar")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	for behaviour, test := range map[string]struct {
		args []string
		want string
	}{
		"nowhere":           {nil, "--out is missing; name an archive, image.tar, or a folder"},
		"other words":       {[]string{"image.tar"}, `unknown command "image.tar" for "image sample"`},
		"other processor":   {[]string{"--out", "x.tar", "--arch", "x86_64"}, `--arch is "x86_64": want amd64 or arm64, or no --arch for both`},
		"exit code":         {[]string{"--out", "x.tar", "--exit", "256"}, `--exit is "256": want an exit code, 0 to 255`},
		"compressed":        {[]string{"--out", "x.tar.gz"}, `--out is "x.tar.gz": want an archive named *.tar, not compressed`},
		"a full folder":     {[]string{"--out", full}, "the folder holds something else than an OCI image layout; name another folder"},
		"a file, no .tar":   {[]string{"--out", "main.go"}, `--out is "main.go": it is there, and no folder; name a file *.tar, or another folder`},
		"a folder, by .tar": {[]string{"--out", folder}, "it is a folder; name a folder without .tar, or another file"},
		"unknown flag":      {[]string{"--output", "x"}, "unknown flag: --output; `image sample --help` lists the flags"},
	} {
		t.Run(behaviour, func(t *testing.T) {
			code, stdout, stderr := command(t, append([]string{"sample"}, test.args...)...)
			if code != 2 || stdout != "" || !strings.Contains(stderr, test.want) {
				t.Errorf("exit code %d, %q\n%s\nwant 2, nothing, %s", code, stdout, stderr, test.want)
			}
		})
	}
}

func TestWhatIsThereIsReplaced(t *testing.T) {
	dir := t.TempDir()
	image, err := newSampleImage([]byte("program"), "amd64", sampleOptions{})
	if err != nil {
		t.Fatal(err)
	}
	index := mutate.AppendManifests(empty.Index, stated(image, "linux", "amd64"))
	for _, out := range []string{filepath.Join(dir, "layout"), filepath.Join(dir, "layout.tar")} {
		for range 2 {
			if err := checkTarget(out); err != nil {
				t.Fatal(err)
			}
			if err := write(out, index); err != nil {
				t.Fatal(err)
			}
		}
		if c, err := open(out, t.TempDir()); err != nil || digestOf(t, c) != digestOf(t, index) {
			t.Errorf("%s: %v, want the index", out, err)
		}
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 2 {
		t.Errorf("%v, %v; want nothing but the two", entries, err)
	}
}

func TestHelpExitsWith0(t *testing.T) {
	for _, args := range [][]string{{}, {"--help"}, {"sample", "--help"}, {"push", "--help"}} {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			code, stdout, stderr := command(t, args...)
			if code != 0 || !strings.Contains(stdout, "Usage:") {
				t.Errorf("exit code %d: %s%s", code, stdout, stderr)
			}
			for line := range strings.Lines(stdout) {
				if len(line) > 110 {
					t.Errorf("line of %d columns: %s", len(line), line)
				}
			}
		})
	}
}
