package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// fakeCLI puts a cdk in PATH that runs the shell script body.
func fakeCLI(t *testing.T, body string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "cdk"), []byte("#!/bin/sh\n"+body), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+string(filepath.ListSeparator)+os.Getenv("PATH"))
}

func TestRunCallsTheCLI(t *testing.T) {
	for name, test := range map[string]struct {
		subject subject
		want    string
	}{
		"as a user does, whose stamp decides on the validation": {
			ours, "synth --quiet --output out; CDK_VALIDATION=unset\n",
		},
		"for another application, without validation": {
			emptyGo, "synth --quiet --output out --app bin/bench-empty; CDK_VALIDATION=false\n",
		},
		"for another application, validated": {
			javascriptShipped, "synth --quiet --output out --app node checks/bench/javascript/app.js; CDK_VALIDATION=unset\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			called := filepath.Join(t.TempDir(), "called")
			fakeCLI(t, `echo "$*; CDK_VALIDATION=${CDK_VALIDATION-unset}" > `+called)
			t.Setenv("CDK_VALIDATION", "true") // of the shell that runs the benchmark: it must not count
			if _, err := test.subject.run("out", true); err != nil {
				t.Fatal(err)
			}
			got, err := os.ReadFile(called)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, string(got)); diff != "" {
				t.Errorf("call (-want +got)\n%s", diff)
			}
		})
	}
}

func TestRunFails(t *testing.T) {
	const validates = "echo 'Validating the templates with the rules' >&2"
	for name, test := range map[string]struct {
		cli  string
		warm bool
		want string // empty: it does not
	}{
		"when the CLI fails, with what it said":      {"echo no such stack >&2; exit 3", true, "`cdk synth --quiet --output out` failed: exit status 3\nno such stack\n"},
		"when a warm synth had to validate":          {validates, true, "the templates were validated again"},
		"not when the synth that warms up validates": {validates, false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			fakeCLI(t, test.cli)
			_, err := ours.run("out", test.warm)
			if test.want == "" {
				if err != nil {
					t.Error(err)
				}
			} else if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want an error with %q", err, test.want)
			}
		})
	}
}

func TestMeasureCountsTheWholeProcessTree(t *testing.T) {
	taken, said, err := measure(exec.Command("sh", "-c", `sh -c 'i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; echo done'; true`))
	if err != nil || string(said) != "done\n" {
		t.Fatalf("said %q, %v", said, err)
	}
	// The outer shell alone takes a millisecond.
	if taken.CPU < 10*time.Millisecond || taken.CPU > 10*time.Second {
		t.Errorf("CPU %v, want the loop's", taken.CPU)
	}
	if taken.Memory < 100<<10 || taken.Memory > 100<<20 {
		t.Errorf("memory of %d bytes, want a shell's", taken.Memory)
	}
}

func TestReport(t *testing.T) {
	took := func(seconds ...float64) (samples []sample) {
		for _, s := range seconds {
			wall := time.Duration(s * float64(time.Second))
			samples = append(samples, sample{Wall: wall, CPU: wall + time.Second, Memory: 250 << 20})
		}
		return samples
	}
	var got strings.Builder
	report(&got, results{
		ours:              took(2, 4, 3),
		emptyGo:           took(1, 2, 3), // the pairs count: 2, 2, 1
		javascriptShipped: took(4, 8, 6),
		javascriptOff:     took(2, 2, 2),
		emptyJavascript:   took(1, 1, 1),
		oneEnvironment:    took(2, 3, 2),
		environments:      took(2.8, 3.4, 2.4),
	})
	want := `CDK SYNTH --QUIET                                WALL s            CPU s             MEMORY MiB
this application, validated before               2.00  3.00  4.00  3.00  4.00  5.00  250  250  250
empty application in Go, validation off          1.00  2.00  3.00  2.00  3.00  4.00  250  250  250
the same in JavaScript, as shipped               4.00  6.00  8.00  5.00  7.00  9.00  250  250  250
the same in JavaScript, validation off           2.00  2.00  2.00  3.00  3.00  3.00  250  250  250
empty application in JavaScript, validation off  1.00  1.00  1.00  2.00  2.00  2.00  250  250  250
1 environment, validation off                    2.00  2.00  3.00  3.00  3.00  4.00  250  250  250
5 environments, validation off                   2.40  2.80  3.40  3.40  3.80  4.40  250  250  250

WALL TIME                                     MEASURED          BOUND
times the empty application in Go             1.00  2.00  2.00    1.5  missed
  if a call cost what it costs in JavaScript  1.33  1.50  2.00
times JavaScript, as shipped                  0.50  0.50  0.50   0.65  kept
times JavaScript, validation off              1.00  1.50  2.00    1.5  kept
seconds for each further environment          0.10  0.10  0.20    0.2  kept
`
	if diff := cmp.Diff(want, got.String()); diff != "" {
		t.Errorf("report (-want +got)\n%s", diff)
	}
}

func TestMedian(t *testing.T) {
	for _, test := range []struct {
		values []float64
		want   float64
	}{
		{[]float64{7}, 7},
		{[]float64{3, 1, 2}, 2},
		{[]float64{4, 1, 3, 2}, 2.5},
	} {
		if got := median(test.values); got != test.want {
			t.Errorf("median of %v is %v, want %v", test.values, got, test.want)
		}
	}
}

func TestCountResources(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{
		"A.template.json": `{"Resources": {"One": {"Type": "T"}}}`,
		"B.template.json": `{"Resources": {"One": {"Type": "T"}, "Two": {"Type": "T"}}}`,
		"C.template.json": `{}`,
		"manifest.json":   `{"Resources": {"Other": {}}}`,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := countResources(dir)
	if want := "3 resources in 3 stacks [2 1 0]"; err != nil || got != want {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
}
