package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Fault is one thing that is wrong in an environment's file.
type Fault struct {
	File    string // as given to [Parse]
	Line    int    // from 1, or 0 if the fault is the whole file's
	Column  int    // from 1, or 0 if only the line is known
	Key     string // path of the key, as in service.memory, or "" if the fault belongs to none
	Problem string // what is wrong, with the value unless it may be secret
	Remedy  string // what is allowed, or what to do
}

// String returns file:line:column: key: problem, and the remedy indented below.
func (f Fault) String() string {
	var b strings.Builder
	b.WriteString(f.File)
	if f.Line > 0 {
		fmt.Fprintf(&b, ":%d", f.Line)
	}
	if f.Column > 0 {
		fmt.Fprintf(&b, ":%d", f.Column)
	}
	b.WriteString(": ")
	if f.Key != "" {
		b.WriteString(f.Key + ": ")
	}
	b.WriteString(f.Problem + "\n    " + f.Remedy)
	return b.String()
}

// Faults is everything that is wrong in one file, ordered by line. It is the error of [Load] and [Parse] for a file's content.
type Faults []Fault

// Error returns the faults one below the other, each as [Fault.String].
func (f Faults) Error() string {
	lines := make([]string, len(f))
	for i, fault := range f {
		lines[i] = fault.String()
	}
	return strings.Join(lines, "\n")
}

func (f Faults) sort() {
	slices.SortStableFunc(f, func(a, b Fault) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column), cmp.Compare(a.Key, b.Key))
	})
}
