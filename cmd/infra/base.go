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
	"flask-on-fargate/internal/assembly"
)

// baseline is what is compared with: a folder with assemblies, or a commit that is to be synthesized.
type baseline struct{ name, dir, commit string }

// findBaseline looks base up, which is quick: a folder, or else a git revision.
func findBaseline(ctx context.Context, base string) (baseline, error) {
	if info, err := os.Stat(base); err == nil && info.IsDir() {
		_, err := assembly.ReadAll(base)
		return baseline{name: base, dir: base}, err
	}
	commit, err := git(ctx, "rev-parse", "--verify", "--quiet", "--end-of-options", base+"^{commit}")
	if err != nil {
		return baseline{}, fmt.Errorf("%q is neither a folder nor a git revision of this repository: name an assembly, as in cdk.out, or a revision, as in origin/main", base)
	}
	return baseline{name: base, commit: commit}, nil
}

// has says whether there is an environment to compare with, as far as that is told without a synth.
func (b baseline) has(ctx context.Context, env string) error {
	if b.commit == "" {
		_, err := assembly.ReadEnvironment(b.dir, env)
		return err
	}
	if _, err := git(ctx, "cat-file", "-e", fmt.Sprintf("%s:%s/%s.yaml", b.commit, configDir, env)); err != nil {
		return fmt.Errorf("the revision %s has no environment %s, so that there is nothing to compare with: name a later one, or remove --base to compare with the deployed stacks", b.name, env)
	}
	return nil
}

// assemblies returns a folder with assemblies of the environments, or of all that the baseline has if envs is nil. An
// environment that it does not have is missing. Remove is to be called afterwards.
func (b baseline) assemblies(ctx context.Context, envs []string, progress io.Writer) (dir string, remove func(), err error) {
	if b.commit == "" {
		return b.dir, func() {}, nil
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
	dir = filepath.Join(scratch, "assemblies")
	if _, err = git(ctx, "worktree", "add", "--quiet", "--detach", tree, b.commit); err == nil {
		err = b.synthesize(ctx, tree, dir, envs, progress)
	}
	if err != nil {
		remove()
		return "", nil, fmt.Errorf("synthesize the revision %s: %w", b.name, err)
	}
	return dir, remove, nil
}

// synthesize puts the assembly of each environment that the commit's tree has into a folder of its own below to.
// It uses nothing of the project there but `make synth`, since it may be an old one.
func (b baseline) synthesize(ctx context.Context, tree, to string, envs []string, progress io.Writer) error {
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	there, err := config.Names(filepath.Join(tree, configDir))
	if err != nil {
		return err
	}
	if envs == nil {
		envs = there
	}
	building := ", which builds it first: up to three minutes"
	for _, env := range envs {
		if !slices.Contains(there, env) {
			fmt.Fprintf(progress, "%s has no environment %s.\n", b.name, env)
			continue
		}
		fmt.Fprintf(progress, "Synthesizing %s of %s (%.12s)%s\n", env, b.name, b.commit, building)
		building = ""
		cmd := exec.CommandContext(ctx, "make", "--no-print-directory", "synth", "ENV="+env)
		cmd.Dir = tree
		cmd.Env = append(withoutMake(os.Environ()), "CDK_VALIDATION=false") // what is compared is not deployed from here
		if err := runQuietly(cmd); err != nil {
			return fmt.Errorf("make synth ENV=%s: %w", env, err)
		}
		if err := os.Rename(filepath.Join(tree, assembly.Default), filepath.Join(to, env)); err != nil {
			return fmt.Errorf("make synth ENV=%s has left no assembly: %w", env, err)
		}
	}
	return nil
}

// synthesizeHere writes the assembly of an environment of this project to dir. What is not deployed from there need not be
// validated.
func synthesizeHere(ctx context.Context, env, dir string, validate bool, progress io.Writer) error {
	tools, err := filepath.Abs(nodeTools)
	if err != nil {
		return err
	}
	fmt.Fprintf(progress, "Synthesizing %s\n", env)
	cmd := exec.CommandContext(ctx, filepath.Join(tools, "cdk"), "synth", "--quiet", "--context", "env="+env, "--output", dir)
	cmd.Env = append(withoutMake(os.Environ()), "PATH="+tools+string(filepath.ListSeparator)+os.Getenv("PATH"))
	if !validate {
		cmd.Env = append(cmd.Env, "CDK_VALIDATION=false")
	}
	err = runQuietly(cmd)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("the CDK CLI is not installed: %w; run `make app` in the root of the project", err)
	case err != nil:
		return fmt.Errorf("cdk synth of environment %s: %w", env, err)
	}
	return nil
}

// synthesizeEveryHere puts the assembly of each environment of this project into a folder of its own below to.
func synthesizeEveryHere(ctx context.Context, to string, progress io.Writer) error {
	envs, err := config.Names(configDir)
	if err != nil {
		return err
	}
	for _, env := range envs {
		if _, err := config.Load(configDir, env); err != nil {
			return err
		}
	}
	for _, env := range envs {
		if err := synthesizeHere(ctx, env, filepath.Join(to, env), false, progress); err != nil {
			return err
		}
	}
	return nil
}

// runQuietly runs a command whose output is of interest only if it fails.
func runQuietly(cmd *exec.Cmd) error {
	// The terminal sends an interruption to all of them; this process only has to clean up afterwards.
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	out, err := cmd.CombinedOutput()
	if text := strings.TrimSpace(string(out)); err != nil && text != "" {
		return fmt.Errorf("%w\n%s", err, text)
	}
	return err
}

// interruptible returns a context that ends with an interruption of this process, so that what it made can be removed.
func interruptible(ctx context.Context) (context.Context, context.CancelFunc) {
	return signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
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
