package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"flask-on-fargate/internal/golden"
)

// templateDiffProcess is the program, started once for the tests of this process: it is the start that takes the time. It ends
// with its standard input, at the end of this process.
var templateDiffProcess = sync.OnceValues(func() (func(question []byte) ([]byte, error), error) {
	cmd, err := templateDiffCommand(context.Background(), filepath.Join(golden.Root, templateDiffDir))
	if err != nil {
		return nil, err
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	cmd.Dir, cmd.Stderr = golden.Root, os.Stderr // tests change the directory, and remove it
	answers := bufio.NewReader(out)
	ask := func(question []byte) ([]byte, error) {
		if _, err := in.Write(question); err != nil {
			return nil, err
		}
		return answers.ReadBytes('\n')
	}
	return ask, cmd.Start()
})

// compare is compareTemplates by the process of all tests.
func compare(_ context.Context, pairs []pair) ([]templateDiff, error) {
	ask, err := templateDiffProcess()
	if err != nil {
		return nil, err
	}
	question, err := templateQuestion(pairs)
	if err != nil {
		return nil, err
	}
	line, err := ask(question)
	if err != nil {
		return nil, fmt.Errorf("the process of %s: %w", templateDiffDir, err)
	}
	return templateAnswer(templateDiffDir, line, len(pairs))
}

func TestAnAnswerThatDoesNotFit(t *testing.T) {
	for name, test := range map[string]struct{ line, want string }{
		"no JSON":                {"oops", "compare templates by dir: its answer: invalid character 'o' looking for beginning of value; run `make clean templatediff`"},
		"an answer for one only": {"[{}]", "compare templates by dir: its answer: 1 results for 2 pairs; run `make clean templatediff`"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := templateAnswer("dir", []byte(test.line), 2); err == nil || err.Error() != test.want {
				t.Errorf("got %v, want %s", err, test.want)
			}
		})
	}
}
