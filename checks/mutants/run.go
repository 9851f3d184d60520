package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// commandTime is how long a command may take. The tests' own time-outs are shorter.
const commandTime = 15 * time.Minute

// saidLimit is how much of a command's output an error shows, in bytes, from its end.
const saidLimit = 3000

// verdict is what became of a mutant.
type verdict struct {
	mutant
	killer  string // the test that failed
	invalid error  // the mutant, or its command, is of no use
}

// run tries the mutants in copies of the project, in each one after the other. It is an error if a command fails without any
// mutant. The verdicts are in the order of the mutants.
func run(ctx context.Context, out io.Writer, copies []string, commands map[string]string, mutants []mutant) ([]verdict, error) {
	var wanted []string
	for _, m := range mutants {
		if !slices.Contains(wanted, m.Command) {
			wanted = append(wanted, m.Command)
		}
	}
	fmt.Fprintln(out, "Without a mutant:")
	for _, name := range wanted {
		start := time.Now()
		if output, err := shell(ctx, copies[0], commands[name]); err != nil {
			return nil, fmt.Errorf("the command %s fails without any mutant: %s: %w\n%s", name, commands[name], err, end(output))
		}
		fmt.Fprintf(out, "passed    %6.1f s  %s: %s\n", time.Since(start).Seconds(), name, commands[name])
	}

	fmt.Fprintln(out, "\nWith each mutant:")
	verdicts := make([]verdict, len(mutants))
	waiting := make(chan int, len(mutants))
	for i := range mutants {
		waiting <- i
	}
	close(waiting)
	var workers sync.WaitGroup
	var printing sync.Mutex
	tried := 0
	for _, dir := range copies {
		workers.Go(func() {
			for i := range waiting {
				start := time.Now()
				v := try(ctx, dir, mutants[i], commands[mutants[i].Command])
				if ctx.Err() != nil {
					return // what failed now failed by the interrupt
				}
				verdicts[i] = v
				printing.Lock()
				tried++
				fmt.Fprintf(out, "%-8s  %6.1f s  %3d/%d  %s\n", v.word(), time.Since(start).Seconds(), tried, len(mutants), v.line())
				printing.Unlock()
			}
		})
	}
	workers.Wait()
	return verdicts, ctx.Err()
}

func (v verdict) word() string {
	switch {
	case v.invalid != nil:
		return "INVALID"
	case v.killer != "":
		return "killed"
	}
	return "SURVIVED"
}

func (v verdict) line() string {
	switch {
	case v.invalid != nil:
		return fmt.Sprintf("%s: %v", v.mutant, v.invalid)
	case v.killer != "":
		return fmt.Sprintf("%s  (%s)", v.mutant, v.killer)
	}
	return v.mutant.String()
}

// try applies one mutant, runs its command, and restores the file.
func try(ctx context.Context, dir string, m mutant, command string) (v verdict) {
	v.mutant = m
	file := filepath.Join(dir, m.File)
	before, after, err := m.apply(dir)
	if err != nil {
		v.invalid = err
		return v
	}
	// A file that is written anew is newer than what was built from it: make builds it again, with the mutant and after it.
	defer func() { v.invalid = errors.Join(v.invalid, os.WriteFile(file, []byte(before), 0o644)) }()
	if v.invalid = os.WriteFile(file, []byte(after), 0o644); v.invalid != nil {
		return v
	}
	if err := m.checkSyntax(dir, after); err != nil {
		v.invalid = fmt.Errorf("the mutant is no valid program: correct `put`: %w", err)
		return v
	}
	output, err := shell(ctx, dir, command)
	if err != nil {
		v.killer, v.invalid = killer(output, err)
	}
	return v
}

var (
	failedTest = regexp.MustCompile(`(?m)^\s*--- FAIL: (\S+)`)
	notRun     = regexp.MustCompile(`(?m)^FAIL\t.*\[(build|setup) failed\]$`)
	timedOut   = regexp.MustCompile(`(?m)^panic: test timed out`)
)

// killer names the test that failed. Whatever else made the command fail has not found the fault.
func killer(output string, failure error) (string, error) {
	tests := failedTest.FindAllStringSubmatch(output, -1)
	switch {
	case notRun.MatchString(output):
		return "", fmt.Errorf("the tests do not compile with the mutant: correct `put`\n%s", end(output))
	case timedOut.MatchString(output):
		return "a test that did not end", nil
	case len(tests) == 0:
		return "", fmt.Errorf("the command failed, but no test did: %w\n%s", failure, end(output))
	}
	name := tests[0][1]
	for _, test := range tests[1:] {
		if strings.HasPrefix(test[1], name+"/") {
			name = test[1]
		}
	}
	return name, nil
}

// shell runs a command of the list in dir, with all that it starts, and returns what it said.
func shell(ctx context.Context, dir, command string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, commandTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-c", command)
	cmd.Dir, cmd.Env = dir, environment()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	output, err := cmd.CombinedOutput()
	return string(output), err
}

// environment is ours without what the make that started us says to its own children.
func environment() []string {
	return slices.DeleteFunc(os.Environ(), func(variable string) bool {
		name, _, _ := strings.Cut(variable, "=")
		return name == "MAKEFLAGS" || name == "MFLAGS" || name == "MAKELEVEL"
	})
}

func end(output string) string { return output[max(0, len(output)-saidLimit):] }
