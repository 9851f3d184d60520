package main

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestCheckNamesEveryFault(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "a.sh", "one two two\n")
	edits := func(all ...edit) []group { return []group{{Part: "p", File: "a.sh", Command: "c", Mutants: all}} }
	for name, test := range map[string]struct {
		list list
		want string
	}{
		"a text that is not there": {list{map[string]string{"c": "true"}, edits(edit{"m", "three", "x"})}, `mutant "p: m": a.sh has 0 times the text "three", want it once`},
		"a text that is twice":     {list{map[string]string{"c": "true"}, edits(edit{"m", "two", "x"})}, `a.sh has 2 times the text "two"`},
		"no text":                  {list{map[string]string{"c": "true"}, edits(edit{"m", "", "x"})}, `the text "", want it once`},
		"no change":                {list{map[string]string{"c": "true"}, edits(edit{"m", "one", "one"})}, `puts what it finds`},
		"the same name":            {list{map[string]string{"c": "true"}, edits(edit{"m", "one", "x"}, edit{"m", "one", "y"})}, `mutant "p: m" is there twice`},
		"an unknown command":       {list{map[string]string{"d": "true"}, edits(edit{"m", "one", "x"})}, `there is no command "c"`},
		"an unused command":        {list{map[string]string{"c": "true", "d": "true"}, edits(edit{"m", "one", "x"})}, `no mutant uses the command "d"`},
		"a file that is not there": {list{map[string]string{"c": "true"}, []group{{File: "b.sh", Command: "c", Mutants: []edit{{"m", "one", "x"}}}}}, `b.sh: no such file`},
	} {
		t.Run(name, func(t *testing.T) {
			if err := test.list.check(dir); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want an error with %q", err, test.want)
			}
		})
	}
}

func TestReadListRefusesAnUnknownKey(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "list.yaml", "groups: [{part: p, fiel: x}]\n")
	if _, err := readList(filepath.Join(dir, "list.yaml")); err == nil || !strings.Contains(err.Error(), "fiel") {
		t.Errorf("got %v, want an error about the key fiel", err)
	}
}

// testCommand says of a text what go test would say of the program.
const testCommand = `case $(cat a.sh) in
*good*) ;;
*unbuilt*) printf 'FAIL\tpkg [build failed]\n'; exit 1 ;;
*endless*) echo 'panic: test timed out after 1s'; exit 2 ;;
*silent*) echo 'make: *** no rule'; exit 2 ;;
*) printf -- '--- FAIL: TestA (0.00s)\n    --- FAIL: TestA/b (0.00s)\n'; exit 1 ;;
esac`

func TestRun(t *testing.T) {
	copies := []string{t.TempDir(), t.TempDir()}
	for _, dir := range copies {
		write(t, dir, "a.sh", "true good\n")
		write(t, dir, "go.mod", "module m\n")
		write(t, dir, "p/a.go", "package p\n\nconst a = 1\n")
	}
	sh := group{Part: "shell", File: "a.sh", Command: "test"}
	program := group{Part: "program", File: "p/a.go", Command: "test"}
	mutants := []mutant{
		{sh, edit{"killed", "good", "bad"}},
		{sh, edit{"survives", "good", "good too"}},
		{sh, edit{"hangs", "good", "endless"}},
		{sh, edit{"tests do not compile", "good", "unbuilt"}},
		{sh, edit{"no test fails", "good", "silent"}},
		{sh, edit{"no shell", "good", "good ("}},
		{program, edit{"no Go", "const a = 1", "const a = b"}},
		{program, edit{"survives", "const a = 1", "const a = 2"}},
	}
	var out strings.Builder
	verdicts, err := run(t.Context(), &out, copies, map[string]string{"test": testCommand}, mutants)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []struct{ word, text string }{
		{"killed", "shell: killed  (TestA/b)"},
		{"SURVIVED", "shell: survives"},
		{"killed", "(a test that did not end)"},
		{"INVALID", "the tests do not compile with the mutant"},
		{"INVALID", "the command failed, but no test did: exit status 2\nmake: *** no rule"},
		{"INVALID", "the mutant is no valid program"},
		{"INVALID", "undefined: b"},
		{"SURVIVED", "program: survives"},
	} {
		if got := verdicts[i]; got.word() != want.word || !strings.Contains(got.line(), want.text) {
			t.Errorf("%s: %s %s, want %s and %q", got.mutant, got.word(), got.line(), want.word, want.text)
		}
		if !strings.Contains(out.String(), verdicts[i].line()) {
			t.Errorf("%s: no line is printed", verdicts[i].mutant)
		}
	}
	for _, dir := range copies {
		if text, err := os.ReadFile(filepath.Join(dir, "a.sh")); err != nil || string(text) != "true good\n" {
			t.Errorf("the file was not restored: %q, %v", text, err)
		}
	}

	out.Reset()
	err = report(&out, verdicts, 90*time.Minute)
	if err == nil || !strings.Contains(out.String(), "mutants: 2 of 8 killed, in 90 min\nSURVIVED  shell: survives\n") {
		t.Errorf("error %v, report\n%s", err, &out)
	}
	out.Reset()
	if err := report(&out, verdicts[:1], time.Minute); err != nil || !strings.Contains(out.String(), "shell                          1    1\n") {
		t.Errorf("error %v, report\n%s", err, &out)
	}
}

func TestRunStopsIfACommandFailsWithoutAMutant(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "a.sh", "bad\n")
	_, err := run(t.Context(), new(strings.Builder), []string{dir}, map[string]string{"test": testCommand}, []mutant{{group{File: "a.sh", Command: "test"}, edit{"m", "bad", "worse"}}})
	if err == nil || !strings.Contains(err.Error(), "the command test fails without any mutant") || !strings.Contains(err.Error(), "TestA/b") {
		t.Errorf("got %v", err)
	}
}

func TestAnInterruptEndsTheCommandAndAllThatItStarted(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "a.sh", "good\n")
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	start := time.Now()
	_, err := run(ctx, new(strings.Builder), []string{dir}, map[string]string{"test": `grep -q good a.sh || sh -c 'sleep 60; true'`},
		[]mutant{{group{File: "a.sh", Command: "test"}, edit{"m", "good", "bad"}}})
	if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) > 10*time.Second {
		t.Errorf("after %s: %v", time.Since(start), err)
	}
}

func TestCopyProject(t *testing.T) {
	root, dir := t.TempDir(), filepath.Join(t.TempDir(), "copy")
	for name, text := range map[string]string{".gitignore": "/bin/\n/dist/\n/node_modules/\n/secret\n", "app.go": "package main\n", "sql/init.sql": "-- sql\n", "secret": "x", "bin/app": "built", "dist/schema/x": "built", "node_modules/x": "installed"} {
		write(t, root, name, text)
	}
	old := time.Now().Add(-time.Hour)
	for _, name := range []string{"app.go", "bin/app"} {
		if err := os.Chtimes(filepath.Join(root, name), old, old); err != nil {
			t.Fatal(err)
		}
	}
	if output, err := exec.Command("git", "-C", root, "init", "--quiet").CombinedOutput(); err != nil {
		t.Fatalf("git init: %v\n%s", err, output)
	}
	if err := copyProject(t.Context(), root, dir); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"app.go": "package main\n", "sql/init.sql": "-- sql\n", "bin/app": "built", "dist/schema/x": "built", "node_modules/x": "installed"} {
		if text, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(text) != want {
			t.Errorf("%s: %q, %v; want %q", name, text, err, want)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "secret")); err == nil {
		t.Error("a file that git ignores was copied")
	}
	source, built := modified(t, dir, "app.go"), modified(t, dir, "bin/app")
	if !source.Equal(modified(t, root, "app.go")) {
		t.Errorf("the source is of %s, want its time kept", source)
	}
	if built.Before(modified(t, dir, "sql")) {
		t.Error("what is built is older than the folders of its sources: make would build it again")
	}
}

func modified(t *testing.T, dir, name string) time.Time {
	t.Helper()
	info, err := os.Stat(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return info.ModTime()
}

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	file := filepath.Join(dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
