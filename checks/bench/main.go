// Command bench measures how long a warm `cdk synth` of the environment dev takes, paired with what it can be compared
// with: every round runs every subject once, so that whatever slows the machine for a while slows all of them. Run it in
// the folder of cdk.json through `make bench`, which builds the subjects.
//
// It fails when a subject fails, not when a bound is missed: a time depends on the machine.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// subject is one way to run `cdk synth --quiet` with the CDK CLI, Node.js and feature flags of this project.
type subject struct {
	Name     string
	App      string // default: the command in cdk.json, as a user runs it
	Validate bool   // default: CDK_VALIDATION=false
}

// The subjects of a round, in this order.
var (
	ours              = subject{Name: "this application, validated before", Validate: true}
	emptyGo           = subject{Name: "empty application in Go, validation off", App: "bin/bench-empty"}
	javascriptShipped = subject{Name: "the same in JavaScript, as shipped", App: javascript, Validate: true}
	javascriptOff     = subject{Name: "the same in JavaScript, validation off", App: javascript}
	emptyJavascript   = subject{Name: "empty application in JavaScript, validation off", App: "node checks/bench/javascript/empty.js"}
	oneEnvironment    = subject{Name: "1 environment, validation off", App: "bin/bench-environments 1"}
	environments      = subject{Name: "5 environments, validation off", App: "bin/bench-environments 5"}

	subjects = []subject{ours, emptyGo, javascriptShipped, javascriptOff, emptyJavascript, oneEnvironment, environments}
)

const javascript = "node checks/bench/javascript/app.js"

// saidLimit is how much of a failed subject's output an error shows, in bytes: Node.js prints whole minified files.
const saidLimit = 2000

// sample is what one run took.
type sample struct {
	Wall   time.Duration
	CPU    time.Duration // user and system, of the whole process tree
	Memory int64         // in bytes, of the largest process
}

// results holds the samples of each subject, one a round.
type results map[subject][]sample

func main() {
	rounds := flag.Int("rounds", 5, "how often each subject is measured")
	flag.Parse()
	if err := bench(os.Stdout, *rounds); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func bench(w io.Writer, rounds int) error {
	if rounds < 1 {
		return fmt.Errorf("-rounds is %d; use 1 or more", rounds)
	}
	if _, err := os.Stat("cdk.json"); err != nil {
		return fmt.Errorf("this is not the folder of cdk.json: %w; run `make bench`", err)
	}
	// Each subject keeps its assembly from round to round, as a user does.
	outputs, err := os.MkdirTemp("", "bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(outputs)
	output := func(i int) string { return filepath.Join(outputs, fmt.Sprint(i)) }

	measured := results{}
	for round := range rounds + 1 {
		for i, s := range subjects {
			taken, err := s.run(output(i), round > 0)
			if err != nil {
				return fmt.Errorf("%s: %w", s.Name, err)
			}
			if round > 0 { // the first warms the caches
				measured[s] = append(measured[s], taken)
			}
		}
	}
	for _, i := range []int{0, 2} {
		counts, err := countResources(output(i))
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "%-36s  %s\n", subjects[i].Name, counts)
	}
	fmt.Fprintf(w, "\n%d rounds on %d CPUs; min, median and max\n\n", rounds, runtime.NumCPU())
	report(w, measured)
	return nil
}

// run synthesizes into the directory output. A warm run that had to validate is an error: an input changed meanwhile, or
// the templates do not pass.
func (s subject) run(output string, warm bool) (sample, error) {
	args := []string{"synth", "--quiet", "--output", output}
	if s.App != "" {
		args = append(args, "--app", s.App)
	}
	cmd := exec.Command("cdk", args...)
	cmd.Env = environ(s.Validate)
	taken, said, err := measure(cmd)
	if err != nil {
		return sample{}, fmt.Errorf("`%s` failed: %w\n%s", strings.Join(cmd.Args, " "), err, said[max(0, len(said)-saidLimit):])
	}
	if warm && s == ours && bytes.Contains(said, []byte("Validating the templates")) {
		return sample{}, errors.New("the templates were validated again: mend what `cdk synth` reports, or try again if a file was being edited")
	}
	return taken, nil
}

// environ is this process's environment with the pinned CLI and Node.js first, and without a choice of its own.
func environ(validate bool) []string {
	var env []string
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, "CDK_VALIDATION=") {
			env = append(env, variable)
		}
	}
	if !validate {
		env = append(env, "CDK_VALIDATION=false")
	}
	return env
}

// measure runs cmd and returns what it took and what it printed.
func measure(cmd *exec.Cmd) (sample, []byte, error) {
	start := time.Now()
	said, err := cmd.CombinedOutput()
	taken := sample{Wall: time.Since(start)}
	if state := cmd.ProcessState; state != nil {
		taken.CPU = state.UserTime() + state.SystemTime() // with the descendants that were waited for
		taken.Memory = int64(state.SysUsage().(*syscall.Rusage).Maxrss)
		if runtime.GOOS != "darwin" {
			taken.Memory *= 1024
		}
	}
	return taken, said, err
}
