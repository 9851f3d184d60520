package main

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"

	"flask-on-fargate/internal/assembly"
)

// resourceChange is what a deployment does to one resource, whoever found it out: CloudFormation in a change set, or AWS's
// resource schemas from two templates. The rules of the guard judge it.
type resourceChange struct {
	Stack      string
	LogicalID  string
	Path       string // of the construct; may be empty
	Type       string
	Removed    bool
	Old, New   assembly.Resource
	Properties []propertyChange // by name

	// Unclear says what cannot be explained by a property, but may delete or replace the resource all the same.
	Unclear string
}

// propertyChange is a change of one property's value.
type propertyChange struct {
	Name     string
	Old, New any // as in the templates, or the values themselves where only those differ
	Requires recreation
	Certain  bool // Requires is what will happen, not what may
	Causes   []cause
}

// cause is a change of another resource, which gives a property that refers to it another value.
type cause struct {
	LogicalID string
	Property  string
	Old, New  any

	certain bool
}

// recreation is whether a property's change makes CloudFormation replace the resource.
type recreation int

const (
	never recreation = iota
	conditionally
	always
)

// hash identifies the change for an allowance, the same however it was found out.
func (p propertyChange) hash(logicalID string) string {
	data, err := json.Marshal([]any{logicalID, p.Name, p.Old, p.New, p.Causes})
	if err != nil {
		panic(err) // decoded JSON always encodes
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:8])
}

// alteration is what is known of a property of a resource that stays.
type alteration struct {
	requires recreation
	maybe    bool // its value is not known before the deployment
	known    bool // its value changes, even if no cause is found
	// causes are the logical ids of which one must be replaced, if the value itself is the same.
	causes   []string
	old, new any // values, where the templates do not differ
}

// builder makes the changes of one stack from its two templates and from alterations, by logical id and property.
type builder struct {
	stack    string
	old, new map[string]assembly.Resource
	updates  map[string]map[string]alteration
	unclear  map[string]string
}

func (b builder) changes() []resourceChange {
	var all []resourceChange
	for _, id := range slices.Sorted(maps.Keys(b.old)) {
		older, newer := b.old[id], b.new[id]
		_, stays := b.new[id]
		c := resourceChange{
			Stack: b.stack, LogicalID: id, Type: older.Type, Path: cmp.Or(newer.Path(), older.Path()),
			Old: older, New: newer, Unclear: b.unclear[id],
			Removed: !stays || newer.Type != older.Type,
		}
		for _, name := range slices.Sorted(maps.Keys(b.updates[id])) {
			if p, real := b.property(id, name); real && !c.Removed {
				c.Properties = append(c.Properties, p)
			}
		}
		policies := older.DeletionPolicy != newer.DeletionPolicy || older.UpdateReplacePolicy != newer.UpdateReplacePolicy
		if c.Removed || policies || c.Unclear != "" || len(c.Properties) > 0 {
			all = append(all, c)
		}
	}
	return all
}

// property returns a change, or false if it is none: what the value refers to stays.
func (b builder) property(id, name string) (propertyChange, bool) {
	u := b.updates[id][name]
	p := propertyChange{
		Name: name, Old: b.old[id].Properties[name], New: b.new[id].Properties[name], Requires: u.requires, Certain: !u.maybe,
	}
	if !equal(p.Old, p.New) {
		return p, true
	}
	if u.old != nil || u.new != nil {
		p.Old, p.New = u.old, u.new
		return p, !equal(p.Old, p.New)
	}
	for _, other := range u.causes {
		p.Causes = append(p.Causes, b.replacing(other, map[string]bool{id: true})...)
	}
	if len(u.causes) == 0 {
		return p, true
	}
	p.Certain = u.known || slices.ContainsFunc(p.Causes, func(c cause) bool { return c.certain })
	return p, u.known || len(p.Causes) > 0
}

// replacing returns the changes that replace a resource; none if it stays. Path are the logical ids on the way to it.
func (b builder) replacing(id string, path map[string]bool) []cause {
	if path[id] {
		return nil
	}
	path = maps.Clone(path)
	path[id] = true
	if b.unclear[id] != "" {
		return []cause{{LogicalID: id, Property: wholeResource}}
	}
	var found []cause
	for _, name := range slices.Sorted(maps.Keys(b.updates[id])) {
		u := b.updates[id][name]
		if !replaces(b.old[id].Type, name, u.requires) {
			continue
		}
		c := cause{LogicalID: id, Property: name, Old: b.old[id].Properties[name], New: b.new[id].Properties[name], certain: u.requires == always && !u.maybe}
		switch {
		case !equal(c.Old, c.New):
			found = append(found, c)
		case u.old != nil || u.new != nil:
			if c.Old, c.New = u.old, u.new; !equal(c.Old, c.New) {
				found = append(found, c)
			}
		case len(u.causes) == 0 || u.known:
			found = append(found, c)
		}
		for _, other := range u.causes {
			found = append(found, b.replacing(other, path)...)
		}
	}
	return found
}

// equal compares values as CloudFormation does, for which 20 and "20", true and "true" are the same.
func equal(a, b any) bool { return reflect.DeepEqual(canonical(a), canonical(b)) }

func canonical(value any) any {
	switch v := value.(type) {
	case []any:
		list := make([]any, len(v))
		for i, item := range v {
			list[i] = canonical(item)
		}
		return list
	case map[string]any:
		mapping := make(map[string]any, len(v))
		for key, item := range v {
			mapping[key] = canonical(item)
		}
		return mapping
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	case bool:
		return strconv.FormatBool(v)
	}
	return value
}

// shown is how many characters of a value are written.
const shown = 160

// show writes a value of a template in short.
func show(value any) string { return shorten([]rune(textOf(value))) }

// showBoth writes two values in short, from a little before the place where they begin to differ if one of them is long.
func showBoth(a, b any) (string, string) {
	const before = 40
	from, to := []rune(textOf(a)), []rune(textOf(b))
	same := 0
	for same < min(len(from), len(to)) && from[same] == to[same] {
		same++
	}
	skip := same - before
	if max(len(from), len(to)) <= shown || skip <= 0 {
		return shorten(from), shorten(to)
	}
	return "…" + shorten(from[skip:]), "…" + shorten(to[skip:])
}

func textOf(value any) string {
	if value == nil {
		return "(none)"
	}
	if text, ok := value.(string); ok {
		return text
	}
	data, err := json.Marshal(value)
	if err != nil {
		return fmt.Sprint(value)
	}
	return string(data)
}

func shorten(text []rune) string {
	if len(text) > shown {
		return string(text[:shown]) + "…"
	}
	return string(text)
}
