// Package terminal lays out text for a person in front of a terminal.
package terminal

import (
	"strings"

	"github.com/fatih/color"
	"github.com/jedib0t/go-pretty/v6/text"
)

// Width is the most columns that a line takes. Only a longer word goes beyond it.
const Width = 80

// Bold and Yellow mark headings. Both leave the text plain when standard output is no terminal, when TERM is "dumb", and when
// NO_COLOR is set.
var (
	Bold   = color.New(color.Bold).SprintFunc()
	Yellow = color.New(color.Bold, color.FgYellow).SprintFunc()
)

// Wrap breaks the text between words into lines of at most width columns. The second and later lines start with indent. A word
// that is longer than a line, such as a link, stays whole, so that it can be copied.
func Wrap(s string, width int, indent string) string {
	var b strings.Builder
	column := 0
	for word := range strings.FieldsSeq(s) {
		size := text.StringWidth(word)
		switch {
		case column == 0:
		case column+1+size > width:
			b.WriteString("\n" + indent)
			column = len(indent)
		default:
			b.WriteByte(' ')
			column++
		}
		b.WriteString(word)
		column += size
	}
	return b.String()
}
