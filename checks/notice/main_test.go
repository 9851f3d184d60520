package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const mit = "Permission is hereby granted, free of charge, to …\n\nThe above copyright notice and this permission notice …"

// with puts files into a module's folder and adds what goes with its package p/q.
func (c components) with(t *testing.T, name string, files map[string]string) components {
	t.Helper()
	root := t.TempDir()
	dir := filepath.Join(root, "p", "q")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for file, text := range files {
		if err := os.WriteFile(filepath.Join(root, file), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.add(name+"\tv1", root, dir); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestWrite(t *testing.T) {
	var got strings.Builder
	err := components{}.
		with(t, "second", map[string]string{"LICENSE.txt": "  " + mit + "\n"}).
		with(t, "first", map[string]string{"LICENSE": mit, "license.go": "package a", "LICENSE.docs": "docs", "p/NOTICE": "Thanks", "p/q/LICENSE-x": "Neither the name of"}).
		write(&got)
	if err != nil {
		t.Fatal(err)
	}
	line := "\n" + strings.Repeat("-", 80) + "\n"
	want := "first   v1  BSD-3-Clause, MIT\nsecond  v1  MIT\n" +
		line + "first\nsecond\n\n" + mit + "\n" + line + "first\n\nThanks\n" + line + "first\n\nNeither the name of\n"
	if !strings.HasSuffix(got.String(), want) {
		t.Errorf("got\n%s\nwant at the end\n%s", &got, want)
	}
}

func TestWrite_refuses_an_unknown_licence(t *testing.T) {
	err := components{}.with(t, "m", map[string]string{"LICENSE": "All rights reserved"}).with(t, "n", nil).write(new(strings.Builder))
	if err == nil || !strings.Contains(err.Error(), "m v1 has no licence") || !strings.Contains(err.Error(), "n v1 has no licence") {
		t.Errorf("got %v, want an error about m and n", err)
	}
}
