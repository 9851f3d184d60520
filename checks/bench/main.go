// Command bench measures how long a warm `cdk synth` takes, and compares it with other applications (README.md).
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"
)

// subject is one way to run `cdk synth --quiet`.
type subject struct {
	name      string
	dir       string    // the folder of cdk.json and of node_modules, with the CDK CLI and Node.js
	app       string    // default: the command in cdk.json, as a user runs it
	wall, cpu []float64 // seconds, one value a round
}

func main() {
	rounds := flag.Int("rounds", 5, "how often each subject is measured")
	base := flag.String("base", "HEAD~1", "the git `revision` to compare with")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := bench(ctx, os.Stdout, max(1, *rounds), *base); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func bench(ctx context.Context, out io.Writer, rounds int, base string) (err error) {
	scratch, err := os.MkdirTemp("", "bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(scratch)) }()
	tree := filepath.Join(scratch, "tree")
	if err := run(command(ctx, ".", "git", "worktree", "add", "--quiet", "--detach", tree, base)); err != nil {
		return err
	}
	// Also after an interrupt, so with a context of its own.
	defer func() {
		err = errors.Join(err, run(command(context.WithoutCancel(ctx), ".", "git", "worktree", "remove", "--force", tree)))
	}()
	fmt.Fprintf(os.Stderr, "Building %s in a worktree of its own\n", base)
	if err := run(command(ctx, tree, "make", "--silent", "app")); err != nil {
		return err
	}

	subjects := []*subject{{name: "this working tree", dir: "."}, {name: base, dir: tree}, {name: "an empty application", dir: ".", app: "bin/bench-empty"}}
	for round := range rounds + 1 { // the first warms the caches
		for i, s := range subjects {
			if err := s.synth(ctx, filepath.Join(scratch, fmt.Sprint(i)), round > 0); err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
		}
	}
	return report(out, subjects)
}

// synth synthesizes into the folder output and, if the run counts, keeps how long that took.
func (s *subject) synth(ctx context.Context, output string, counts bool) error {
	tools, err := filepath.Abs(filepath.Join(s.dir, "node_modules", ".bin"))
	if err != nil {
		return err
	}
	cmd := command(ctx, s.dir, filepath.Join(tools, "cdk"), "synth", "--quiet", "--output", output)
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "CDK_VALIDATION=") })
	cmd.Env = append(cmd.Env, "PATH="+tools+string(filepath.ListSeparator)+os.Getenv("PATH"))
	if s.app != "" { // nothing remembers that its templates passed AWS's validation
		cmd.Args = append(cmd.Args, "--app", s.app)
		cmd.Env = append(cmd.Env, "CDK_VALIDATION=false")
	}
	start := time.Now()
	if err := run(cmd); err != nil || !counts {
		return err
	}
	s.wall = append(s.wall, time.Since(start).Seconds())
	s.cpu = append(s.cpu, (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds()) // of all its processes
	return nil
}

func command(ctx context.Context, dir, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	return cmd
}

// run shows what the command said only if it failed.
func run(cmd *exec.Cmd) error {
	said, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w\n%s", cmd, err, said)
	}
	return nil
}

// report prints what each subject took, and the first one's wall time divided by its own, round by round.
func report(out io.Writer, subjects []*subject) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "%d rounds\twall s\tmin\tmax\tCPU s\tmin\tmax\tratio\tmin\tmax\n", len(subjects[0].wall))
	for _, s := range subjects {
		var ratios []float64
		for round, wall := range s.wall {
			ratios = append(ratios, subjects[0].wall[round]/wall)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", s.name, spread(s.wall), spread(s.cpu), spread(ratios))
	}
	return w.Flush()
}

// spread is the median of the values, the least and the greatest.
func spread(values []float64) string {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return fmt.Sprintf("%.2f\t%.2f\t%.2f", (sorted[(n-1)/2]+sorted[n/2])/2, sorted[0], sorted[n-1])
}
