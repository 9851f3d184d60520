// Package synthesis makes the cloud assemblies that are compared: of this project, and of its git revisions. It runs in the root of the
// project.
package synthesis

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"flask-on-fargate/config"
	"flask-on-fargate/internal/assembly"
	"flask-on-fargate/internal/folders"
)

// Base is what a change is compared with: a folder with assemblies, or a commit that has yet to be synthesized.
type Base struct{ name, dir, commit string }

// FindBase looks up a folder, or else a git revision. That is quick.
func FindBase(ctx context.Context, base string) (Base, error) {
	if info, err := os.Stat(base); err == nil && info.IsDir() {
		_, err := assembly.ReadAll(base)
		return Base{name: base, dir: base}, err
	}
	commit, err := git(ctx, "rev-parse", "--verify", "--quiet", "--end-of-options", base+"^{commit}")
	if err != nil {
		return Base{}, fmt.Errorf("%q is neither a folder nor a git revision of this repository: name an assembly, as in cdk.out, or a revision, as in origin/main", base)
	}
	return Base{name: base, commit: commit}, nil
}

// Has returns an error if the base has no such environment, as far as is known without a synth.
func (b Base) Has(ctx context.Context, env string) error {
	if b.commit == "" {
		_, err := assembly.ReadEnvironment(b.dir, env)
		return err
	}
	if _, err := git(ctx, "cat-file", "-e", fmt.Sprintf("%s:%s/%s.yaml", b.commit, folders.Config, env)); err != nil {
		return fmt.Errorf("the revision %s has no environment %s, so that there is nothing to compare with: name a later one, or remove --base to compare with the deployed stacks", b.name, env)
	}
	return nil
}

// Assemblies returns a folder with assemblies of the environments, or of all environments of the base if envs is nil. Environments
// that the base does not have are missing. The caller must call remove afterwards.
func (b Base) Assemblies(ctx context.Context, envs []string, progress io.Writer) (dir string, remove func(), err error) {
	if b.commit == "" {
		return b.dir, func() {}, nil
	}
	scratch, err := os.MkdirTemp("", "infra-base-")
	if err != nil {
		return "", nil, err
	}
	tree := filepath.Join(scratch, "tree")
	remove = func() {
		// This must also work after an interruption, so it has a context of its own.
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

// synthesize puts the assembly of each environment that the commit's tree has into a folder of its own below to. The project there may
// be an old one, so only its `make synth` is used.
func (b Base) synthesize(ctx context.Context, tree, to string, envs []string, progress io.Writer) error {
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	there, err := config.Names(filepath.Join(tree, folders.Config))
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
		cmd.Env = append(withoutMake(os.Environ()), "CDK_VALIDATION=false") // nothing is deployed from this assembly
		if err := runQuietly(cmd); err != nil {
			return fmt.Errorf("make synth ENV=%s: %w", env, err)
		}
		if err := os.Rename(filepath.Join(tree, assembly.Default), filepath.Join(to, env)); err != nil {
			return fmt.Errorf("make synth ENV=%s has left no assembly: %w", env, err)
		}
	}
	return nil
}

// Here writes the assembly of an environment of this project to dir. An assembly that nobody deploys need not be validated.
func Here(ctx context.Context, env, dir string, validate bool, progress io.Writer) error {
	tools, err := filepath.Abs(folders.NodeTools)
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

// EveryHere puts the assembly of each environment of this project into a folder of its own below to.
func EveryHere(ctx context.Context, to string, progress io.Writer) error {
	envs, err := config.Names(folders.Config)
	if err != nil {
		return err
	}
	for _, env := range envs {
		if _, err := config.Load(folders.Config, env); err != nil {
			return err
		}
	}
	for _, env := range envs {
		if err := Here(ctx, env, filepath.Join(to, env), false, progress); err != nil {
			return err
		}
	}
	return nil
}

// runQuietly runs a command whose output is of interest only if it fails.
func runQuietly(cmd *exec.Cmd) error {
	// The terminal sends an interruption to every process; this one only has to clean up afterwards.
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	out, err := cmd.CombinedOutput()
	if text := strings.TrimSpace(string(out)); err != nil && text != "" {
		return fmt.Errorf("%w\n%s", err, text)
	}
	return err
}

// withoutMake removes the variables that a make which has started this process would hand on to the make that it starts.
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
