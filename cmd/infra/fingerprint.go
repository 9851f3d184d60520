package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/cespare/xxhash/v2"
	"golang.org/x/mod/sumdb/dirhash"
	"golang.org/x/sync/errgroup"
)

// undeciding are the CDK_ variables that cannot decide a template: CDK_VALIDATION is ours, and the others name where
// the library writes its results, which it never reads (aws-cdk-lib: core/lib/errors.js and core/lib/private/perf.js).
var undeciding = []string{"CDK_VALIDATION", "CDK_OUTDIR", "CDK_ERROR_FILE", "CDK_PERF_COUNTERS_FILE"}

// contextOverflow is the variable that names a file with the part of the context that had no room in
// CDK_CONTEXT_JSON. Its name has no prefix (aws-cdk-lib: cx-api/lib/cxapi.js).
const contextOverflow = "CONTEXT_OVERFLOW_LOCATION_ENV"

// contents are named byte streams. Their digest depends on all names and all bytes.
type contents map[string]func() (io.ReadCloser, error)

// fingerprint returns a digest of everything that decides the templates of the application app: its file, args, the
// inputs with all that is below them, and those of the environment variables that the CDK CLI and library use.
// It depends on contents and names only, not on times, modes, or the working directory.
func fingerprint(app string, args, inputs, environ []string) (string, error) {
	c := contents{}
	c.addFile("app", app)
	for i, arg := range args {
		c.addText(fmt.Sprintf("arg %d", i), arg)
	}
	for _, variable := range environ {
		name, value, _ := strings.Cut(variable, "=")
		switch {
		case name == contextOverflow && value != "":
			c.addFile("context overflow", value)
		case strings.HasPrefix(name, "CDK_") && !slices.Contains(undeciding, name):
			c.addText("env "+name, value)
		}
	}
	for _, input := range inputs {
		if err := c.addTree("input "+filepath.ToSlash(filepath.Clean(input)), input, map[string]bool{}); err != nil {
			return "", fmt.Errorf("--input %q cannot be read: %w; name a file or directory that exists, or leave it out if the application does not read it", input, err)
		}
	}
	digest, err := c.digest()
	if err != nil {
		return "", fmt.Errorf("the inputs of the templates cannot be read: %w; make the file readable, or try again if it was being written", err)
	}
	return digest, nil
}

// digest hashes the streams side by side, and then their hashes: by xxHash, since the application and the functions are more
// than 100 MB, for which SHA-256 takes some 0.05 s longer even where the processor helps it. What has to be told apart is no
// forgery: who can write these files can switch the validation off.
func (c contents) digest() (string, error) {
	names := slices.Sorted(maps.Keys(c))
	hashes := make([][]byte, len(names))
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i, name := range names {
		group.Go(func() error {
			stream, err := c[name]()
			if err != nil {
				return err
			}
			defer stream.Close()
			hash := xxhash.New()
			if _, err := io.Copy(hash, stream); err != nil {
				return err
			}
			hashes[i] = hash.Sum(nil)
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return "", err
	}
	return dirhash.Hash1(names, func(name string) (io.ReadCloser, error) {
		i, _ := slices.BinarySearch(names, name)
		return io.NopCloser(bytes.NewReader(hashes[i])), nil
	})
}

func (c contents) addText(name, text string) {
	c.add(name, func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(text)), nil })
}

func (c contents) addFile(name, file string) {
	c.add(name, func() (io.ReadCloser, error) { return os.Open(file) })
}

// add quotes the name, because dirhash refuses line breaks, which file names may have.
func (c contents) add(name string, open func() (io.ReadCloser, error)) {
	c[strconv.Quote(name)] = open
}

// addTree adds the file or directory at file under name. Symbolic links are followed, as the CDK library does for
// assets, and their targets count too. visited holds the real paths of the directories added so far: a link may lead
// back to one.
func (c contents) addTree(name, file string, visited map[string]bool) error {
	info, err := os.Lstat(file)
	if err != nil {
		return err
	}
	if info.Mode().Type() == fs.ModeSymlink {
		target, err := os.Readlink(file)
		if err != nil {
			return err
		}
		c.addText("link "+name, target)
		if info, err = os.Stat(file); errors.Is(err, fs.ErrNotExist) {
			return nil // a dangling link is its target's name and nothing else
		} else if err != nil {
			return err
		}
	}
	switch {
	case info.Mode().IsRegular():
		c.addFile("file "+name, file)
		return nil
	case !info.IsDir():
		return fmt.Errorf("%s is neither a file nor a directory but %s", file, info.Mode())
	}
	c.addText("directory "+name, "")
	real, err := filepath.EvalSymlinks(file)
	if err != nil {
		return err
	}
	if visited[real] {
		return nil
	}
	visited[real] = true
	entries, err := os.ReadDir(file)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if err := c.addTree(path.Join(name, entry.Name()), filepath.Join(file, entry.Name()), visited); err != nil {
			return err
		}
	}
	return nil
}
