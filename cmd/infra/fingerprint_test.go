package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// of returns the fingerprint of the one input dir.
func of(t *testing.T, dir string) string {
	t.Helper()
	t.Chdir(filepath.Dir(dir))
	got, err := fingerprint(os.Args[0], nil, []string{filepath.Base(dir)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestFingerprintFollowsSymbolicLinks(t *testing.T) {
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	outside := write(t, map[string]string{"file": "1", "dir/file": "1", "twin": "1"})
	dir := write(t, map[string]string{"a": ""})
	must(os.Symlink(filepath.Join(outside, "file"), filepath.Join(dir, "file")))
	must(os.Symlink(filepath.Join(outside, "dir"), filepath.Join(dir, "dir")))
	must(os.Symlink(dir, filepath.Join(dir, "loop")))
	must(os.Symlink("nowhere", filepath.Join(dir, "dangling")))

	relink := func(name, target string) {
		must(os.Remove(filepath.Join(dir, name)))
		must(os.Symlink(target, filepath.Join(dir, name)))
	}
	seen := map[string]string{of(t, dir): "the start"}
	for _, step := range []struct {
		name   string
		change func()
	}{
		{"a changed file behind a link", func() { must(os.WriteFile(filepath.Join(outside, "file"), []byte("2"), 0o644)) }},
		{"a changed file below a linked directory", func() { must(os.WriteFile(filepath.Join(outside, "dir/file"), []byte("2"), 0o644)) }},
		{"another target of the same content", func() {
			must(os.WriteFile(filepath.Join(outside, "twin"), []byte("2"), 0o644))
			relink("file", filepath.Join(outside, "twin"))
		}},
		{"another target of a dangling link", func() { relink("dangling", "elsewhere") }},
		{"an empty directory", func() { must(os.Mkdir(filepath.Join(dir, "empty"), 0o755)) }},
		{"a name with a line break", func() { must(os.WriteFile(filepath.Join(dir, "line\nbreak"), nil, 0o644)) }},
	} {
		step.change()
		got := of(t, dir)
		if before, ok := seen[got]; ok {
			t.Errorf("%s does not change the fingerprint since %s", step.name, before)
		}
		if again := of(t, dir); again != got {
			t.Errorf("%s: the fingerprint differs from one time to the next", step.name)
		}
		seen[got] = step.name
	}
}

func TestFingerprintIgnoresTheFileMode(t *testing.T) {
	dir := write(t, map[string]string{"a": "1"})
	before := of(t, dir)
	if err := os.Chmod(filepath.Join(dir, "a"), 0o600); err != nil {
		t.Fatal(err)
	}
	if of(t, dir) != before {
		t.Error("the file mode changes the fingerprint, although no template depends on it")
	}
}

func TestFingerprintTellsArgumentsApart(t *testing.T) {
	seen := map[string][]string{}
	for _, args := range [][]string{{}, {""}, {"b"}, {"a", "b"}, {"b", "a"}, {"a b"}, {"ab"}} {
		got, err := fingerprint(os.Args[0], args, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		if other, ok := seen[got]; ok {
			t.Errorf("arguments %q and %q have one fingerprint", args, other)
		}
		seen[got] = args
	}
}

func TestFingerprintRejectsWhatIsNoFile(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := fingerprint(os.Args[0], nil, []string{dir}, nil)
	if err == nil || !strings.Contains(err.Error(), "pipe is neither a file nor a directory but p") {
		t.Errorf("error %v, want one about the pipe", err)
	}
}
