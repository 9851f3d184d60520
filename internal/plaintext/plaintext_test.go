package plaintext_test

import (
	"testing"

	"flask-on-fargate/internal/plaintext"
)

func TestOneLine(t *testing.T) {
	for text, want := range map[string]string{
		"":                         "",
		" two\r\n  lines\t":        "two lines",
		"a \x1b[31mred\x1b[0m one": "a [31mred[0m one",
		"turned \u202eround":       "turned round",
		"broken \xff byte":         "broken \uFFFD byte",
	} {
		if got := plaintext.OneLine(text); got != want {
			t.Errorf("OneLine(%q) = %q, want %q", text, got, want)
		}
	}
}

func TestCut(t *testing.T) {
	for text, want := range map[string]string{"": "", "äöüß": "äöüß", "äöüßé": "äöü…"} {
		if got := plaintext.Cut(text, 4); got != want {
			t.Errorf("Cut(%q, 4) = %q, want %q", text, got, want)
		}
	}
}

func TestCount(t *testing.T) {
	for n, want := range map[int]string{0: "0 tasks", 1: "1 task", 2: "2 tasks"} {
		if got := plaintext.Count(n, "task"); got != want {
			t.Errorf("Count(%d) = %q, want %q", n, got, want)
		}
	}
}
