package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
)

// The bounds of this project.
const (
	boundEmptyGo           = 1.5  // times the empty application
	boundJavascriptShipped = 0.65 // times the same stacks in JavaScript, validated
	boundJavascriptOff     = 1.5  // times the same, not validated
	boundEnvironment       = 0.2  // seconds for each further environment
)

// report prints what each subject took, and this application against the others, pair by pair.
func report(w io.Writer, measured results) {
	runs := newTable("CDK SYNTH --QUIET", "WALL s", "CPU s", "MEMORY MiB")
	for _, s := range subjects {
		runs.AppendRow(table.Row{
			s.Name,
			spread("%.2f", each(measured[s], sample.wallSeconds)),
			spread("%.2f", each(measured[s], func(s sample) float64 { return s.CPU.Seconds() })),
			spread("%.0f", each(measured[s], func(s sample) float64 { return float64(s.Memory) / (1 << 20) })),
		})
	}
	fmt.Fprintf(w, "%s\n\n", runs.Render())

	wall := func(s subject) []float64 { return each(measured[s], sample.wallSeconds) }
	compared := newTable("WALL TIME", "MEASURED", "BOUND", "")
	compare := func(name string, bound float64, values []float64) {
		if bound == 0 {
			compared.AppendRow(table.Row{name, spread("%.2f", values)})
			return
		}
		verdict := "kept"
		if median(values) > bound {
			verdict = "missed"
		}
		compared.AppendRow(table.Row{name, spread("%.2f", values), bound, verdict})
	}
	ratio := func(a, b float64) float64 { return a / b }
	compare("times the empty application in Go", boundEmptyGo, pairwise(wall(ours), wall(emptyGo), ratio))
	compare("  if a call cost what it costs in JavaScript", 0, floor(wall(javascriptOff), wall(emptyJavascript), wall(emptyGo)))
	compare("times JavaScript, as shipped", boundJavascriptShipped, pairwise(wall(ours), wall(javascriptShipped), ratio))
	compare("times JavaScript, validation off", boundJavascriptOff, pairwise(wall(ours), wall(javascriptOff), ratio))
	compare("seconds for each further environment", boundEnvironment, pairwise(wall(environments), wall(oneEnvironment),
		func(five, one float64) float64 { return (five - one) / 4 }))
	fmt.Fprintln(w, compared.Render())
}

// floor estimates how many times the empty application in Go these stacks would take in Go if a call of the library cost no
// more than it does in JavaScript: what they take there beyond an empty application, on top of the empty one in Go.
func floor(javascript, emptyJavascript, emptyGo []float64) []float64 {
	var values []float64
	for i := range javascript {
		values = append(values, (javascript[i]-emptyJavascript[i]+emptyGo[i])/emptyGo[i])
	}
	return values
}

func newTable(header ...any) table.Writer {
	t := table.NewWriter()
	style := table.StyleDefault
	style.Options = table.OptionsNoBordersAndSeparators
	style.Box.PaddingLeft, style.Box.PaddingRight = "", "  "
	style.Format.Header = text.FormatDefault
	t.SetStyle(style)
	t.SuppressTrailingSpaces()
	t.AppendHeader(header)
	return t
}

func (s sample) wallSeconds() float64 { return s.Wall.Seconds() }

func each(samples []sample, value func(sample) float64) []float64 {
	var values []float64
	for _, s := range samples {
		values = append(values, value(s))
	}
	return values
}

// pairwise combines the values of the same round.
func pairwise(a, b []float64, combine func(a, b float64) float64) []float64 {
	var values []float64
	for i := range a {
		values = append(values, combine(a[i], b[i]))
	}
	return values
}

func spread(format string, values []float64) string {
	return fmt.Sprintf(strings.Join([]string{format, format, format}, "  "), slices.Min(values), median(values), slices.Max(values))
}

// median of an even number of values is the mean of the two in the middle.
func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// countResources says how many resources each template of the assembly in dir has, the largest first.
func countResources(dir string) (string, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.template.json"))
	if err != nil {
		return "", err
	}
	var counts []int
	total := 0
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			return "", err
		}
		var template struct{ Resources map[string]json.RawMessage }
		if err := json.Unmarshal(data, &template); err != nil {
			return "", fmt.Errorf("%s is not a template: %w", file, err)
		}
		counts = append(counts, len(template.Resources))
		total += len(template.Resources)
	}
	slices.SortFunc(counts, func(a, b int) int { return cmp.Compare(b, a) })
	return fmt.Sprintf("%d resources in %d stacks %d", total, len(counts), counts), nil
}
