package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"flask-on-fargate/config"
)

// readAssemblies reads the assembly in dir, or, if dir has none itself, those in its folders.
func readAssemblies(dir string) ([]stack, error) {
	if _, err := os.Stat(filepath.Join(dir, manifestFile)); !errors.Is(err, fs.ErrNotExist) {
		return readAssembly(dir)
	}
	inner, err := filepath.Glob(filepath.Join(dir, "*", manifestFile))
	if err != nil || len(inner) == 0 {
		return readAssembly(dir) // says what is missing
	}
	var all []stack
	for _, file := range inner {
		stacks, err := readAssembly(filepath.Dir(file))
		if err != nil {
			return nil, err
		}
		all = append(all, stacks...)
	}
	return all, nil
}

// assembliesOf returns a folder with assemblies of the environments: base itself if it is one, or else what the git revision
// base synthesizes. Environments that the revision does not have are missing. Remove is to be called afterwards.
func assembliesOf(ctx context.Context, base string, envs []string, progress io.Writer) (dir string, remove func(), err error) {
	if info, err := os.Stat(base); err == nil && info.IsDir() {
		return base, func() {}, nil
	}
	commit, err := git(ctx, "rev-parse", "--verify", "--quiet", "--end-of-options", base+"^{commit}")
	if err != nil {
		return "", nil, fmt.Errorf("%q is neither a folder nor a git revision of this repository: name an assembly, as in cdk.out, or a revision, as in origin/main", base)
	}
	scratch, err := os.MkdirTemp("", "infra-base-")
	if err != nil {
		return "", nil, err
	}
	tree := filepath.Join(scratch, "tree")
	remove = func() {
		// Also after an interruption, so with a context of its own.
		_, _ = git(context.WithoutCancel(ctx), "worktree", "remove", "--force", tree)
		_ = os.RemoveAll(scratch)
	}
	// The terminal sends an interruption to make as well; this process only has to clean up afterwards.
	ctx, stopWatching := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stopWatching()
	dir = filepath.Join(scratch, "assemblies")
	fmt.Fprintf(progress, "Checking out %s (%.12s)\n", base, commit)
	if _, err = git(ctx, "worktree", "add", "--quiet", "--detach", tree, commit); err == nil {
		err = synthesizeAll(ctx, tree, dir, envs, progress)
	}
	if err != nil {
		remove()
		return "", nil, fmt.Errorf("synthesize the revision %s: %w", base, err)
	}
	return dir, remove, nil
}

// synthesizeAll puts the assembly of each of the environments that the project in root has into a folder of its own below to.
// It uses nothing of the project but `make synth`, since the project may be an old one.
func synthesizeAll(ctx context.Context, root, to string, envs []string, progress io.Writer) error {
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	there, err := config.Names(filepath.Join(root, configDir))
	if err != nil {
		return err
	}
	for _, env := range envs {
		if !slices.Contains(there, env) {
			fmt.Fprintf(progress, "It has no environment %s.\n", env)
			continue
		}
		fmt.Fprintf(progress, "Synthesizing %s\n", env)
		cmd := exec.CommandContext(ctx, "make", "--no-print-directory", "synth", "ENV="+env)
		cmd.Dir = root
		cmd.Env = append(withoutMake(os.Environ()), "CDK_VALIDATION=false") // what is compared is not deployed from here
		cmd.Stderr = progress
		cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
		var out strings.Builder
		cmd.Stdout = &out // the summary
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("make synth ENV=%s: %w\n%s", env, err, strings.TrimSpace(out.String()))
		}
		if err := os.Rename(filepath.Join(root, defaultAssembly), filepath.Join(to, env)); err != nil {
			return fmt.Errorf("make synth ENV=%s has left no assembly: %w", env, err)
		}
	}
	return nil
}

// withoutMake removes what a make that has started this process would tell the one that it starts.
func withoutMake(environ []string) []string {
	return slices.DeleteFunc(environ, func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return slices.Contains([]string{"MAKEFLAGS", "MFLAGS", "MAKEOVERRIDES", "MAKELEVEL", "ENV", "BASE"}, name)
	})
}

func git(ctx context.Context, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, "git", args...).Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		err = fmt.Errorf("git %s: %w: %s", args[0], err, strings.TrimSpace(string(exit.Stderr)))
	}
	return strings.TrimSpace(string(out)), err
}
