package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"flask-on-fargate/internal/terminal"
)

var renderers = map[string]func(io.Writer, report){"text": printReport, "markdown": printMarkdown}

// unchanged returns the names of the environments of which nothing is to be said.
func (r report) unchanged() []string {
	var names []string
	for _, e := range r.Environments {
		if len(e.Sections) == 0 {
			names = append(names, e.Name)
		}
	}
	return names
}

func (r report) summary() string {
	switch names := r.unchanged(); {
	case len(names) == len(r.Environments):
		return fmt.Sprintf("Nothing changed since %s in %s.", r.Base, strings.Join(names, ", "))
	case len(names) > 0:
		return fmt.Sprintf("Compared with %s. Nothing changed in %s.", r.Base, strings.Join(names, ", "))
	}
	return fmt.Sprintf("Compared with %s.", r.Base)
}

// changedOnly returns the environments of which something is to be said.
func (r report) changedOnly() []environmentReport {
	return slices.DeleteFunc(slices.Clone(r.Environments), func(e environmentReport) bool { return len(e.Sections) == 0 })
}

func printReport(w io.Writer, r report) {
	plain := func(text string) string { return strings.ReplaceAll(text, "`", "") }
	fmt.Fprintln(w, r.summary())
	for _, e := range r.changedOnly() {
		fmt.Fprintf(w, "\n%s\n", terminal.Bold("Environment "+e.Name))
		for _, s := range e.Sections {
			fmt.Fprintf(w, "\n  %s\n", terminal.Bold(plain(s.Title)))
			for _, i := range s.Items {
				fmt.Fprintf(w, "    %s\n", terminal.Wrap(plain(i.Text), terminal.Width-4, "      "))
				for _, d := range i.Details {
					fmt.Fprintf(w, "        %s\n", terminal.Wrap(plain(d), terminal.Width-8, "          "))
				}
			}
		}
	}
}

func printMarkdown(w io.Writer, r report) {
	fmt.Fprintf(w, "## What this change does\n\n%s\n", r.summary())
	for _, e := range r.changedOnly() {
		fmt.Fprintf(w, "\n### Environment `%s`\n", e.Name)
		for _, s := range e.Sections {
			fmt.Fprintf(w, "\n**%s**\n\n", s.Title)
			for _, i := range s.Items {
				if len(i.Folded) > 0 {
					fmt.Fprintf(w, "- <details><summary>%s</summary>%s</details>\n", i.Text, strings.Join(i.Folded, ", "))
					continue
				}
				fmt.Fprintf(w, "- %s\n", i.Text)
				for _, d := range i.Details {
					fmt.Fprintf(w, "  - %s\n", d)
				}
			}
		}
	}
}
