package config

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/agnivade/levenshtein"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"go.yaml.in/yaml/v4"
)

//go:embed schema.json delivery.schema.json
var schemaFiles embed.FS

// Each schema is compiled once. It has no references: each property holds its own schema.
var (
	environmentSchema = sync.OnceValue(func() *jsonschema.Schema { return compile("schema.json") })
	deliverySchema    = sync.OnceValue(func() *jsonschema.Schema { return compile("delivery.schema.json") })
)

func compile(file string) *jsonschema.Schema {
	data, err := schemaFiles.ReadFile(file)
	if err != nil {
		panic("config: " + err.Error())
	}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		panic("config: " + file + ": " + err.Error())
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource(file, document); err != nil {
		panic("config: " + file + ": " + err.Error())
	}
	return compiler.MustCompile(file)
}

// property returns the schema of a key of a mapping, or nil if it has none.
func property(s *jsonschema.Schema, key string) *jsonschema.Schema {
	if s == nil {
		return nil
	}
	if p, ok := s.Properties[key]; ok {
		return p
	}
	additional, _ := s.AdditionalProperties.(*jsonschema.Schema)
	return additional
}

// checkSchema reports what the schema refuses, and removes it from values.
func (r *report) checkSchema(values map[string]any) {
	var invalid *jsonschema.ValidationError
	if err := r.schema.Validate(values); !errors.As(err, &invalid) {
		return
	}
	for _, leaf := range leaves(invalid) {
		r.schemaFault(leaf, values)
	}
}

func leaves(e *jsonschema.ValidationError) []*jsonschema.ValidationError {
	if len(e.Causes) == 0 {
		return []*jsonschema.ValidationError{e}
	}
	var all []*jsonschema.ValidationError
	for _, cause := range e.Causes {
		all = append(all, leaves(cause)...)
	}
	return all
}

func (r *report) schemaFault(e *jsonschema.ValidationError, values map[string]any) {
	at, key, got := locate(r.schema, e.InstanceLocation, values)
	switch k := e.ErrorKind.(type) {
	case *kind.AdditionalProperties:
		for _, name := range k.Properties {
			child := join(key, name)
			r.keyFault(child, "unknown key", r.suggestion(name, at, key))
			r.remove(values, append(slices.Clone(e.InstanceLocation), name))
		}
		return
	case *kind.Required:
		for _, name := range k.Missing {
			if child := join(key, name); !r.faulty[child] {
				r.fault(child, "missing", r.required(property(at, name), child))
			}
		}
		return
	case *kind.Type:
		r.fault(key, typeProblem(k.Got, k.Want[0], got), r.remedy(at, key))
	default:
		// A value that breaks several rules is one fault: the remedy states all of them.
		if !r.faulty[key] {
			r.fault(key, quote(got)+" is not allowed", r.remedy(at, key))
		}
	}
	r.remove(values, e.InstanceLocation)
}

// typeProblem says which type a value has and which it must have. The value is shown where one value is wanted; in place of
// several it may hold anything, also secrets.
func typeProblem(got, want string, value any) string {
	switch {
	case got == "null":
		return "no value is given"
	case want == "object" || got == "object" || got == "array":
		return "the value is " + typeWords[got] + ", not " + typeWords[want]
	}
	return fmt.Sprintf("%s is %s, not %s", quote(value), typeWords[got], typeWords[want])
}

// typeWords are the schema's types in words.
var typeWords = map[string]string{
	"array":   "a list",
	"boolean": "a boolean (true or false)",
	"integer": "a whole number",
	"number":  "a number",
	"object":  "a mapping of keys to values",
	"string":  "text",
}

// locate follows a location that the validator reports: to the schema there, the key's path, and the value.
func locate(root *jsonschema.Schema, location []string, values map[string]any) (at *jsonschema.Schema, key string, value any) {
	at, value = root, any(values)
	for _, token := range location {
		key = join(key, token)
		switch v := value.(type) {
		case map[string]any:
			at, value = property(at, token), v[token]
		case []any:
			i, _ := strconv.Atoi(token)
			at, value = at.Items2020, v[i]
		}
	}
	return at, key, value
}

// remove takes a refused value out of values, so that the rest can be judged; with an item of a list goes the list.
func (r *report) remove(values map[string]any, location []string) {
	key := ""
	for i, token := range location {
		key = join(key, token)
		next, isMapping := values[token].(map[string]any)
		if i == len(location)-1 || !isMapping {
			delete(values, token)
			r.faulty[key] = true
			return
		}
		values = next
	}
}

// allowed returns what the comment of a key's field says is allowed, or "" if it has no such paragraph.
func allowed(s *jsonschema.Schema) string {
	if s == nil {
		return ""
	}
	_, text, _ := strings.Cut(s.Description, allowedMark)
	return text
}

const allowedMark = "Allowed: "

// remedy says what is allowed at a key. A value in a list or a map has no comment of its own: the list's or the map's is said.
func (r *report) remedy(s *jsonschema.Schema, key string) string {
	if text := allowed(s); text != "" {
		return "Allowed: " + text
	}
	if s != nil && len(s.Properties) > 0 {
		return fmt.Sprintf("Give it keys (%s), or remove the line.", strings.Join(keysOf(s), ", "))
	}
	parent := r.schema
	for part := range strings.FieldsFuncSeq(key, func(c rune) bool { return c == '.' || c == '[' }) {
		if p, ok := parent.Properties[part]; ok {
			parent = p
		}
	}
	return "Allowed: " + allowed(parent)
}

func (r *report) required(s *jsonschema.Schema, key string) string {
	if len(s.Properties) > 0 {
		return fmt.Sprintf("Add it, with its keys %s.", strings.Join(s.Required, " and "))
	}
	if s.Items2020 != nil && len(s.Items2020.Properties) > 0 {
		return "Add it. " + r.remedy(s, key)
	}
	return fmt.Sprintf("Add it, as in `%s: %v`. %s", key[strings.LastIndexByte(key, '.')+1:], s.Examples[0], r.remedy(s, key))
}

// suggestion says what was probably meant by an unknown key: the nearest of the keys known there, or the same key elsewhere.
func (r *report) suggestion(name string, s *jsonschema.Schema, key string) string {
	known := keysOf(s)
	distance := func(k string) int { return levenshtein.ComputeDistance(strings.ToLower(name), strings.ToLower(k)) }
	nearest := slices.MinFunc(known, func(a, b string) int { return distance(a) - distance(b) })
	if distance(nearest) <= max(1, len(nearest)/3) {
		return fmt.Sprintf("Did you mean %s?", nearest)
	}
	switch elsewhere := find(r.schema, "", name); {
	case strings.Contains(elsewhere, "."):
		return fmt.Sprintf("It belongs elsewhere: %s.", elsewhere)
	case elsewhere != "":
		return fmt.Sprintf("It belongs to the top level of the file: write `%s:` at the beginning of a line.", elsewhere)
	}
	if key == "" {
		key = "the file"
	}
	return fmt.Sprintf("Known in %s: %s.", key, strings.Join(known, ", "))
}

func find(s *jsonschema.Schema, key, name string) string {
	for _, k := range keysOf(s) {
		path := join(key, k)
		if strings.EqualFold(k, name) {
			return path
		}
		if found := find(s.Properties[k], path, name); found != "" {
			return found
		}
	}
	return ""
}

func keysOf(s *jsonschema.Schema) []string { return slices.Sorted(maps.Keys(s.Properties)) }

// quote shows a value in a message, the beginning of it if it is long.
func quote(value any) string {
	const most = 80
	if list, isList := value.([]any); isList {
		return strings.ReplaceAll(fmt.Sprint(list), " ", ", ")
	}
	text, isText := value.(string)
	switch {
	case !isText:
		return fmt.Sprint(value)
	case utf8.RuneCountInString(text) > most:
		return fmt.Sprintf("%q…", string([]rune(text)[:most]))
	}
	return strconv.Quote(text)
}

// decode puts values over the defaults in a pointer to a struct.
func decode(values map[string]any, into any) error {
	var node yaml.Node
	if err := node.Encode(values); err != nil {
		return err
	}
	return node.Decode(into)
}
