package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v4"
)

// report collects the faults of one file, and knows where its keys are. Keys go by their path, as in service.memory.
type report struct {
	form
	file   string
	places map[string]place
	faulty map[string]bool // keys of which nothing more is to be said: their values were left out
	faults Faults
}

// place is where a key is. The root and the items of lists have no key of their own.
type place struct{ key, value *yaml.Node }

// form is what a file must be: its schema, and how the messages speak of it.
type form struct {
	schema *jsonschema.Schema
	is     string // what one file is
	needs  string // the keys without which there is nothing to read
}

func newReport(file string, f form) *report {
	return &report{form: f, file: file, places: map[string]place{}, faulty: map[string]bool{}}
}

// fault reports the value of a key, or, if the file does not have it, the place where the key would be.
func (r *report) fault(key, problem, remedy string) {
	node := r.places[key].value
	for parent := key; node == nil && parent != ""; {
		parent = parent[:max(strings.LastIndexByte(parent, '.'), 0)]
		node = mark(r.places[parent])
	}
	r.add(node, key, problem, remedy)
}

// keyFault reports a key itself.
func (r *report) keyFault(key, problem, remedy string) {
	r.add(mark(r.places[key]), key, problem, remedy)
}

func (r *report) add(node *yaml.Node, key, problem, remedy string) {
	f := Fault{File: r.file, Key: key, Problem: problem, Remedy: remedy}
	if node != nil {
		f.Line, f.Column = node.Line, node.Column
	}
	r.faulty[key] = true
	r.faults = append(r.faults, f)
}

// err returns the faults, ordered, or nil if there are none.
func (r *report) err() error {
	if len(r.faults) == 0 {
		return nil
	}
	r.faults.sort()
	return r.faults
}

// mark is the node that marks a place: the key's, or the value's where there is no key.
func mark(p place) *yaml.Node {
	if p.key != nil {
		return p.key
	}
	return p.value
}

// judgeable tells whether the keys have the values that the user wanted, so that a rule over them says something true.
func (r *report) judgeable(keys ...string) bool {
	for _, key := range keys {
		for ; key != ""; key = key[:max(strings.LastIndexByte(key, '.'), 0)] {
			if r.faulty[key] {
				return false
			}
		}
	}
	return true
}

// has tells whether the file itself gives the key.
func (r *report) has(key string) bool { return r.places[key].value != nil }

var plainKey = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_-]*$`)
var indexKey = regexp.MustCompile(`^[0-9]+$`)

// join appends a key of a mapping, or an index of a list, to a path.
func join(parent, key string) string {
	switch {
	case indexKey.MatchString(key):
		return parent + "[" + key + "]"
	case !plainKey.MatchString(key):
		return fmt.Sprintf("%s[%q]", parent, key)
	case parent == "":
		return key
	}
	return parent + "." + key
}

// read parses a file into plain values, in the types of JSON. It reports what YAML allows and we do not. The answer is false if
// there is nothing to look at further.
func (r *report) read(data []byte) (map[string]any, bool) {
	if at := notText(data); at >= 0 {
		line := 1 + bytes.Count(data[:at], []byte("\n"))
		column := at - bytes.LastIndexByte(data[:at], '\n')
		r.add(&yaml.Node{Line: line, Column: column}, "", fmt.Sprintf("the byte 0x%02x is not text", data[at]), "Save the file as plain text in UTF-8.")
		return nil, false
	}
	root, ok := r.document(data)
	if !ok {
		return nil, false
	}
	r.places[""] = place{value: root}
	if root.Kind != yaml.MappingNode && root.Kind != yaml.AliasNode {
		r.fault("", "the file holds "+kindOf(root)+", not a mapping of keys to values", "Begin with `project: <name>`; docs/configuration.md shows every key.")
		return nil, false
	}
	value, ok := r.value(root, r.schema, "")
	if !ok {
		return nil, false
	}
	return value.(map[string]any), true
}

// notText returns where data is not UTF-8 or has a control character, or -1.
func notText(data []byte) int {
	for at := 0; at < len(data); {
		c, size := utf8.DecodeRune(data[at:])
		if c == utf8.RuneError && size == 1 || c != '\t' && c != '\n' && c != '\r' && unicode.IsControl(c) {
			return at
		}
		at += size
	}
	return -1
}

// document returns the root of the file's only document.
func (r *report) document(data []byte) (*yaml.Node, bool) {
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var first, second yaml.Node
	err := decoder.Decode(&first)
	if err == nil {
		if err = decoder.Decode(&second); err == nil {
			r.add(&second, "", "a second document begins here", "One file is "+r.is+": remove the line `---` and what follows it, or move it to a file of its own.")
			return nil, false
		}
	}
	if !errors.Is(err, io.EOF) {
		r.syntaxFault(err)
		return nil, false
	}
	if isEmpty(&first) {
		r.add(nil, "", "the file is empty", "Give at least "+r.needs+"; docs/configuration.md shows every key.")
		return nil, false
	}
	return first.Content[0], true
}

func isEmpty(document *yaml.Node) bool {
	return len(document.Content) == 0 || document.Content[0].ShortTag() == "!!null"
}

func (r *report) syntaxFault(err error) {
	var at *yaml.LoadError
	if !errors.As(err, &at) {
		r.add(nil, "", "the file is not YAML: "+err.Error(), "Correct it there.")
		return
	}
	node := &yaml.Node{Line: at.Mark.Line, Column: at.Mark.Column}
	if strings.HasPrefix(at.Message, "unknown anchor") {
		// The library's message holds the name, which may be a password that begins with an asterisk.
		r.add(node, "", "a value begins with an asterisk, which makes it a YAML alias", "Put the value in quotes.")
		return
	}
	problem := "the file is not YAML: " + at.Message
	if at.ContextMsg != "" {
		problem += fmt.Sprintf(", %s that begins in line %d", at.ContextMsg, at.ContextMark.Line)
	}
	r.add(node, "", problem, "Correct the line or the one above it: look at its indentation, its quotes and the space after each colon. A value that ends in a colon needs quotes.")
}

// value returns a node as a value of JSON and notes the places of all keys. A scalar stays the text that it is in the file where
// the schema wants a string, so that 8.0 and 012345678901 need no quotes. The answer is false if the node was reported.
func (r *report) value(n *yaml.Node, s *jsonschema.Schema, key string) (any, bool) {
	switch {
	case n.Kind == yaml.AliasNode || n.Anchor != "":
		r.fault(key, "YAML anchors (&) and aliases (*) are not supported", "Write the value out; a text that begins with & or * needs quotes.")
		return nil, false
	case n.Style&yaml.TaggedStyle != 0 || strings.HasPrefix(n.Tag, "!") && !strings.HasPrefix(n.Tag, "!!"):
		r.fault(key, "YAML tags are not supported", "Remove the tag; a text that begins with ! needs quotes.")
		return nil, false
	case n.Kind == yaml.MappingNode:
		return r.mapping(n, s, key)
	case n.Kind == yaml.SequenceNode:
		return r.list(n, s, key)
	}
	if n.ShortTag() == "!!null" {
		return nil, true
	}
	if s != nil && s.Types != nil && slices.Contains(s.Types.ToStrings(), "string") {
		return n.Value, true
	}
	var v any
	if err := n.Decode(&v); err != nil {
		return n.Value, true
	}
	switch number := v.(type) {
	case float64:
		if !math.IsNaN(number) && !math.IsInf(number, 0) { // JSON has neither
			return v, true
		}
	case bool, int, int64, uint64:
		return v, true
	}
	return n.Value, true
}

func (r *report) mapping(n *yaml.Node, s *jsonschema.Schema, key string) (any, bool) {
	values := map[string]any{}
	for pair := range slices.Chunk(n.Content, 2) {
		name, value := pair[0], pair[1]
		if name.Kind != yaml.ScalarNode || name.ShortTag() == "!!null" || name.ShortTag() == "!!merge" || name.Style&yaml.TaggedStyle != 0 || name.Anchor != "" {
			r.add(name, key, "a key here is not plain text", "Write keys as plain words; merge keys (<<), anchors, aliases, tags and lists are not supported as keys.")
			continue
		}
		child := join(key, name.Value)
		if earlier, ok := r.places[child]; ok {
			r.add(name, child, fmt.Sprintf("the key is given twice, first in line %d", earlier.key.Line), "Remove one of the two.")
			continue
		}
		r.places[child] = place{name, value}
		if v, ok := r.value(value, property(s, name.Value), child); ok {
			values[name.Value] = v
		}
	}
	return values, true
}

func (r *report) list(n *yaml.Node, s *jsonschema.Schema, key string) (any, bool) {
	var items *jsonschema.Schema
	if s != nil {
		items = s.Items2020
	}
	values := []any{}
	complete := true
	for i, item := range n.Content {
		child := fmt.Sprintf("%s[%d]", key, i)
		r.places[child] = place{value: item}
		v, ok := r.value(item, items, child)
		values = append(values, v)
		complete = complete && ok
	}
	return values, complete
}

func kindOf(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping of keys to values"
	case yaml.SequenceNode:
		return "a list"
	}
	switch n.ShortTag() {
	case "!!null":
		return "nothing"
	case "!!bool":
		return "true or false"
	case "!!int", "!!float":
		return "a number"
	}
	return "text"
}
