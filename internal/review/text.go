package review

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"flask-on-fargate/internal/terminal"
)

// Formats are the ways to write a report, by name.
var Formats = map[string]func(io.Writer, Report){"text": printText, "markdown": printMarkdown}

// changed returns the environments that have something to report, and summary names the others.
func (r Report) changed() (changed []environment, summary string) {
	var unchanged []string
	for _, e := range r.environments {
		if len(e.sections) == 0 {
			unchanged = append(unchanged, e.name)
		} else {
			changed = append(changed, e)
		}
	}
	switch names := strings.Join(unchanged, ", "); {
	case len(changed) == 0:
		return nil, fmt.Sprintf("Nothing changed since %s in %s.", r.base, names)
	case len(unchanged) > 0:
		return changed, fmt.Sprintf("Compared with %s. Nothing changed in %s.", r.base, names)
	}
	return changed, fmt.Sprintf("Compared with %s.", r.base)
}

func printText(w io.Writer, r Report) {
	plain := func(text string) string { return strings.ReplaceAll(text, "`", "") }
	changed, summary := r.changed()
	fmt.Fprintln(w, summary)
	for _, e := range changed {
		fmt.Fprintf(w, "\n%s\n", terminal.Bold("Environment "+e.name))
		for _, s := range e.sections {
			fmt.Fprintf(w, "\n  %s\n", terminal.Bold(plain(s.title)))
			for _, i := range s.items {
				fmt.Fprintf(w, "    %s\n", terminal.Wrap(plain(i.text), terminal.Width-4, "      "))
				for _, d := range i.details {
					fmt.Fprintf(w, "        %s\n", terminal.Wrap(plain(d), terminal.Width-8, "          "))
				}
			}
		}
	}
}

func printMarkdown(w io.Writer, r Report) {
	changed, summary := r.changed()
	fmt.Fprintf(w, "## What this change does\n\n%s\n", summary)
	for _, e := range changed {
		fmt.Fprintf(w, "\n### Environment `%s`\n", e.name)
		for _, s := range e.sections {
			fmt.Fprintf(w, "\n**%s**\n\n", s.title)
			for _, i := range s.items {
				if len(i.folded) > 0 {
					fmt.Fprintf(w, "- <details><summary>%s</summary>%s</details>\n", i.text, strings.Join(i.folded, ", "))
					continue
				}
				fmt.Fprintf(w, "- %s\n", i.text)
				for _, d := range i.details {
					fmt.Fprintf(w, "  - %s\n", d)
				}
			}
		}
	}
}

// code makes a text harmless among Markdown's marks for code, and in a list: one line.
func code(text string) string { return strings.NewReplacer("`", "'", "\n", `\n`).Replace(text) }

// sortedItems returns items of texts, sorted.
func sortedItems(texts []string) []item {
	slices.Sort(texts)
	var items []item
	for _, text := range texts {
		items = append(items, item{text: text})
	}
	return items
}
