package main

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
)

// imageFiles is the file system of an image: the layers one above the other.
type imageFiles struct {
	image   v1.Image
	headers map[string]*tar.Header // by absolute path
	folders map[string]bool        // those above them, which need no header
}

// walk calls visit for every file of the image, until it returns true or there is no other.
func walk(image v1.Image, visit func(name string, header *tar.Header, content io.Reader) (done bool, err error)) error {
	stream := mutate.Extract(image)
	defer stream.Close()
	for r := tar.NewReader(stream); ; {
		header, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read the image's files: %w", err)
		}
		if done, err := visit(path.Join("/", header.Name), header, r); done || err != nil {
			return err
		}
	}
}

func readFiles(image v1.Image) (*imageFiles, error) {
	f := &imageFiles{image, map[string]*tar.Header{}, map[string]bool{}}
	err := walk(image, func(name string, header *tar.Header, _ io.Reader) (bool, error) {
		f.headers[name] = header
		for folder := path.Dir(name); !f.folders[folder]; folder = path.Dir(folder) {
			f.folders[folder] = true
		}
		return false, nil
	})
	return f, err
}

// maxLinks is how many links Linux follows for one path.
const maxLinks = 40

// resolve returns the path of the regular file that a path leads to, as if the image's folder were the root: an
// absolute link, and one that goes above the root, stays in it.
func (f *imageFiles) resolve(name string) (string, error) {
	resolved, rest := "/", name
	for links := 0; ; {
		var word string
		word, rest, _ = strings.Cut(strings.TrimLeft(rest, "/"), "/")
		if word == "" {
			break
		}
		next := path.Join(resolved, word)
		header := f.headers[next]
		switch {
		case header == nil && f.folders[next]:
		case header == nil:
			return "", fmt.Errorf("there is no %s", next)
		case header.Typeflag == tar.TypeSymlink:
			if links++; links > maxLinks {
				return "", fmt.Errorf("more than %d links", maxLinks)
			}
			if path.IsAbs(header.Linkname) {
				resolved = "/"
			}
			rest = header.Linkname + "/" + rest
			continue
		case header.Typeflag == tar.TypeLink:
			// Names a file of the image, from its root.
			next = path.Join("/", header.Linkname)
		}
		resolved = next
	}
	if header := f.headers[resolved]; header == nil || header.Typeflag != tar.TypeReg {
		return "", fmt.Errorf("%s is no regular file", resolved)
	}
	return resolved, nil
}

func (f *imageFiles) mode(name string) int64 { return f.headers[name].Mode & 0o7777 }

// read returns the content of a regular file. It reads the layers again: an image may be too large for the memory.
func (f *imageFiles) read(name string) (content []byte, err error) {
	err = walk(f.image, func(found string, header *tar.Header, r io.Reader) (bool, error) {
		if found != name {
			return false, nil
		}
		content, err = io.ReadAll(r)
		return true, err
	})
	return content, err
}
