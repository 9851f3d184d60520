package main

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/mod/modfile"
)

// architectures are the sample's platforms, all of linux, in the order of its index.
var architectures = []string{"amd64", "arm64"}

// epoch is the time of everything in an image: any other would change the bytes from build to build.
var epoch = time.Unix(0, 0).UTC()

type sampleOptions struct {
	out, version, exit string
	arch               string // default: all of architectures
}

// writeSample writes the sample's image to o.out and prints its digest.
func writeSample(ctx context.Context, o sampleOptions, stdout, stderr io.Writer) error {
	archs := architectures
	if o.arch != "" {
		if !slices.Contains(architectures, o.arch) {
			return fmt.Errorf("--arch is %q: want amd64 or arm64, or no --arch for both", o.arch)
		}
		archs = []string{o.arch}
	}
	if _, err := strconv.ParseUint(o.exit, 10, 8); o.exit != "" && err != nil {
		return fmt.Errorf("--exit is %q: want an exit code, 0 to 255", o.exit)
	}
	if err := checkTarget(o.out); err != nil {
		return err
	}

	work, err := os.MkdirTemp("", "sample-image-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	var manifests []mutate.IndexAddendum
	for _, arch := range archs {
		fmt.Fprintf(stderr, "compiling the sample application for linux/%s\n", arch)
		program, err := compile(ctx, filepath.Join(work, arch), arch)
		if err != nil {
			return err
		}
		image, err := newSampleImage(program, arch, o)
		if err != nil {
			return fmt.Errorf("build the image for linux/%s: %w", arch, err)
		}
		manifests = append(manifests, mutate.IndexAddendum{
			Add:        image,
			Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: arch}},
		})
	}
	index := mutate.AppendManifests(empty.Index, manifests...)
	digest, err := index.Digest()
	if err != nil {
		return err
	}
	if err := write(o.out, index); err != nil {
		return fmt.Errorf("write %s: %w", o.out, err)
	}
	fmt.Fprintln(stdout, digest)
	return nil
}

// compile builds the sample as functions/build.sh builds the functions: the same bytes on every machine.
func compile(ctx context.Context, out, arch string) ([]byte, error) {
	gomod, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	if err != nil {
		return nil, fmt.Errorf("go env GOMOD: %w; the sample is compiled by Go", err)
	}
	path := strings.TrimSpace(string(gomod))
	text, err := os.ReadFile(path)
	if err != nil || path == os.DevNull {
		return nil, errors.New("no go.mod here: start this program in the repository, its source is local/sample")
	}
	module, err := modfile.ParseLax(path, text, nil)
	if err != nil {
		return nil, err
	}
	environment := append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch, "GOAMD64=v1", "GOARM64=v8.0", "GOFLAGS=-mod=readonly", "GOEXPERIMENT=", "GOFIPS140=off")
	if module.Toolchain != nil {
		environment = append(environment, "GOTOOLCHAIN="+module.Toolchain.Name)
	}
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", out, "./local/sample")
	build.Dir, build.Env = filepath.Dir(path), environment
	if output, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%s: %w\n%s", build, err, output)
	}
	return os.ReadFile(out)
}

// newSampleImage is an OCI image with one layer, which holds program as /sample. What tells one sample from another is
// in its environment, so that a second one adds only a configuration to a registry.
func newSampleImage(program []byte, arch string, o sampleOptions) (v1.Image, error) {
	var files bytes.Buffer
	w := tar.NewWriter(&files)
	if err := writeFile(w, "sample", 0o755, program); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	layer, err := tarball.LayerFromOpener(
		func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(files.Bytes())), nil },
		tarball.WithMediaType(types.OCILayer), tarball.WithCompressedCaching,
	)
	if err != nil {
		return nil, err
	}
	environment := []string{"PORT=5000", "SAMPLE_VERSION=" + o.version}
	if o.exit != "" {
		environment = append(environment, "SAMPLE_EXIT="+o.exit)
	}
	base := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	image, err := mutate.ConfigFile(base, &v1.ConfigFile{
		Architecture: arch,
		OS:           "linux",
		RootFS:       v1.RootFS{Type: "layers"},
		Created:      v1.Time{Time: epoch},
		Config: v1.Config{
			User:         "65532:65532", // nobody in particular: it writes no file, and binds a port above 1024
			Entrypoint:   []string{"/sample"},
			Env:          environment,
			ExposedPorts: map[string]struct{}{"5000/tcp": {}},
			Labels: map[string]string{
				"org.opencontainers.image.title":   "Sample application of flask-on-fargate",
				"org.opencontainers.image.version": o.version,
			},
		},
	})
	if err != nil {
		return nil, err
	}
	return mutate.Append(image, mutate.Addendum{
		Layer:   layer,
		History: v1.History{Created: v1.Time{Time: epoch}, CreatedBy: "flask-on-fargate local/image"},
	})
}

// checkTarget refuses to replace what is not an image.
func checkTarget(out string) error {
	isArchive := strings.HasSuffix(out, ".tar")
	if !isArchive && (strings.HasSuffix(out, ".gz") || strings.HasSuffix(out, ".tgz")) {
		return fmt.Errorf("--out is %q: want an archive named *.tar, not compressed since its layers are, or a folder", out)
	}
	entries, err := os.ReadDir(out)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		// Not a folder.
		if info, err := os.Stat(out); err == nil && info.Mode().IsRegular() && isArchive {
			return nil
		}
		return fmt.Errorf("--out is %q: it is there, and no folder; name a file *.tar, or another folder", out)
	case isArchive:
		return fmt.Errorf("--out is %q: it is a folder; name a folder without .tar, or another file", out)
	}
	isLayout := slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.Name() == "oci-layout" })
	if len(entries) > 0 && !isLayout {
		return fmt.Errorf("--out is %q: the folder holds something else than an OCI image layout; name another folder", out)
	}
	return nil
}

// write puts a layout that names the index at out, whole or not at all.
func write(out string, index v1.ImageIndex) error {
	parent := filepath.Dir(filepath.Clean(out))
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return err
	}
	// Beside the target, so that it can be renamed.
	work, err := os.MkdirTemp(parent, ".image-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	folder := filepath.Join(work, "layout")
	named := mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: index})
	if _, err := layout.Write(folder, named); err != nil {
		return err
	}
	if !strings.HasSuffix(out, ".tar") {
		if err := os.RemoveAll(out); err != nil {
			return err
		}
		return os.Rename(folder, out)
	}
	archive := filepath.Join(work, "layout.tar")
	if err := pack(folder, archive); err != nil {
		return err
	}
	return os.Rename(archive, out)
}

// pack writes the files of a folder to an archive, in the order of their names and without what differs from machine to
// machine: [tar.Writer.AddFS] keeps times and owners.
func pack(folder, archive string) error {
	file, err := os.Create(archive)
	if err != nil {
		return err
	}
	defer file.Close()
	w := tar.NewWriter(file)
	root := os.DirFS(folder)
	err = fs.WalkDir(root, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := fs.ReadFile(root, name)
		if err != nil {
			return err
		}
		return writeFile(w, name, 0o644, content)
	})
	if err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	return file.Close()
}

func writeFile(w *tar.Writer, name string, mode int64, content []byte) error {
	header := &tar.Header{Name: name, Mode: mode, Size: int64(len(content)), ModTime: epoch}
	if err := w.WriteHeader(header); err != nil {
		return err
	}
	_, err := w.Write(content)
	return err
}
