package main

import (
	"bytes"
	"encoding/json"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	// maxReason bounds the text of a failure, in bytes of JSON. CloudFormation takes a response of 4096 bytes in all,
	// which also holds the framework's log link, its stack frames and four ids; beyond, the user only reads "Response
	// object is too long".
	// https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/crpg-ref-responses.html
	maxReason = 2000

	// maxDetail bounds each text that ECS contributes (1,024 characters of its own), so that the log tail has room.
	maxDetail = 500

	// tailLines is how much of the log a failure shows, maxReason permitting.
	tailLines = 20
)

// safe makes text from anywhere fit for a failure or a log line: no control characters, no secrets, valid UTF-8.
func safe(text string) string {
	return redact(clean(text))
}

// withTail puts the newest lines of the log after head and cuts the oldest away until both fit in maxReason.
// Head comes through whole unless it alone is too long.
func withTail(head string, log []string) string {
	head = truncate(safe(head), maxReason)
	lines := tail(log)
	room := maxReason - jsonLen(head)
	text := ""
	for i := len(lines) - 1; i >= 0; i-- {
		longer := "\n" + lines[i] + text
		if jsonLen(longer) > room {
			if text == "" {
				text = truncate(longer, room)
			}
			break
		}
		text = longer
	}
	return head + text
}

// tail returns the last lines of the log that are not blank. It redacts before it splits: a statement, and so a
// password's context, may span lines.
func tail(log []string) []string {
	var lines []string
	for line := range strings.Lines(safe(strings.Join(log, "\n"))) {
		if line = strings.TrimRightFunc(line, unicode.IsSpace); line != "" {
			lines = append(lines, line)
		}
	}
	return lines[max(0, len(lines)-tailLines):]
}

// truncate cuts text at a rune so that it takes at most limit bytes of JSON, and marks the cut.
func truncate(text string, limit int) string {
	if jsonLen(text) <= limit {
		return text
	}
	const mark = "…"
	limit -= len(mark)
	if limit < 0 {
		return ""
	}
	// Escaping never shortens.
	text = strings.ToValidUTF8(text[:min(len(text), limit)], "")
	for jsonLen(text) > limit {
		_, size := utf8.DecodeLastRuneInString(text)
		text = text[:len(text)-size]
	}
	return text + mark
}

// jsonLen is the size of text inside a JSON string as JSON.stringify, which the framework uses, writes it: it does not
// escape HTML. Where the two differ, for U+2028 and U+2029, Go's is the longer.
func jsonLen(text string) int {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(text) // a string always encodes, a buffer always takes it
	return b.Len() - len("\"\"\n")
}

var (
	escapeSequence = regexp.MustCompile(`\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\^_])`)
	lineEnding     = regexp.MustCompile(`\r\n?`)
)

// clean removes terminal sequences and control characters but line feeds, and what reorders text on a screen.
func clean(text string) string {
	text = strings.ToValidUTF8(text, "\uFFFD")
	text = escapeSequence.ReplaceAllString(text, "")
	text = lineEnding.ReplaceAllString(text, "\n")
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n':
			return r
		case r == '\t':
			return ' '
		case unicode.IsControl(r), unicode.Is(unicode.Cf, r):
			return -1
		default:
			return r
		}
	}, text)
}

const (
	masked = "'***'"

	// literal is a string literal of MySQL, to the end of the line if it is not closed.
	literal = `(?:'(?:[^'\\\n]|\\.|'')*'|"(?:[^"\\\n]|\\.|"")*"|['"][^\n]*)`

	// value is a literal or, in a statement or setting that lacks its quotes, a word.
	value = `(?:` + literal + `|[^\s,;)]+)`
)

// secretShapes are the places in which SQL, a MySQL error, a setting or a URL shows a password. What the groups hold stays.
var secretShapes = []*regexp.Regexp{
	regexp.MustCompile(`(?i)(\bidentified\s+(?:with\s+\S+\s+)?(?:by|as)\s+(?:password\s+)?)` + value),
	regexp.MustCompile(`(?i)(\breplace\s+)` + literal),
	regexp.MustCompile(`(?i)(\w*password\s*\(\s*)` + value),
	regexp.MustCompile(`(?i)(\bset\s+password\s+for\s+[^=\n]{1,200}=\s*)` + value),
	regexp.MustCompile(`(?i)([\w-]*(?:password|passwd|pwd)['"` + "`" + `]?\s*:?=\s*)` + value),
	regexp.MustCompile(`(?i)([\w-]*(?:password|passwd|pwd)['"` + "`" + `]?\s*:\s*)` + literal),
	regexp.MustCompile(`(://[^\s/:@]*:)[^\s/@]+(@)`),
}

var (
	nearText   = regexp.MustCompile(`near '[\s\S]*?' at line \d`)
	anyLiteral = regexp.MustCompile(`'[^']*'?`)
)

// redact masks passwords. A syntax error quotes the statement from the offending token on, so a password can come
// without its context: of such a quotation every literal goes. What has neither quotes nor context is not recognised.
func redact(text string) string {
	for _, shape := range secretShapes {
		text = shape.ReplaceAllString(text, "${1}"+masked+"${2}")
	}
	return nearText.ReplaceAllStringFunc(text, func(near string) string {
		const open = "near '"
		end := strings.LastIndex(near, "' at line ")
		return open + anyLiteral.ReplaceAllString(near[len(open):end], masked) + near[end:]
	})
}
