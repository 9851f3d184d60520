package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"flask-on-fargate/internal/assembly"
	"flask-on-fargate/internal/plaintext"
	"flask-on-fargate/internal/terminal"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/spf13/cobra"
)

func newSummary() *cobra.Command {
	return &cobra.Command{
		Use:   "summary [assembly-dir]",
		Short: "Show what a synthesized application consists of, and what to type next",
		Long: `Show the stacks of a cloud assembly with the number of their resources and
their outputs, the warnings that came up during synthesis, and what to type
next. It needs no AWS account.

assembly-dir is the directory that "cdk synth" wrote; the default is cdk.out.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return fmt.Errorf("%d directories given, %q: name one assembly, or none for %s", len(args), args, assembly.Default)
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			dir := assembly.Default
			if len(args) == 1 {
				dir = args[0]
			}
			stacks, err := assembly.Read(dir)
			if err != nil {
				return err
			}
			printSummary(cmd.OutOrStdout(), stacks)
			return nil
		},
	}
}

func printSummary(w io.Writer, stacks []assembly.Stack) {
	for _, name := range assembly.Environments(stacks) {
		members := assembly.In(stacks, name)
		title := "Environment " + name
		if name == "" {
			title = "Outside the environments"
		}
		fmt.Fprintf(w, "%s\n%s\n\n%s\n\n", terminal.Bold(title), locations(members), stackTable(members))
	}

	var resources, outputs int
	var warnings []assembly.Warning
	for _, s := range stacks {
		resources += s.Resources
		warnings = append(warnings, s.Warnings...)
		for _, o := range s.Outputs {
			if !o.Generated {
				outputs++
			}
		}
	}
	fmt.Fprintf(w, "%s %s, %s, %s, %s\n", terminal.Bold("Total:"), plaintext.Count(len(stacks), "stack"), plaintext.Count(resources, "resource"),
		plaintext.Count(outputs, "output"), plaintext.Count(len(warnings), "warning"))
	printPace(w, stacks)
	printWarnings(w, warnings)
	printNext(w, stacks)
}

func printPace(w io.Writer, stacks []assembly.Stack) {
	for _, s := range stacks {
		if s.Pace != nil {
			fmt.Fprintf(w, "\n%s\n\n  %s\n", terminal.Bold("Pace of a release"), terminal.Wrap(s.Pace.String(), terminal.Width-2, "  "))
		}
	}
}

// locations says where the stacks go, a line for each place: usually one account and region, the same for all.
func locations(stacks []assembly.Stack) string {
	var places []string
	for _, s := range stacks {
		account, region := "account "+s.Account, "region "+s.Region
		if s.Account == "" {
			account = "the account of your AWS credentials"
		}
		if s.Region == "" {
			region = "the region of your AWS profile"
		}
		if place := account + ", " + region; !slices.Contains(places, place) {
			places = append(places, place)
		}
	}
	return strings.Join(places, "\n")
}

func stackTable(stacks []assembly.Stack) string {
	const resourcesHeader, gap = "RESOURCES", "  "
	nameWidth := 0
	for _, s := range stacks {
		nameWidth = max(nameWidth, len(s.Name))
	}
	nameWidth = min(nameWidth, 36) // leaves the outputs a readable width; a longer name is broken
	outputWidth := terminal.Width - nameWidth - len(resourcesHeader) - 2*len(gap)

	t := table.NewWriter()
	style := table.StyleDefault
	style.Options = table.OptionsNoBordersAndSeparators
	style.Box.PaddingLeft, style.Box.PaddingRight = "", gap
	style.Format.Header = text.FormatDefault
	t.SetStyle(style)
	t.SuppressTrailingSpaces()
	t.SetColumnConfigs([]table.ColumnConfig{
		{Number: 1, WidthMax: nameWidth},
		{Number: 2, Align: text.AlignRight, AlignHeader: text.AlignRight},
	})
	t.AppendHeader(table.Row{"STACK", resourcesHeader, "OUTPUTS"})
	for _, s := range stacks {
		t.AppendRow(table.Row{s.Name, s.Resources, outputsCell(s.Outputs, outputWidth)})
	}
	return t.Render()
}

// outputsCell lists the outputs that the application defines, each on its own lines of at most width columns; those
// that only carry a reference to another stack are counted.
func outputsCell(outputs []assembly.Output, width int) string {
	var lines []string
	exports := 0
	for _, o := range outputs {
		if o.Generated {
			exports++
			continue
		}
		lines = append(lines, terminal.Wrap(o.Name+": "+cmp.Or(o.Description, valueKind(o.Value)), width, "  "))
	}
	if exports > 0 {
		lines = append(lines, "("+plaintext.Count(exports, "value")+" for other stacks)")
	}
	return strings.Join(lines, "\n")
}

// valueKind describes an output's value in short: a literal is shown as it is, Ref and Fn::GetAtt with what they
// name, any other intrinsic function by its name.
func valueKind(value any) string {
	switch v := value.(type) {
	case string:
		return v
	case map[string]any:
		if target, ok := v["Ref"].(string); ok {
			return "Ref " + target
		}
		if target, ok := v["Fn::GetAtt"].([]any); ok && len(target) == 2 {
			return fmt.Sprintf("Fn::GetAtt %v.%v", target[0], target[1])
		}
		return strings.Join(slices.Sorted(maps.Keys(v)), ", ")
	}
	literal, _ := json.Marshal(value)
	return string(literal)
}

// printWarnings prints each distinct warning once, with every construct it is about.
func printWarnings(w io.Writer, warnings []assembly.Warning) {
	if len(warnings) == 0 {
		return
	}
	type message struct{ text, id string }
	var messages []message
	paths := map[message][]string{}
	for _, warn := range warnings {
		m := message{warn.Text, warn.ID}
		if paths[m] == nil {
			messages = append(messages, m)
		}
		paths[m] = append(paths[m], warn.Path)
	}
	fmt.Fprintf(w, "\n%s\n", terminal.Yellow("Warnings"))
	for _, m := range messages {
		fmt.Fprintf(w, "\n  %s\n", terminal.Wrap(m.text, terminal.Width-2, "  "))
		for _, path := range paths[m] {
			fmt.Fprintf(w, "    at %s\n", path)
		}
		if m.id != "" {
			fmt.Fprintf(w, "    id %s\n", m.id)
		}
	}
}

// printNext names the commands with the context that made this assembly, since the CDK CLI synthesizes again.
func printNext(w io.Writer, stacks []assembly.Stack) {
	context := ""
	switch names := assembly.Environments(stacks); {
	case slices.ContainsFunc(stacks, func(s assembly.Stack) bool { return s.Nested }):
		context = " -c delivery=true"
	case len(names) == 1 && names[0] != "":
		context = " -c env=" + names[0]
	}
	diff, deploy := "npx cdk diff"+context, "npx cdk deploy --all"+context
	fmt.Fprintf(w, "\n%s\n\n  %-*s  what a deployment would change\n  %-*s  create or update the stacks\n",
		terminal.Bold("Next"), len(deploy), diff, len(deploy), deploy)
}
