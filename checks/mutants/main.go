// Command mutants breaks the project in the ways that mutants.yaml lists, one after the other, and shows whether the tests notice:
// a mutant that survives is a missing test. Run it in the project's folder through `make mutants`, which builds what the tests need.
//
// It works in copies of the project in .local/. It exits with 0 when every mutant was killed, with 1 when one survived or
// the list does not fit the project, and with 2 when it was called wrongly.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Both are seen from the project's folder. What git ignores in workDir is not copied either.
const (
	listFile = "checks/mutants/mutants.yaml"
	workDir  = ".local"
)

func main() {
	only := flag.String("only", "", "try only the mutants whose line, <part>: <name>, matches this regular `expression`")
	jobs := flag.Int("jobs", runtime.GOMAXPROCS(0), "try so many mutants at the same time, each in a copy of its own")
	flag.Parse()
	pattern, err := regexp.Compile(*only)
	if err != nil || *jobs < 1 || flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "mutants: got %q, want -only <regular expression>, -jobs <number>, or nothing (%v)\n", os.Args[1:], err)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := prove(ctx, os.Stdout, pattern, *jobs); err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		os.Exit(1)
	}
}

func prove(ctx context.Context, out io.Writer, only *regexp.Regexp, jobs int) error {
	root, err := os.Getwd()
	if err != nil {
		return err
	}
	l, err := readList(listFile)
	if err != nil {
		return err
	}
	if err := l.check(root); err != nil {
		return err
	}
	mutants := slices.DeleteFunc(l.mutants(), func(m mutant) bool { return !only.MatchString(m.String()) })
	if len(mutants) == 0 {
		return fmt.Errorf("no mutant matches %q: see %s for their names", only, listFile)
	}
	start := time.Now()
	if err := os.MkdirAll(workDir, 0o755); err != nil {
		return err
	}
	dir, err := os.MkdirTemp(filepath.Join(root, workDir), "mutants-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	var copies []string
	for i := range min(jobs, len(mutants)) {
		copies = append(copies, filepath.Join(dir, strconv.Itoa(i+1)))
		if err := copyProject(ctx, root, copies[i]); err != nil {
			return err
		}
	}
	verdicts, err := run(ctx, out, copies, l.Commands, mutants)
	if err != nil {
		return err
	}
	return report(out, verdicts, time.Since(start))
}

// report prints how many mutants of each part were killed, and which were not. That any was not is an error.
func report(out io.Writer, verdicts []verdict, took time.Duration) error {
	var parts []string
	var alive []verdict
	all, killed := map[string]int{}, map[string]int{}
	for _, v := range verdicts {
		if all[v.Part] == 0 {
			parts = append(parts, v.Part)
		}
		all[v.Part]++
		if v.word() == "killed" {
			killed[v.Part]++
		} else {
			alive = append(alive, v)
		}
	}
	fmt.Fprintf(out, "\n%-24s %7s %4s\n", "PART", "KILLED", "OF")
	for _, part := range parts {
		fmt.Fprintf(out, "%-24s %7d %4d\n", part, killed[part], all[part])
	}
	fmt.Fprintf(out, "\nmutants: %d of %d killed, in %.0f min\n", len(verdicts)-len(alive), len(verdicts), took.Minutes())
	for _, v := range alive {
		line, _, _ := strings.Cut(v.line(), "\n") // an invalid one's output was printed before
		fmt.Fprintf(out, "%-8s  %s\n", v.word(), line)
	}
	if len(alive) > 0 {
		return errors.New("not every mutant was killed: one that survived is a missing test, write it; one that is invalid is to be corrected in " + listFile)
	}
	return nil
}
