package main

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// content is an index or a single image.
type content interface {
	remote.Taggable
	Digest() (v1.Hash, error)
}

const wanted = "want an OCI image layout, as a folder or an archive (.tar, .tar.gz), or an archive of `docker save`, with one image"

// open reads the image at a path. It unpacks into work, an empty folder that must stay as long as the image is used.
func open(at, work string) (content, error) {
	info, err := os.Stat(at)
	if err != nil {
		return nil, fmt.Errorf("%w; %s", err, wanted)
	}
	var c content
	switch {
	case info.IsDir():
		c, err = openLayout(at)
	case info.Mode().IsRegular():
		c, err = openArchive(at, work)
	default:
		err = fmt.Errorf("neither a folder nor a file; %s", wanted)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", at, err)
	}
	return c, nil
}

func openLayout(folder string) (content, error) {
	index, err := layout.ImageIndexFromPath(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("the folder holds no index.json; %s", wanted)
	}
	if err != nil {
		return nil, err
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return nil, fmt.Errorf("index.json: %w", err)
	}
	// One image that has several tags is named as often.
	entries := slices.Clone(manifest.Manifests)
	slices.SortFunc(entries, func(a, b v1.Descriptor) int { return strings.Compare(a.Digest.String(), b.Digest.String()) })
	entries = slices.CompactFunc(entries, func(a, b v1.Descriptor) bool { return a.Digest == b.Digest })
	platforms := 0
	for _, entry := range entries {
		if entry.Platform != nil {
			platforms++
		}
	}
	switch {
	case len(entries) > 1 && platforms == len(entries):
		// index.json is the image's own index, as some tools write it.
		return index, nil
	case len(entries) != 1:
		return nil, fmt.Errorf("index.json names %d images; %s", len(entries), wanted)
	case entries[0].MediaType.IsIndex():
		return index.ImageIndex(entries[0].Digest)
	case entries[0].MediaType.IsImage():
		return index.Image(entries[0].Digest)
	}
	return nil, fmt.Errorf("index.json names a %s; %s", entries[0].MediaType, wanted)
}

func openArchive(file, work string) (content, error) {
	opener := func() (io.ReadCloser, error) { return openTar(file) }
	found, err := unpackLayout(opener, work)
	switch {
	case err != nil:
		return nil, err
	case found.layout: // newer versions of `docker save` write both
		return openLayout(work)
	case !found.docker:
		return nil, fmt.Errorf("the archive has no index.json and no manifest.json at its top level; %s; pack a folder by `tar -C FOLDER -cf IMAGE.tar .`", wanted)
	}
	images, err := tarball.LoadManifest(opener)
	if err != nil {
		return nil, fmt.Errorf("manifest.json: %w", err)
	}
	if len(images) != 1 {
		return nil, fmt.Errorf("manifest.json names %d images; %s", len(images), wanted)
	}
	return tarball.Image(opener, nil)
}

// tarStream reads an archive, and closes its file.
type tarStream struct {
	io.Reader
	io.Closer
}

// openTar opens an archive, compressed by gzip or not.
func openTar(file string) (io.ReadCloser, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	buffered := bufio.NewReaderSize(f, 64<<10)
	if magic, _ := buffered.Peek(2); string(magic) != "\x1f\x8b" {
		return tarStream{buffered, f}, nil
	}
	unzipped, err := gzip.NewReader(buffered)
	if err != nil {
		f.Close()
		return nil, err
	}
	return tarStream{unzipped, f}, nil
}

// formats are those that an archive's files are of.
type formats struct{ layout, docker bool }

// unpackLayout writes the files of a layout in an archive to folder, and nothing outside of it.
func unpackLayout(opener tarball.Opener, folder string) (found formats, err error) {
	stream, err := opener()
	if err != nil {
		return found, err
	}
	defer stream.Close()
	root, err := os.OpenRoot(folder)
	if err != nil {
		return found, err
	}
	defer root.Close()
	for r := tar.NewReader(stream); ; {
		header, err := r.Next()
		if errors.Is(err, io.EOF) {
			return found, nil
		}
		if err != nil {
			return found, fmt.Errorf("not a whole tar archive: %w; %s", err, wanted)
		}
		name := path.Clean(header.Name)
		found.layout = found.layout || name == "index.json"
		found.docker = found.docker || name == "manifest.json"
		if header.Typeflag != tar.TypeReg || (name != "index.json" && !strings.HasPrefix(name, "blobs/")) {
			continue
		}
		if err := unpackFile(root, filepath.FromSlash(name), r); err != nil {
			return found, fmt.Errorf("unpack %s: %w", name, err)
		}
	}
}

func unpackFile(root *os.Root, name string, r io.Reader) error {
	if err := root.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return err
	}
	file, err := root.Create(name)
	if err != nil {
		return err
	}
	if _, err := io.Copy(file, r); err != nil {
		file.Close()
		return err
	}
	return file.Close()
}
