package terminal_test

import (
	"testing"

	"flask-on-fargate/internal/terminal"
)

func TestWrap(t *testing.T) {
	const text = "one two  three https://example.com/a/long/link\nfour"
	const want = "one two\n three\n https://example.com/a/long/link\n four"
	if got := terminal.Wrap(text, 8, " "); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
