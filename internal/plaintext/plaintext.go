// Package plaintext makes short, plain text for messages: of programs, of functions and for notifications.
package plaintext

import (
	"fmt"
	"strings"
	"unicode"
)

// OneLine makes text from anywhere fit for a message: one line, no control characters, valid UTF-8.
func OneLine(text string) string {
	text = strings.Join(strings.Fields(strings.ToValidUTF8(text, "\uFFFD")), " ")
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) {
			return -1
		}
		return r
	}, text)
}

// Cut shortens text to at most limit characters. The last of them is then "…".
func Cut(text string, limit int) string {
	runes := []rune(text)
	if len(runes) <= limit {
		return text
	}
	return string(runes[:limit-1]) + "…"
}

// Count writes a number with its noun, as in "1 task" or "2 tasks".
func Count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
