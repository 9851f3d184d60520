package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSynth(t *testing.T) {
	for name, test := range map[string]struct {
		app  string
		want string
	}{
		"the_application_as_a_user_runs_it":   {"", "synth --quiet --output out; unset\n"},
		"another_application_not_validated":   {"other", "synth --quiet --output out --app other; false\n"},
		"a_failure_of_the_CLI_is_an_error":    {"fails", ""},
		"Node.js_is_the_one_of_the_same_tree": {"node", "node of the tree\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("CDK_VALIDATION", "true") // of the shell that runs make bench
			dir := t.TempDir()
			write(t, dir, "cdk", `case $* in *fails) exit 3 ;; *node) node ;; *) echo "$*; ${CDK_VALIDATION-unset}" ;; esac > said`)
			write(t, dir, "node", "echo node of the tree")
			s := subject{dir: dir, app: test.app}
			if err := s.synth(t.Context(), "out", true); (err != nil) != (test.want == "") {
				t.Fatal(err)
			}
			if said, _ := os.ReadFile(filepath.Join(dir, "said")); string(said) != test.want {
				t.Errorf("the CLI was called with %q, want %q", said, test.want)
			}
			if test.want != "" && (len(s.wall) != 1 || len(s.cpu) != 1 || s.wall[0] <= 0) {
				t.Errorf("kept %v and %v s, want one time each", s.wall, s.cpu)
			}
		})
	}
}

// write puts a shell script where npm puts a program.
func write(t *testing.T, dir, name, script string) {
	t.Helper()
	file := filepath.Join(dir, "node_modules", ".bin", name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
}

func TestReport(t *testing.T) {
	var got strings.Builder
	err := report(&got, []*subject{
		{name: "ours", wall: []float64{2, 4, 3, 3}, cpu: []float64{3, 4, 5, 5}},
		{name: "other", wall: []float64{1, 2, 3, 3}, cpu: []float64{1, 1, 1, 1}}, // the pairs count: 2, 2, 1, 1
	})
	want := `4 rounds  wall s  min   max   CPU s  min   max   ratio  min   max
ours      3.00    2.00  4.00  4.50   3.00  5.00  1.00   1.00  1.00
other     2.50    1.00  3.00  1.00   1.00  1.00  1.50   1.00  2.00
`
	if diff := cmp.Diff(want, got.String()); err != nil || diff != "" {
		t.Errorf("%v, report (-want +got)\n%s", err, diff)
	}
}
