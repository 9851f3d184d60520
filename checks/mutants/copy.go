package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// copyProject makes a copy of the project in root, with what is built and installed, at dir, which is not there yet. The mutants are tried there, so that
// the project's own files are never touched.
func copyProject(ctx context.Context, root, dir string) error {
	listing := exec.CommandContext(ctx, "git", "ls-files", "--cached", "--others", "--exclude-standard", "-z")
	listing.Dir = root
	names, err := listing.Output()
	if err != nil {
		return fmt.Errorf("list the project's files: %s: %w", listing, err)
	}
	for name := range bytes.SplitSeq(bytes.TrimRight(names, "\x00"), []byte{0}) {
		if err := copyFile(filepath.Join(root, string(name)), filepath.Join(dir, string(name))); err != nil && !errors.Is(err, fs.ErrNotExist) { // deleted, and not committed
			return err
		}
	}
	for _, built := range []string{"bin", "dist"} {
		if output, err := exec.CommandContext(ctx, "cp", "-Rp", filepath.Join(root, built), dir).CombinedOutput(); err != nil {
			return fmt.Errorf("copy %s: %w\n%s", built, err, output)
		}
	}
	for _, installed := range []string{"node_modules", filepath.Join("internal", "change", "templatediff", "node_modules"), filepath.Join(".local", "mariadb")} {
		if err := link(filepath.Join(root, installed), filepath.Join(dir, installed)); err != nil {
			return err
		}
	}
	// The folders of the copy are newer than what was built from them, which make would build again.
	now := time.Now()
	built, err := filepath.Glob(filepath.Join(dir, "bin", "*"))
	if err != nil {
		return err
	}
	for _, file := range append(built, filepath.Join(dir, "dist", "functions"), filepath.Join(dir, "dist", "schema")) {
		if err := os.Chtimes(file, now, now); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// copyFile keeps the time: by it make sees that what is installed, which is linked, is in step.
func copyFile(from, to string) error {
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	content, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(to, content, info.Mode().Perm()); err != nil {
		return err
	}
	return os.Chtimes(to, info.ModTime(), info.ModTime())
}

func link(target, at string) error {
	if _, err := os.Stat(target); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
		return err
	}
	return os.Symlink(target, at)
}
