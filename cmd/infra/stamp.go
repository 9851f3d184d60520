package main

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// stampSize is the number of passes that a stamp remembers: enough to go back and forth between environments and
// branches, and so small that the file never needs care.
const stampSize = 20

var digestForm = regexp.MustCompile(`^h1:[A-Za-z0-9+/]{43}=$`)

// stamp is the path of a file that remembers digests, one a line, the newest first. A file that is missing,
// unreadable or damaged remembers less, and is no error.
type stamp string

func (s stamp) digests() []string {
	data, err := os.ReadFile(string(s))
	if err != nil {
		return nil
	}
	return slices.DeleteFunc(strings.Fields(string(data)), func(line string) bool { return !digestForm.MatchString(line) })
}

func (s stamp) has(digest string) bool { return slices.Contains(s.digests(), digest) }

// add makes digest the newest of the stamp. Several processes may add at the same time: readers see one whole
// version of the file or another. A digest that another process adds in the same moment may be lost.
func (s stamp) add(digest string) (err error) {
	others := slices.DeleteFunc(s.digests(), func(d string) bool { return d == digest })
	digests := slices.Insert(others, 0, digest)
	digests = digests[:min(len(digests), stampSize)]

	// In the same directory, because a rename is atomic only within a file system.
	temp, err := os.CreateTemp(filepath.Dir(string(s)), filepath.Base(string(s))+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(temp.Name()))
		}
	}()
	if _, err := temp.WriteString(strings.Join(digests, "\n") + "\n"); err != nil {
		return errors.Join(err, temp.Close())
	}
	if err := temp.Close(); err != nil {
		return err
	}
	return os.Rename(temp.Name(), string(s))
}
