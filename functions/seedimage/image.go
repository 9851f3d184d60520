package main

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"flask-on-fargate/internal/appenv"
	"flask-on-fargate/internal/registry"
)

// architectures are the image's platforms, all of linux, in the order of its index.
var architectures = []string{"amd64", "arm64"}

// newPlaceholder builds our image for a port from the programs seed-<architecture> in dir: an OCI index of one image for
// each architecture, an empty base with the single file /seed. The same programs and port give the same digest.
func newPlaceholder(dir string, port int) (v1.ImageIndex, error) {
	programs := map[string][]byte{}
	version := sha256.New()
	for _, arch := range architectures {
		path := filepath.Join(dir, "seed-"+arch)
		program, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("read the seed program: %w; build the function's zip anew, it holds bootstrap, seed-amd64 and seed-arm64", err)
		}
		programs[arch] = program
		version.Write(program)
	}

	var manifests []mutate.IndexAddendum
	for _, arch := range architectures {
		image, err := newImage(programs[arch], v1.ConfigFile{
			Architecture: arch,
			OS:           "linux",
			RootFS:       v1.RootFS{Type: "layers"},
			// Anything but a fixed time would change the digest from build to build.
			Created: v1.Time{Time: time.Unix(0, 0).UTC()},
			Config: v1.Config{
				// No User: root may bind a port below 1024, and write into the volume that the schema task shares with mysql.
				Entrypoint: []string{"/seed"},
				Cmd:        []string{"serve"},
				// Task definitions of the stacks set the port too; those of versions before 0.1.0 do not.
				Env:          []string{appenv.Port + "=" + strconv.Itoa(port)},
				ExposedPorts: map[string]struct{}{strconv.Itoa(port) + "/tcp": {}},
				Labels:       map[string]string{registry.PlaceholderLabel: hex.EncodeToString(version.Sum(nil))},
			},
		})
		if err != nil {
			return nil, fmt.Errorf("build the image for linux/%s: %w", arch, err)
		}
		manifests = append(manifests, mutate.IndexAddendum{
			Add:        image,
			Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: arch}},
		})
	}
	return mutate.AppendManifests(empty.Index, manifests...), nil
}

// newImage is an OCI image with one layer, which holds program as /seed.
func newImage(program []byte, config v1.ConfigFile) (v1.Image, error) {
	var files bytes.Buffer
	w := tar.NewWriter(&files)
	header := &tar.Header{Name: "seed", Mode: 0o755, Size: int64(len(program)), ModTime: config.Created.Time}
	if err := w.WriteHeader(header); err != nil {
		return nil, err
	}
	if _, err := w.Write(program); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	layer, err := tarball.LayerFromOpener(
		func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(files.Bytes())), nil },
		// Caching: what is retried, and pushed under a second tag, is compressed once.
		tarball.WithMediaType(types.OCILayer), tarball.WithCompressedCaching,
	)
	if err != nil {
		return nil, err
	}
	base := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	image, err := mutate.ConfigFile(base, &config)
	if err != nil {
		return nil, err
	}
	return mutate.Append(image, mutate.Addendum{
		Layer:   layer,
		History: v1.History{Created: config.Created, CreatedBy: "flask-on-fargate seedimage"},
	})
}
